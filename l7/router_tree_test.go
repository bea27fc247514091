package l7

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
)

// largePath returns a path of a set that is large, has long texts, a place with
// every label, and one path that many routes have.
func largePath(rnd *rand.Rand) string {
	switch rnd.IntN(20) {
	case 0:
		return "/same"
	case 1, 2, 3, 4:
		return "/f" + string([]byte{byte(rnd.IntN(256))}) + strings.Repeat("g", rnd.IntN(80))
	case 5:
		return fmt.Sprintf("/%s/%d", strings.Repeat("long", 64*(1+rnd.IntN(9))), rnd.IntN(3))
	}
	path := ""
	for range 1 + rnd.IntN(3) {
		path += one(rnd, []string{"/team-", "/r", "/", "/é"}) + fmt.Sprint(rnd.IntN(200))
	}
	return path
}

// TestPathTreesInParts makes random changes to trees that are large enough to be
// cut into parts. Each must be the very tree that is made from nothing, cut at
// the same places, share most parts with the one before, and find what a look at
// every path finds.
func TestPathTreesInParts(t *testing.T) {
	const seeds, routes, steps, queries = 3, 2000, 20, 50
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		fresh := func() *Route {
			return &Route{Entity: &config.Route{Name: fmt.Sprint(rnd.Uint64()), Paths: []string{largePath(rnd)}}}
		}
		var list []*Route
		for range routes {
			list = append(list, fresh())
		}
		router, err := NewRouter(slices.Clone(list))
		if err != nil {
			t.Fatal(err)
		}
		for step := range steps {
			old := partsOf(router)
			for range 1 + rnd.IntN(3) {
				list[rnd.IntN(len(list))] = fresh()
			}
			if router, err = router.With(slices.Clone(list)); err != nil {
				t.Fatal(err)
			}
			whole, err := NewRouter(slices.Clone(list))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describeTrees(whole), describeTrees(router)); diff != "" {
				t.Fatalf("seed %d, step %d: the whole (-) and the changed router (+) differ:\n%s", seed, step, diff)
			}
			holdParts(t, old, partsOf(router))
			for range queries {
				path := one(rnd, list).Entity.Paths[0]
				if path = path[:rnd.IntN(len(path)+1)] + one(rnd, []string{"", "", "7", "/x"}); rnd.IntN(4) == 0 {
					path = largePath(rnd)
				}
				wantLongest(t, router, list, path)
			}
		}
	}
}

// holdParts fails if the parts of a large router are not as they should be, or
// few of them were there before a small change.
func holdParts(t *testing.T, before, parts map[treeIdentity]*pathTree) {
	t.Helper()
	made, lists, below := 0, 0, 0
	for id, p := range parts {
		if before[id] == nil {
			made++
		}
		if len(p.nodes) >= partBytes+256*leastPart {
			t.Errorf("a part has %d bytes", len(p.nodes))
		}
		if p.more != nil {
			lists += len(p.more.lists)
			below += len(p.more.parts)
		}
	}
	if below < 10 || lists == 0 {
		t.Errorf("%d parts and %d lists: too few to test anything", below, lists)
	}
	if made > len(parts)/2 {
		t.Errorf("%d of %d parts were made by a small change", made, len(parts))
	}
}

// wantLongest fails if the router does not find the first of the routes with
// the longest path that begins the given one.
func wantLongest(t *testing.T, router *Router, routes []*Route, path string) {
	t.Helper()
	var want Match
	for _, r := range routes {
		if p := r.Entity.Paths[0]; strings.HasPrefix(path, p) && (want.Route == nil || len(p) > len(want.Matched)) {
			want = Match{Route: r, Matched: p}
		}
	}
	var got Match
	router.Match(&Query{Path: path}, &got)
	if got.Route != want.Route || got.Matched != want.Matched {
		t.Fatalf("%q found %q, want %q", path, got.Matched, want.Matched)
	}
}

// TestRouterLines holds the sizes that a look-up's cost follows from.
func TestRouterLines(t *testing.T) {
	const line = 64
	if got := reflect.TypeFor[candidate]().Size(); got != line {
		t.Errorf("a candidate has %d bytes", got)
	}
	if got := reflect.TypeFor[pathTree]().Size() + reflect.TypeFor[string]().Size(); got != line {
		t.Errorf("a host and its tree have %d bytes", got)
	}
	router := newTestRouter(t, []config.Route{
		{Name: "a", Hosts: []string{"h1.example.com", "h2.example.com"}, Paths: []string{"/team-1/r1", "/v2/team-1/r1"}, Methods: []string{"GET"}},
		{Name: "b", Hosts: []string{"h1.example.com"}, Paths: []string{"/team-2/r2", "/v2/team-2/r2"}},
	})
	tree := router.hosts.exact.Find("h1.example.com")
	if len(tree.nodes) > 2*line || len(tree.items) != 4 || tree.more != nil {
		t.Errorf("four paths take %d bytes: %+v", len(tree.nodes), tree)
	}
	if tree.items[0].when != nil {
		t.Errorf("a well-known method has conditions: %+v", tree.items[0].when)
	}
}

func TestRouterMethods(t *testing.T) {
	wellKnown := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
	for _, methods := range [][]string{wellKnown[:1], wellKnown[1:4], wellKnown[3:], {"PURGE"}, {"GET", "PURGE"}} {
		router := newTestRouter(t, []config.Route{{Name: "r", Methods: methods}})
		var m Match
		for _, asked := range append([]string{"PURGE", "get", "GETS", "BREW"}, wellKnown...) {
			if got, want := router.Match(ask{method: asked}.query(), &m), slices.Contains(methods, asked); got != want {
				t.Errorf("%s asked of a route for %v: found %t", asked, methods, got)
			}
		}
	}
}

// FuzzPathTree makes a tree of prefixes, takes some away, and looks up a path.
func FuzzPathTree(f *testing.F) {
	f.Add("/a\n/a/b\n/ab\n/é", uint64(2), "/a/b/c")
	f.Add("\n/\n/\n/x", uint64(0), "/y")
	f.Add(strings.Repeat("/same\n", 20)+strings.Repeat("/long", 120), uint64(5), "/same")
	f.Fuzz(func(t *testing.T, prefixes string, gone uint64, path string) {
		var routes, left []*Route
		for i, p := range strings.Split(prefixes, "\n") {
			if isPattern(p) {
				return
			}
			r := &Route{Entity: &config.Route{Name: fmt.Sprint(i), Hosts: []string{"a.test"}, Paths: []string{p}}}
			routes = append(routes, r)
			if gone>>(i%64)&1 == 0 {
				left = append(left, r)
			}
		}
		compiled := func(routes []*Route) []rule {
			rc := ruleCompiler{flavor: config.FlavorCompatible, patterns: new(patternCache)}
			for i, r := range routes {
				if err := rc.add(r, uint64(i), false); err != nil {
					t.Fatal(err)
				}
			}
			return rc.rules
		}
		all := compiled(routes)
		var h hostIndex
		h = h.edited(all)
		for i := range all {
			all[i].gone = !slices.Contains(left, all[i].route)
		}
		h = h.edited(slices.DeleteFunc(all, func(r rule) bool { return !r.gone }))
		wantLongest(t, &Router{hosts: hostIndex{anyHost: h.tree(hostKey{hostExact, "a.test"})}}, left, path)
	})
}
