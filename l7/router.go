package l7

import (
	"errors"
	"fmt"
	"math"
	"strings"
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
}

// Match is the outcome of a look-up. Its storage is reused.
type Match struct {
	Route *Route

	// Matched is the part of the path, from its beginning, that the route's
	// path matched: the prefix, or the text of the regular expression; "" if
	// the route has no paths. Like Path it is not escaped.
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

// Router finds the route of a request as Kong's router flavour
// traditional_compatible does. It is immutable and safe for concurrent use.
//
// Every route becomes one or more candidates, sorted by preference (see
// ruleCompiler.sorted); a candidate's index is its rank, and the lowest rank whose
// conditions all hold is the match. Candidates are found by host, through a
// map, and then by path, through a radix tree that holds each candidate at its
// prefix, or, if its path is a regular expression, at the expression's literal
// beginning. So a look-up only ever meets candidates whose host and prefix
// hold; it walks from the longest prefix up, and stops as soon as nothing
// above can beat what it has.
//
// protocols take no part: an https-only route is found by a plain http request
// too, and the pipeline sends the client to https.
type Router struct {
	candidates []candidate
	trees      pathTrees
	hosts      hostIndex
}

// NewRouter compiles routes, which are in the order of their declaration. Its
// error names every route that cannot be compiled.
func NewRouter(routes []*Route) (*Router, error) {
	rc := ruleCompiler{rules: make([]rule, 0, len(routes)), patterns: map[string]*pathPattern{}}
	var errs []error
	for i, route := range routes {
		if err := rc.add(route, i); err != nil {
			errs = append(errs, fmt.Errorf("compiling route %q: %w", routeLabel(route), err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	rules := rc.sorted()
	r := new(Router)
	for i := range rules {
		rules[i].rank = int32(len(r.candidates))
		r.candidates = append(r.candidates, rules[i].candidates...)
	}
	r.hosts = buildHosts(rules, &r.trees)
	return r, nil
}

// noRank is worse than every candidate's rank.
const noRank int32 = math.MaxInt32

// Match finds the route of q. It returns false, and an empty m, if there is
// none. It does not allocate unless the route's path is a regular expression.
func (r *Router) Match(q *Query, m *Match) bool {
	m.Reset()
	best := noRank
	h := &r.hosts
	if t, ok := h.exact[q.Host]; ok {
		best = r.search(t, q, best)
	}
	for i, n := len(q.Host), 0; h.suffixes.may(n + 1); {
		if i = strings.LastIndexByte(q.Host[:i], '.'); i < 0 {
			break
		}
		n++
		if t, ok := h.suffixes.get(n, q.Host[i:]); ok {
			best = r.search(t, q, best)
		}
	}
	for i, n := 0, 0; h.prefixes.may(n + 1); {
		dot := strings.IndexByte(q.Host[i:], '.')
		if dot < 0 {
			break
		}
		n++
		i += dot + 1
		if t, ok := h.prefixes.get(n, q.Host[:i]); ok {
			best = r.search(t, q, best)
		}
	}
	if best = r.search(h.anyHost, q, best); best == noRank {
		return false
	}
	r.candidates[best].fill(m, q.Path)
	return true
}

// search returns the lowest rank below best of a candidate in the tree that
// matches q, or best.
func (r *Router) search(t pathTree, q *Query, best int32) int32 {
	if t.lowest >= best {
		return best
	}
	trees := &r.trees
	for at := trees.deepest(t.root, q.Path); at >= 0; {
		n := &trees.nodes[at]
		if n.lowest >= best {
			break
		}
		for _, it := range trees.items[n.items:n.itemsEnd] {
			if it.rank >= best {
				break
			}
			if (it.port == anyPort || it.port == int32(q.Port)) && r.candidates[it.rank].accepts(q) {
				best = it.rank
				break
			}
		}
		at = n.up
	}
	return best
}
