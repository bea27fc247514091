package l7

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/expr"
)

// rule is a route, or a part of one: Kong splits a route whose paths differ in
// length or kind, because the path's length is a part of the priority.
type rule struct {
	priority uint64
	ported   bool // its hosts name a port
	created  float64
	declared int // place of the route in the declaration

	hosts      []hostPattern // at least one, without repetition
	candidates []candidate   // one for each path, in order
	rank       int32         // of the first candidate, once sorted
}

// candidate is a rule with one of its paths.
type candidate struct {
	route   *Route
	prefix  string       // what the path begins with
	pattern *pathPattern // what else must hold of it; nil for a plain prefix
	when    *conditions  // what else must hold of the request; nil for nothing
}

// accepts reports whether c matches q, whose host and prefix do.
func (c *candidate) accepts(q *Query, f *expr.Fields) bool {
	return (c.when == nil || c.when.hold(q, f)) && (c.pattern == nil || c.pattern.re.MatchString(q.Path))
}

// fill makes m the match of c, which accepts the path.
func (c *candidate) fill(m *Match, path string, f *expr.Fields) {
	m.Route = c.route
	switch {
	case c.pattern != nil:
		c.pattern.fill(m, path)
	case c.when != nil && c.when.expression != nil:
		fillExpression(m, c.when.expression, f)
	default:
		m.Matched = path[:len(c.prefix)]
	}
}

// ruleCompiler turns routes into rules.
type ruleCompiler struct {
	flavor      config.RouterFlavor
	rules       []rule
	patterns    map[string]*pathPattern // by their text
	expressions bool                    // some rule has one
}

// add compiles the route that stands at the given place of the declaration.
func (rc *ruleCompiler) add(route *Route, declared int) error {
	e := route.Entity
	if e.Expression != "" {
		return rc.addExpression(route, declared)
	}
	when, err := newConditions(e.Methods, e.SNIs, e.Headers, rc.plainOnly(e))
	if err != nil {
		return err
	}
	hosts := make([]hostPattern, 0, len(e.Hosts))
	for _, h := range e.Hosts {
		p, err := parseHost(h)
		if err != nil {
			return err
		}
		if !slices.Contains(hosts, p) {
			hosts = append(hosts, p)
		}
	}
	for _, paths := range groupPaths(e.Paths) {
		r := rule{
			priority: priority(attributes{
				methods: len(e.Methods) > 0, snis: len(e.SNIs) > 0,
				hosts: hosts, headers: len(e.Headers), path: paths[0], regexPriority: e.RegexPriority,
			}),
			created:  float64(e.CreatedAt),
			declared: declared,
		}
		for _, path := range paths {
			c := candidate{route: route, prefix: path, when: when}
			if isPattern(path) {
				if c.pattern, err = rc.pattern(path[1:]); err != nil {
					return err
				}
				c.prefix = c.pattern.prefix
			}
			r.candidates = append(r.candidates, c)
		}
		rc.addByPort(r, hosts)
	}
	return nil
}

// addByPort adds r, once for its hosts with a port and once for the others.
func (rc *ruleCompiler) addByPort(r rule, hosts []hostPattern) {
	if len(hosts) == 0 {
		r.hosts = []hostPattern{{kind: hostAny, port: anyPort}}
		rc.rules = append(rc.rules, r)
		return
	}
	if !slices.ContainsFunc(hosts, hostPattern.ported) {
		r.hosts = hosts
		rc.rules = append(rc.rules, r)
		return
	}
	for _, r.ported = range []bool{true, false} {
		r.hosts = nil
		for _, h := range hosts {
			if h.ported() == r.ported {
				r.hosts = append(r.hosts, h)
			}
		}
		if len(r.hosts) > 0 {
			rc.rules = append(rc.rules, r)
		}
	}
}

func (rc *ruleCompiler) pattern(text string) (*pathPattern, error) {
	if p, ok := rc.patterns[text]; ok {
		return p, nil
	}
	p, err := newPathPattern(text)
	if err != nil {
		return nil, fmt.Errorf("compiling path %q: %w", "~"+text, err)
	}
	rc.patterns[text] = p
	return p, nil
}

// sorted returns the rules by preference: priority, then hosts with a port
// before hosts without, the older route, and the one declared first. Kong
// leaves the order of equal priorities to the routes' ids; what stands here is
// the order of its flavour traditional.
func (rc *ruleCompiler) sorted() []rule {
	slices.SortStableFunc(rc.rules, func(a, b rule) int {
		if a.priority != b.priority {
			return cmp.Compare(b.priority, a.priority)
		}
		if a.ported != b.ported {
			if a.ported {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.declared, b.declared))
	})
	return rc.rules
}

// attributes are what the priority of a rule depends on.
type attributes struct {
	methods, snis bool
	hosts         []hostPattern
	headers       int
	path          string // the first of the rule's paths, "" for none
	regexPriority int
}

// The parts of a priority, from the high bits to the low, as in Kong's flavour
// traditional_compatible.
const (
	attributeShift     = 61 // number of attributes that are set
	plainHostsBit      = 60 // there are hosts, and none has a wildcard
	headerShift        = 52 // number of header fields, at most mostHeaders
	patternBit         = 51 // the path is a regular expression
	regexPriorityShift = 19 // regex_priority, for regular expressions only
	pathLengthMask     = 1<<19 - 1

	mostHeaders = 255
)

// priority returns the number that decides between rules that match: the
// greatest wins.
func priority(a attributes) uint64 {
	count, plain := 0, len(a.hosts) > 0
	for _, set := range []bool{a.methods, a.snis, len(a.hosts) > 0, a.headers > 0, a.path != ""} {
		if set {
			count++
		}
	}
	for _, h := range a.hosts {
		plain = plain && h.kind == hostExact
	}
	p := uint64(count)<<attributeShift | uint64(min(a.headers, mostHeaders))<<headerShift
	if plain {
		p |= 1 << plainHostsBit
	}
	if !isPattern(a.path) {
		return p | uint64(len(a.path)&pathLengthMask)
	}
	// The sign is flipped so that negative numbers sort below the others
	// within their 32 bits.
	signed := int32(max(math.MinInt32, min(a.regexPriority, math.MaxInt32)))
	return p | 1<<patternBit | uint64(uint32(signed)^1<<31)<<regexPriorityShift
}

// groupPaths splits paths into those that share a rule: all regular
// expressions, and the prefixes of each length. There is at least one group;
// no path is one empty path.
func groupPaths(paths []string) (groups [][]string) {
	switch len(paths) {
	case 0:
		return [][]string{{""}}
	case 1:
		return [][]string{paths}
	}
	const patterns = -1
	at := map[int]int{} // length, or patterns, to group
	for _, path := range paths {
		kind := len(path)
		if isPattern(path) {
			kind = patterns
		}
		i, known := at[kind]
		if !known {
			i, groups = len(groups), append(groups, nil)
			at[kind] = i
		}
		groups[i] = append(groups[i], path)
	}
	return groups
}

// isPattern reports whether a path of a route is a regular expression.
func isPattern(path string) bool { return strings.HasPrefix(path, "~") }

// routeLabel is how an error names a route.
func routeLabel(r *Route) string {
	if r.Entity.Name != "" {
		return r.Entity.Name
	}
	return r.Entity.ID.String()
}
