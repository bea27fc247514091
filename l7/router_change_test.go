package l7

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

// TestRouterWithAgreesWithWhole makes random changes to routes: adds, removes,
// replaces and moves some. After each, the router that was made from the one
// before must hold the very trees, and give the very answers, of one that was
// made from nothing; and so must all those before it still.
func TestRouterWithAgreesWithWhole(t *testing.T) {
	const seeds, steps, queries = 20, 40, 20
	found, shared := 0, 0
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		w := &changingRoutes{Rand: rnd}
		for range 4 + rnd.IntN(30) {
			w.routes = append(w.routes, w.fresh())
		}
		router, err := NewFlavoredRouter(config.FlavorExpressions, slices.Clone(w.routes))
		if err != nil {
			t.Fatal(err)
		}
		first, firstTrees := router, describeTrees(router)
		for step := range steps {
			w.change()
			before := router
			if router, err = router.With(slices.Clone(w.routes)); err != nil {
				t.Fatal(err)
			}
			whole, err := NewFlavoredRouter(config.FlavorExpressions, slices.Clone(w.routes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describeTrees(whole), describeTrees(router)); diff != "" {
				t.Fatalf("seed %d, step %d: the whole (-) and the changed router (+) differ:\n%s", seed, step, diff)
			}
			if whole.expressions != router.expressions {
				t.Fatalf("seed %d, step %d: %d expressions, want %d", seed, step, router.expressions, whole.expressions)
			}
			var want, got Match
			for range queries {
				q := w.query()
				if whole.Match(q, &want) != router.Match(q, &got) || want.Route != got.Route || want.Matched != got.Matched || !slices.Equal(want.Captures, got.Captures) {
					t.Fatalf("seed %d, step %d, %+v, header %v:\nfound %+v\nwant  %+v", seed, step, q, q.Header.Fields(), got, want)
				}
				if want.Route != nil {
					found++
				}
			}
			old := partsOf(before)
			for id := range partsOf(router) {
				if old[id] != nil {
					shared++
				}
			}
		}
		if diff := cmp.Diff(firstTrees, describeTrees(first)); diff != "" {
			t.Fatalf("seed %d: the first router has changed:\n%s", seed, diff)
		}
	}
	if all := seeds * steps * queries; found < all/4 || found > all*99/100 {
		t.Errorf("%d of %d requests found a route: the changes test little", found, all)
	}
	if shared < seeds*steps {
		t.Errorf("%d trees were shared in %d steps: too few to test anything", shared, seeds*steps)
	}
}

// changingRoutes are routes that are changed at random.
type changingRoutes struct {
	*rand.Rand
	routes []*Route
	made   int
}

func (w *changingRoutes) fresh() *Route {
	w.made++
	e := randomRoute(w.Rand, fmt.Sprint(w.made))
	if w.IntN(4) == 0 {
		e = config.Route{Name: e.Name, Expression: randomTree(w.Rand, 2).String(), Priority: w.IntN(3), CreatedAt: e.CreatedAt}
	}
	return &Route{Entity: &e}
}

// change makes one change or a few; sometimes so many that all is made anew.
func (w *changingRoutes) change() {
	n := 1 + w.IntN(3)
	if w.IntN(12) == 0 {
		n = 20
	}
	for range n {
		at := w.IntN(len(w.routes))
		switch w.IntN(4) {
		case 0:
			w.routes = slices.Insert(w.routes, w.IntN(len(w.routes)+1), w.fresh())
		case 1:
			if len(w.routes) > 1 {
				w.routes = slices.Delete(w.routes, at, at+1)
			}
		case 2:
			w.routes[at] = w.fresh()
		case 3:
			moved := w.routes[at]
			w.routes = slices.Delete(w.routes, at, at+1)
			w.routes = slices.Insert(w.routes, w.IntN(len(w.routes)+1), moved)
		}
	}
}

func (w *changingRoutes) query() *Query {
	q := randomQuery(w.Rand)
	q.Args = one(w.Rand, randomArgs)
	q.Conn = &l4.Info{Client: netip.MustParseAddrPort("192.0.2.1:4711"), Local: netip.MustParseAddrPort("198.51.100.9:8000")}
	return q
}

// treesOf returns the trees of a router by host.
func treesOf(r *Router) map[hostKey]*pathTree {
	trees := map[hostKey]*pathTree{}
	if !r.hosts.anyHost.empty() {
		trees[hostKey{}] = &r.hosts.anyHost
	}
	for host, t := range r.hosts.exact.All() {
		trees[hostKey{hostExact, host}] = &t
	}
	for host, t := range r.hosts.suffixes.trees.All() {
		trees[hostKey{hostSuffix, host}] = &t
	}
	for host, t := range r.hosts.prefixes.trees.All() {
		trees[hostKey{hostPrefix, host}] = &t
	}
	return trees
}

// partsOf returns the distinct parts of a router's trees, with one of their
// trees' parts each.
func partsOf(r *Router) map[treeIdentity]*pathTree {
	parts := map[treeIdentity]*pathTree{}
	for _, t := range treesOf(r) {
		addParts(parts, t)
	}
	return parts
}

