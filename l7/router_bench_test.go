package l7

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
)

// manyRoutes is the working size: a third of the routes share one host, a
// third have a host each, and a third have paths only.
const manyRoutes = 15_000

func makeManyRoutes(n int) []config.Route {
	entities := make([]config.Route, n)
	for i := range entities {
		e := &entities[i]
		e.Name = fmt.Sprintf("route-%d", i)
		switch i % 3 {
		case 0:
			e.Hosts, e.Paths = []string{"api.example.com"}, []string{fmt.Sprintf("/team-%d/service-%d/", i%97, i)}
		case 1:
			e.Hosts, e.Paths = []string{fmt.Sprintf("host-%d.example.com", i)}, []string{"/"}
		default:
			e.Paths = []string{fmt.Sprintf("/public/%d/v1", i)}
		}
	}
	return entities
}

// lookups are requests that find a route among many: one of each third, and
// one that finds none.
var lookups = []struct {
	name string
	ask  ask
}{
	{"shared host", ask{host: "api.example.com", path: "/team-61/service-7821/users/42", want: "route-7821"}},
	{"own host", ask{host: "host-7822.example.com", path: "/users/42", want: "route-7822"}},
	{"path only", ask{host: "other.example.com", path: "/public/7823/v1/users", want: "route-7823"}},
	{"nothing", ask{host: "other.example.com", path: "/private", want: ""}},
}

func TestRouterMatchDoesNotAllocate(t *testing.T) {
	entities := append(makeManyRoutes(manyRoutes),
		config.Route{Name: "wildcard", Hosts: []string{"*.wild.test", "wild.*"}, Paths: []string{"/a", "/a/b"}, Methods: []string{"GET"}},
		config.Route{Name: "header", Headers: map[string][]string{"x-kind": {"a", "~*^b+$"}}, Paths: []string{"/h"}},
		config.Route{Name: "sni", SNIs: []string{"*.sni.test"}, Paths: []string{"/s"}},
		config.Route{Name: "pattern", Paths: []string{`~/p/\d+/x`}},
		config.Route{Name: "prefix", Paths: []string{"/p/"}},
	)
	router := newTestRouter(t, entities)
	asks := []ask{
		{host: "a.b.wild.test", path: "/a/b/c", want: "wildcard"},
		{host: "wild.test", path: "/a", want: "wildcard"},
		{path: "/h", header: []string{"X-Kind: bbb"}, want: "header"},
		{path: "/s", https: true, sni: "A.sni.test", want: "sni"},
		{path: "/p/12/y", want: "prefix"}, // the expression is tried and fails
	}
	for _, l := range lookups {
		asks = append(asks, l.ask)
	}
	var m Match
	for _, a := range asks {
		q := a.query()
		got := ""
		if router.Match(q, &m) {
			got = m.Route.Entity.Name
		}
		if got != a.want {
			t.Fatalf("%+v: found %q", a, got)
		}
		if n := testing.AllocsPerRun(100, func() { router.Match(q, &m) }); n != 0 && !raceEnabled {
			t.Errorf("%+v: %v allocations", a, n)
		}
	}
}

