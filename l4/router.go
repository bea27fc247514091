package l4

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/expr"
)

// Query is what a stream route is looked up by.
type Query struct {
	Protocol    config.Protocol // of streams
	SNI         string          // lower case; "" for none
	Source      netip.AddrPort  // the client, unmapped
	Destination netip.AddrPort  // where the client connected to, unmapped

	// Placed asks only for routes that name a server name or a port that clients
	// connect to. It is for ports that serve HTTPS too, of which a route by sources
	// alone would take everything.
	Placed bool
}

// Router finds the route of a stream as Kong's router flavours
// traditional_compatible and expressions do. It is immutable and safe for
// concurrent use.
//
// Every route becomes one or two rules, sorted by preference (see sortRules);
// a rule's index is its rank, and the lowest rank whose conditions all hold is the
// match. Rules are found by the server name, through a map for whole names and
// one for each end a wildcard may have, and within that by the most telling of
// their other conditions (see shelf).
//
// Unlike Kong's, the router lets a route serve only the protocols it lists.
type Router struct {
	rules    []rule
	unnamed  shelf // the rules without a server name, and those of plain streams
	exact    map[string]*shelf
	suffixes map[string]*shelf // "*.name" by ".name"
	prefixes map[string]*shelf // "name.*" by "name."

	expressions bool      // some rule has one
	placed      protocols // of the routes that Query.Placed leaves
	all         protocols
}

// NewRouter compiles routes, which are in the order of their declaration. Its
// error names every route that cannot be compiled.
func NewRouter(routes []*Route) (*Router, error) {
	r := &Router{exact: make(map[string]*shelf), suffixes: make(map[string]*shelf), prefixes: make(map[string]*shelf)}
	var errs []error
	for i, route := range routes {
		rules, err := compileRoute(route, i)
		if err != nil {
			errs = append(errs, fmt.Errorf("compiling route %q: %w", routeLabel(route.Entity), err))
		}
		r.rules = append(r.rules, rules...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	sortRules(r.rules)
	for rank := range r.rules {
		u := &r.rules[rank]
		r.expressions = r.expressions || u.expression != nil
		r.all |= u.protocols
		if u.placed {
			r.placed |= u.protocols
		}
		r.place(u, int32(rank))
	}
	r.finish()
	return r, nil
}

// place puts a rule where it is looked for.
func (r *Router) place(u *rule, rank int32) {
	if len(u.snis) == 0 || u.protocols&^named != 0 {
		r.unnamed.add(u, rank)
	}
	for _, n := range u.snis {
		shelves := r.exact
		switch n.kind {
		case sniSuffix:
			shelves = r.suffixes
		case sniPrefix:
			shelves = r.prefixes
		}
		s := shelves[n.text]
		if s == nil {
			s = new(shelf)
			shelves[n.text] = s
		}
		s.add(u, rank)
	}
}

func (r *Router) finish() {
	r.unnamed.finish()
	for _, shelves := range []map[string]*shelf{r.exact, r.suffixes, r.prefixes} {
		for _, s := range shelves {
			s.finish()
		}
	}
}

// Has reports whether there is a route of one of the protocols; with placed only
// those count that Query.Placed leaves.
func (r *Router) Has(placed bool, of ...config.Protocol) bool {
	have := r.all
	if placed {
		have = r.placed
	}
	return slices.ContainsFunc(of, func(p config.Protocol) bool { return have&protocolBit(p) != 0 })
}

// noRank is worse than every rule's rank.
const noRank int32 = math.MaxInt32

// Match returns the route of a stream, nil if there is none. It does not
// allocate, but for expressions that must rewrite what they compare (see
// expr.Expr.Eval).
func (r *Router) Match(q *Query) *Route {
	l := lookup{rules: r.rules, q: q, protocol: protocolBit(q.Protocol), best: noRank}
	if r.expressions {
		l.fields = queryFields(q)
	}
	if l.protocol&named != 0 && q.SNI != "" {
		l.search(r.exact[q.SNI])
		for i := len(q.SNI); len(r.suffixes) > 0; {
			if i = strings.LastIndexByte(q.SNI[:i], '.'); i < 0 {
				break
			}
			l.search(r.suffixes[q.SNI[i:]])
		}
		for i := 0; len(r.prefixes) > 0; {
			dot := strings.IndexByte(q.SNI[i:], '.')
			if dot < 0 {
				break
			}
			i += dot + 1
			l.search(r.prefixes[q.SNI[:i]])
		}
	}
	l.unnamed = true
	if l.search(&r.unnamed); l.best == noRank {
		return nil
	}
	return r.rules[l.best].route
}

// queryFields returns q as expressions see it.
func queryFields(q *Query) expr.Fields {
	return expr.Fields{Protocol: string(q.Protocol), SNI: q.SNI, Source: q.Source, Destination: q.Destination}
}

// lookup is one Match under way.
type lookup struct {
	rules    []rule
	q        *Query
	protocol protocols
	best     int32
	unnamed  bool        // on the shelf of no server name
	fields   expr.Fields // set if there are expressions
}

// search lowers best to the lowest rank on the shelf that matches.
func (l *lookup) search(s *shelf) {
	if s == nil || s.lowest >= l.best {
		return
	}
	if list := s.byPort[l.q.Destination.Port()]; list != nil {
		l.scan(list)
	}
	if s.bySource != nil {
		if list, ok := s.bySource.Lookup(l.q.Source.Addr()); ok {
			l.scan(list)
		}
	}
	if s.byDestination != nil {
		if list, ok := s.byDestination.Lookup(l.q.Destination.Addr()); ok {
			l.scan(list)
		}
	}
	l.scan(s.rest)
}

// scan goes through ranks in ascending order.
func (l *lookup) scan(ranks []int32) {
	for _, rank := range ranks {
		if rank >= l.best {
			return
		}
		if l.rules[rank].holds(l) {
			l.best = rank
			return
		}
	}
}

// sortRules sorts by preference: Kong's priority, then a whole server name before
// a wildcard, then the older route, and then the one declared first. Kong leaves
// the order of equal priorities to the routes' ids.
func sortRules(rules []rule) {
	slices.SortStableFunc(rules, func(a, b rule) int {
		return cmp.Or(
			cmp.Compare(b.priority, a.priority),
			-compareBool(a.exact, b.exact),
			cmp.Compare(a.created, b.created),
			cmp.Compare(a.declared, b.declared),
		)
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// routeLabel is how an error names a route.
func routeLabel(e *config.Route) string {
	if e.Name != "" {
		return e.Name
	}
	return e.ID.String()
}
