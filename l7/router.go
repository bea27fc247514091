package l7

import (
	"errors"
	"fmt"
	"math"
	"slices"
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
// Every route becomes one or more candidates, sorted by preference (see
// ruleCompiler.sorted); a candidate's index is its rank, and the lowest rank whose
// conditions all hold is the match. Candidates are found by host, through a
// map, and then by path, through a radix tree that holds each candidate at its
// prefix, or, if its path is a regular expression, at the expression's literal
// beginning. So a look-up only ever meets candidates whose host and prefix
// hold; it walks from the longest prefix up, and stops as soon as nothing
// above can beat what it has. An expression stands at what it implies of host
// and path; one that implies nothing is met by every request.
//
// protocols take no part: an https-only route is found by a plain http request
// too, and the pipeline sends the client to https. Only the flavour expressions
// keeps TLS connections from a route for http alone.
type Router struct {
	candidates []candidate
	trees      pathTrees
	hosts      hostIndex

	expressions bool // some candidate has one
}

// NewRouter compiles routes by the default flavour.
func NewRouter(routes []*Route) (*Router, error) {
	return NewFlavoredRouter(config.FlavorCompatible, routes)
}

// NewFlavoredRouter compiles routes, which are in the order of their
// declaration. Its error names every route that cannot be compiled.
func NewFlavoredRouter(flavor config.RouterFlavor, routes []*Route) (*Router, error) {
	rc := ruleCompiler{flavor: flavor, rules: make([]rule, 0, len(routes)), patterns: map[string]*pathPattern{}}
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
	count := 0
	for i := range rules {
		count += len(rules[i].candidates)
	}
	r := &Router{expressions: rc.expressions, candidates: make([]candidate, 0, count)}
	for i := range rules {
		rules[i].rank = int32(len(r.candidates))
		r.candidates = append(r.candidates, rules[i].candidates...)
	}
	r.hosts = buildHosts(rules, &r.trees)
	r.trees.nodes, r.trees.items = slices.Clone(r.trees.nodes), slices.Clone(r.trees.items) // without the room they grew with
	return r, nil
}

// noRank is worse than every candidate's rank.
const noRank int32 = math.MaxInt32

// Match finds the route of q. It returns false, and an empty m, if there is
// none. It does not allocate unless the route's path is a regular expression,
// or an expression must rewrite what it compares (see expr.Expr.Eval).
func (r *Router) Match(q *Query, m *Match) bool {
	m.Reset()
	if !r.expressions {
		return r.match(q, nil, m)
	}
	f := q.fields()
	return r.match(q, &f, m)
}

// match is Match. f is q as expressions see it, nil if there are none.
func (r *Router) match(q *Query, f *expr.Fields, m *Match) bool {
	best := noRank
	h := &r.hosts
	if t, ok := h.exact[q.Host]; ok {
		best = r.search(t, q, f, best)
	}
	for i, n := len(q.Host), 0; h.suffixes.may(n + 1); {
		if i = strings.LastIndexByte(q.Host[:i], '.'); i < 0 {
			break
		}
		n++
		if t, ok := h.suffixes.get(n, q.Host[i:]); ok {
			best = r.search(t, q, f, best)
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
			best = r.search(t, q, f, best)
		}
	}
	if best = r.search(h.anyHost, q, f, best); best == noRank {
		return false
	}
	r.candidates[best].fill(m, q.Path, f)
	return true
}

// search returns the lowest rank below best of a candidate in the tree that
// matches q, or best.
func (r *Router) search(t pathTree, q *Query, f *expr.Fields, best int32) int32 {
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
			if (it.port == anyPort || it.port == int32(q.Port)) && r.candidates[it.rank].accepts(q, f) {
				best = it.rank
				break
			}
		}
		at = n.up
	}
	return best
}
