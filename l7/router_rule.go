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

// candidate is a route with one of its paths: what a look-up meets. Which of
// those that match is preferred depends on nothing but them, so candidates of
// old and new routes live in one tree.
//
// It has the size of a cache line, so that meeting one fetches one. Slices of
// more than 512 bytes begin 8 behind such a line's start; so what stands last is
// what a look-up asks for last.
type candidate struct {
	route   *Route
	pattern *pathPattern // what must hold of the path besides its prefix; nil for nothing
	when    *conditions  // what else must hold of the request, besides methods; nil for nothing

	port    int32     // the request's must be this one, or anyPort
	prefix  int32     // length of what the path begins with
	path    int32     // place among the paths of its rule
	methods methodSet // the request's must be one of these; none for any
	ported  bool      // its rule's hosts name a port

	priority uint64
	created  float64
	declared uint64 // grows with the place of the route in the declaration
}

const anyPort int32 = -1

// compare orders candidates by preference: priority, then hosts with a port
// before hosts without, the older route, the one declared first, and its first
// path. Kong leaves the order of equal priorities to the routes' ids; what
// stands here is the order of its flavour traditional.
func (c *candidate) compare(o *candidate) int {
	if c.priority != o.priority {
		return cmp.Compare(o.priority, c.priority)
	}
	if c.ported != o.ported {
		if c.ported {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(c.created, o.created), cmp.Compare(c.declared, o.declared), cmp.Compare(c.path, o.path))
}

// accepts reports whether c matches q, whose host, port and prefix do.
func (c *candidate) accepts(q *Query, f *expr.Fields) bool {
	return (c.methods == 0 || c.methods.has(q.Method)) &&
		(c.when == nil || c.when.hold(q, f)) &&
		(c.pattern == nil || c.pattern.re.MatchString(q.Path))
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
		m.Matched = path[:c.prefix]
	}
}

// rule is a route, or a part of one: Kong splits a route whose paths differ in
// length or kind, because the path's length is a part of the priority.
type rule struct {
	candidate               // what its candidates have in common
	gone      bool          // the route is taken away
	hosts     []hostPattern // at least one, without repetition
	paths     []rulePath    // one for each candidate
}

// rulePath is a path of a rule.
type rulePath struct {
	prefix  string
	pattern *pathPattern
}

// ruleCompiler turns routes into rules.
type ruleCompiler struct {
	flavor   config.RouterFlavor
	patterns *patternCache
	rules    []rule
}

// add compiles a route: one that comes, or one that goes.
func (rc *ruleCompiler) add(route *Route, declared uint64, gone bool) error {
	e := route.Entity
	base := rule{
		candidate: candidate{route: route, created: float64(e.CreatedAt), declared: declared},
		gone:      gone,
	}
	if e.Expression != "" {
		return rc.addExpression(e, base)
	}
	methods := e.Methods
	if set := newMethodSet(methods); set != 0 {
		base.methods, methods = set, nil
	}
	var err error
	if base.when, err = newConditions(methods, e.SNIs, e.Headers, rc.plainOnly(e)); err != nil {
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
		r := base
		r.priority = priority(attributes{
			methods: len(e.Methods) > 0, snis: len(e.SNIs) > 0,
			hosts: hosts, headers: len(e.Headers), path: paths[0], regexPriority: e.RegexPriority,
		})
		r.paths = make([]rulePath, len(paths))
		for i, path := range paths {
			p := &r.paths[i]
			p.prefix = path
			if isPattern(path) {
				if p.pattern, err = rc.pattern(path[1:]); err != nil {
					return err
				}
				p.prefix = p.pattern.prefix
			}
		}
		rc.addByPort(r, hosts)
	}
	return nil
}

// addByPort adds r, once for its hosts with a port and once for the others.
func (rc *ruleCompiler) addByPort(r rule, hosts []hostPattern) {
	if len(hosts) == 0 {
		r.hosts = anyHost
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

// anyHost are the hosts of a rule without any.
var anyHost = []hostPattern{{kind: hostAny, port: anyPort}}

func (rc *ruleCompiler) pattern(text string) (*pathPattern, error) {
	p, err := rc.patterns.get(text)
	if err != nil {
		return nil, fmt.Errorf("compiling path %q: %w", "~"+text, err)
	}
	return p, nil
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
	for _, path := range paths {
		i := slices.IndexFunc(groups, func(g []string) bool {
			return isPattern(path) == isPattern(g[0]) && (isPattern(path) || len(path) == len(g[0]))
		})
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
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