func TestRouterExpressionsDoNotAllocate(t *testing.T) {
	entities := append(makeManyExpressions(manyRoutes),
		config.Route{Name: "wildcard", Expression: `http.host =^ ".wild.test" && (http.path ^= "/a" || http.path ^= "/a/b") && http.method == "GET"`},
		config.Route{Name: "header", Expression: `any(lower(http.headers.x_kind)) == "a" && http.path == "/h"`},
		config.Route{Name: "query", Expression: `http.queries.q == "x" && net.src.ip in 192.0.2.0/24 && lower(http.path) ^= "/q"`},
		config.Route{Name: "fields", Paths: []string{"/p/"}, Methods: []string{"PUT"}},
	)
	router := newFlavoredTestRouter(t, entities)
	asks := []ask{
		{host: "a.b.wild.test", path: "/a/b/c", want: "wildcard"},
		{path: "/h", header: []string{"X-Kind: b", "X-Kind: A"}, want: "header"},
		{path: "/Q", want: "query"},
		{path: "/p/12", method: "PUT", want: "fields"},
	}
	for _, l := range lookups {
		asks = append(asks, l.ask)
	}
	var m Match
	for _, a := range asks {
		q := expressionQuery(a, "p=1&q=x")
		got := ""
		if router.Match(q, &m) {
			got = m.Route.Entity.Name
		}
		if got != a.want {
			t.Fatalf("%+v: found %q", a, got)
		}
		if n := testing.AllocsPerRun(100, func() { router.Match(q, &m) }); n != 0 && !raceEnabled {
			t.Errorf("%+v: %v allocations", a, n)
		}
	}
}

func BenchmarkRouterMatch(b *testing.B) {
	all, expressions := makeManyRoutes(manyRoutes), makeManyExpressions(manyRoutes)
	many, manyExpressions := newTestRouter(b, all), newFlavoredTestRouter(b, expressions)
	for i, l := range lookups {
		q := l.ask.query()
		at := 7821 + min(i, 2)
		for _, size := range []struct {
			name   string
			router *Router
		}{
			{"1", newTestRouter(b, all[at:][:1])},
			{"15000", many},
			{"1-expression", newFlavoredTestRouter(b, expressions[at:][:1])},
			{"15000-expressions", manyExpressions},
		} {
			b.Run(l.name+"/routes="+size.name, func(b *testing.B) {
				b.ReportAllocs()
				var m Match
				for b.Loop() {
					if size.router.Match(q, &m) != (l.ask.want != "") {
						b.Fatal("wrong answer")
					}
				}
			})
		}
	}
}

// BenchmarkRouterMatchSpread asks for another route each time, so that caches
// do not hide what the size costs.
func BenchmarkRouterMatchSpread(b *testing.B) {
	all := makeManyRoutes(manyRoutes)
	many := newTestRouter(b, all)
	queries := make([]*Query, len(all))
	for i := range all {
		host := "other.example.com"
		if len(all[i].Hosts) > 0 {
			host = all[i].Hosts[0]
		}
		queries[i] = ask{host: host, path: all[i].Paths[0] + "/users/42"}.query()
	}
	b.ReportAllocs()
	var m Match
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(queries)
		if !many.Match(queries[i], &m) {
			b.Fatal("no route")
		}
	}
}

func BenchmarkRouterMatchPatterns(b *testing.B) {
	entities := make([]config.Route, 1000)
	for i := range entities {
		entities[i] = config.Route{Name: fmt.Sprint(i), Paths: []string{fmt.Sprintf(`~/api/%d/users/(?<id>\d+)`, i)}}
	}
	router := newTestRouter(b, entities)
	q := ask{path: "/api/500/users/42"}.query()
	b.ReportAllocs()
	var m Match
	for b.Loop() {
		if !router.Match(q, &m) {
			b.Fatal("no route")
		}
	}
}

// BenchmarkRouterCompile15k also tells what a compiled route keeps in memory,
// besides its entity.
func BenchmarkRouterCompile15k(b *testing.B) {
	for _, flavour := range []struct {
		name     config.RouterFlavor
		entities []config.Route
	}{{config.FlavorCompatible, makeManyRoutes(manyRoutes)}, {config.FlavorExpressions, makeManyExpressions(manyRoutes)}} {
		b.Run(string(flavour.name), func(b *testing.B) {
			routes := make([]*Route, len(flavour.entities))
			for i := range routes {
				routes[i] = &Route{Entity: &flavour.entities[i]}
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			kept, err := NewFlavoredRouter(flavour.name, routes)
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewFlavoredRouter(flavour.name, routes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/manyRoutes, "kept-B/route")
			runtime.KeepAlive(kept)
		})
	}
}
