package l7

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/expr"
	"github.com/bulwark-edge/bulwark/l4"
)

// Query is what a route is looked up by.
type Query struct {
	Method string
	Host   string // lower case, without port; an IPv6 address in brackets
	Port   uint16 // of the Host field if that names one, else the listener's
	Path   string // as NormalizePath returns it
	Header *Header
	SNI    string
	HTTPS  bool // the connection itself is TLS; otherwise the routes' snis are ignored

	// What only expressions ask about.

	Args string   // the query as sent, without its question mark
	Conn *l4.Info // for its addresses; nil for none
}

// Match is the outcome of a look-up. Its storage is reused.
type Match struct {
	Route *Route

	// Matched is the part of the path, from its beginning, that the route's
	// path matched: the prefix, or the text of the regular expression; "" if
	// the route has no paths, or its expression compares none. Like Path it is
	// not escaped.
	Matched string

	// Captures holds the groups of the regular expression that took part in
	// the match, in order.
	Captures []Capture
}

// Capture is a group of a regular expression and the text it matched, which
// may be empty.
type Capture struct {
	Group int    // from 1
	Name  string // "" for a group without a name
	Value string // not escaped
}

// Reset empties m and keeps its storage, without keeping the strings alive.
func (m *Match) Reset() {
	clear(m.Captures)
	*m = Match{Captures: m.Captures[:0]}
}

// addCaptures adds the groups of a regular expression that matched text at loc,
// as FindStringSubmatchIndex gives it. Their names begin with the whole match.
func (m *Match) addCaptures(groups []string, loc []int, text string) {
	for g := 1; g < len(groups); g++ {
		if from, to := loc[2*g], loc[2*g+1]; from >= 0 {
			m.Captures = append(m.Captures, Capture{Group: g, Name: groups[g], Value: text[from:to]})
		}
	}
}

// Router finds the route of a request as Kong's router flavours
// traditional_compatible and expressions do. It is immutable and safe for
// concurrent use.
//
// Every route becomes one or more candidates, of which the most preferred one
// whose conditions all hold is the match (see candidate.compare). Candidates
// are found by host, through a map, and then by path, through a radix tree that
// holds each candidate at its prefix, or, if its path is a regular expression,
// at the expression's literal beginning. So a look-up only ever meets
// candidates whose host and prefix hold; it goes to the longest prefix and asks
// on the way back, and those that cannot beat what it has are not asked. An
// expression stands at what it implies of host and path; one that implies
// nothing is met by every request.
//
// protocols take no part: an https-only route is found by a plain http request
// too, and the pipeline sends the client to https. Only the flavour expressions
// keeps TLS connections from a route for http alone.
type Router struct {
	flavor      config.RouterFlavor
	routes      []*Route // in the order of their declaration
	places      []uint64 // of the routes: candidate.declared
	patterns    *patternCache
	expressions int // number of routes with one
	hosts       hostIndex
}

// NewRouter compiles routes by the default flavour.
func NewRouter(routes []*Route) (*Router, error) {
	return NewFlavoredRouter(config.FlavorCompatible, routes)
}

// NewFlavoredRouter compiles routes, which are in the order of their
// declaration; the slice is the router's from then on. Its error names every
// route that cannot be compiled.
func NewFlavoredRouter(flavor config.RouterFlavor, routes []*Route) (*Router, error) {
	return newRouter(flavor, routes, new(patternCache))
}

// newRouter compiles every route.
func newRouter(flavor config.RouterFlavor, routes []*Route, patterns *patternCache) (*Router, error) {
	r := &Router{flavor: flavor, routes: routes, places: make([]uint64, len(routes)), patterns: patterns}
	added := make([]int, len(routes))
	for i := range routes {
		r.places[i], added[i] = uint64(i+1)*placeGap, i
	}
	if err := r.edit(added, nil); err != nil {
		return nil, err
	}
	return r, nil
}

// edit makes the routes at the places that are added found, and those that are
// gone not.
func (r *Router) edit(added []int, gone []*Route) error {
	rc := ruleCompiler{flavor: r.flavor, patterns: r.patterns, rules: make([]rule, 0, len(added)+len(gone))}
	var errs []error
	add := func(route *Route, place uint64, gone bool) {
		if err := rc.add(route, place, gone); err != nil {
			errs = append(errs, fmt.Errorf("compiling route %q: %w", routeLabel(route), err))
		}
	}
	for _, route := range gone {
		add(route, 0, true)
		if route.Entity.Expression != "" {
			r.expressions--
		}
	}
	for _, i := range added {
		add(r.routes[i], r.places[i], false)
		if r.routes[i].Entity.Expression != "" {
			r.expressions++
		}
	}
	r.hosts = r.hosts.edited(rc.rules)
	return errors.Join(errs...)
}

// Match finds the route of q. It returns false, and an empty m, if there is
// none. It does not allocate unless the route's path is a regular expression,
// or an expression must rewrite what it compares (see expr.Expr.Eval).
func (r *Router) Match(q *Query, m *Match) bool {
	m.Reset()
	if r.expressions == 0 {
		return r.match(q, nil, m)
	}
	f := q.fields()
	return r.match(q, &f, m)
}

// match is Match. f is q as expressions see it, nil if there are none.
func (r *Router) match(q *Query, f *expr.Fields, m *Match) bool {
	var best *candidate
	h := &r.hosts
	if t := h.exact.Find(q.Host); t != nil {
		best = t.search(0, q.Path, q, f, best)
	}
	for i, n := len(q.Host), 0; h.suffixes.may(n + 1); {
		if i = strings.LastIndexByte(q.Host[:i], '.'); i < 0 {
			break
		}
		n++
		if t := h.suffixes.get(n, q.Host[i:]); t != nil {
			best = t.search(0, q.Path, q, f, best)
		}
	}
	for i, n := 0, 0; h.prefixes.may(n + 1); {
		dot := strings.IndexByte(q.Host[i:], '.')
		if dot < 0 {
			break
		}
		n++
		i += dot + 1
		if t := h.prefixes.get(n, q.Host[:i]); t != nil {
			best = t.search(0, q.Path, q, f, best)
		}
	}
	if !h.anyHost.empty() {
		best = h.anyHost.search(0, q.Path, q, f, best)
	}
	if best == nil {
		return false
	}
	best.fill(m, q.Path, f)
	return true
}