func addParts(parts map[treeIdentity]*pathTree, t *pathTree) {
	if parts[t.identity()] != nil {
		return
	}
	parts[t.identity()] = t
	if t.more != nil {
		for i := range t.more.parts {
			addParts(parts, &t.more.parts[i])
		}
	}
}

// describeTrees writes every tree of a router down, but for the numbers of the
// places.
func describeTrees(r *Router) map[string]string {
	trees := map[string]string{}
	for host, t := range treesOf(r) {
		root := t.open("")
		trees[fmt.Sprint(host)] = fmt.Sprintf("%d bytes, ", len(t.nodes)) + describeTree(&root)
	}
	return trees
}

// describeTree writes a tree down, and what of it is cut off.
func describeTree(n *pathNode) string {
	s := ""
	if n.part != nil {
		s = fmt.Sprintf("part of %d bytes: ", len(n.part.nodes))
		opened := n.opened()
		n = &opened
	}
	s += fmt.Sprintf("%q %q [", n.text, n.labels)
	for _, c := range n.items {
		s += fmt.Sprintf(" %s:%d path %d of %d bytes, %d %t %v %t", c.route.Entity.Name, c.port, c.path, c.prefix, c.priority, c.ported, c.created, c.pattern != nil)
	}
	s += "]"
	for i := range n.children {
		s += "(" + describeTree(&n.children[i]) + ")"
	}
	return s
}

func TestRouterWith(t *testing.T) {
	var routes []*Route
	for i := range 8 {
		routes = append(routes, &Route{Entity: &config.Route{Name: fmt.Sprint(i), Paths: []string{"/" + fmt.Sprint(i)}}})
	}
	router, err := NewRouter(slices.Clone(routes))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := router.With(slices.Clone(routes)); same != router || err != nil {
		t.Errorf("the same routes made %p of %p, error %v", same, router, err)
	}
	bad := &Route{Entity: &config.Route{Name: "bad", Hosts: []string{"a.*.b"}}}
	if _, err := router.With(append(slices.Clone(routes), bad)); err == nil || err.Error() != `compiling route "bad": reading host "a.*.b": `+errHostForm.Error() {
		t.Errorf("error %v", err)
	}
	none, err := router.With(nil)
	if err != nil || len(treesOf(none)) != 0 {
		t.Errorf("no routes made %v, error %v", treesOf(none), err)
	}
}

// TestRouterPlacesRunOut declares route after route before the same one: at
// some time there is no number left between it and its neighbour. The later
// of two equal routes must never win.
func TestRouterPlacesRunOut(t *testing.T) {
	equal := func(name string) *Route {
		return &Route{Entity: &config.Route{Name: name, Paths: []string{"/"}}}
	}
	routes := []*Route{}
	for i := range 20 { // so that one more is not most of them
		routes = append(routes, &Route{Entity: &config.Route{Name: fmt.Sprint(i), Paths: []string{fmt.Sprintf("/%d", i)}}})
	}
	last := equal("last")
	router, err := NewRouter(append(slices.Clone(routes), last))
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	var m Match
	q := ask{path: "/"}.query()
	for i := range 200 {
		routes = append(routes, equal(fmt.Sprint("equal ", i)))
		next, err := router.With(append(slices.Clone(routes), last))
		if err != nil {
			t.Fatal(err)
		}
		if next.places[0] == placeGap && next.places[len(routes)] == placeGap*uint64(len(routes)+1) {
			whole++
		}
		router = next
		if !router.Match(q, &m) || m.Route.Entity.Name != "equal 0" {
			t.Fatalf("after %d routes %q is found", i+1, m.Route.Entity.Name)
		}
		if !slices.IsSorted(router.places) || len(slices.Compact(slices.Clone(router.places))) != len(router.places) {
			t.Fatalf("after %d routes the places are %v", i+1, router.places)
		}
	}
	if whole == 0 || whole > 20 {
		t.Errorf("the router was made whole %d times in 200 changes", whole)
	}
}

// TestRouterKeepsPatternsOnce changes routes that have one expression in
// common: it must stay one, and one that no route has any more must go.
func TestRouterKeepsPatternsOnce(t *testing.T) {
	make := func(i, j int) *Route {
		return &Route{Entity: &config.Route{Hosts: []string{fmt.Sprintf("h%d.test", i)}, Paths: []string{`~/items/\d+`, fmt.Sprintf(`~/own/%d/%d/\d+`, i, j)}}}
	}
	var routes []*Route
	for i := range 100 {
		routes = append(routes, make(i, 0))
	}
	router, err := NewRouter(slices.Clone(routes))
	if err != nil {
		t.Fatal(err)
	}
	for j := range 10 {
		for i := range routes {
			routes[i] = make(i, j)
			if router, err = router.With(slices.Clone(routes)); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
	}
	patterns := map[*pathPattern]bool{}
	for _, t := range partsOf(router) {
		for _, c := range t.items {
			patterns[c.pattern] = true
		}
	}
	if len(patterns) != 101 {
		t.Errorf("%d expressions are kept for 101 texts", len(patterns))
	}
	if got := len(router.patterns.byText); got > 500 {
		t.Errorf("the cache knows %d texts, of which 101 are in use", got)
	}
}
