package l7

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

func newFlavoredTestRouter(t testing.TB, entities []config.Route) *Router {
	t.Helper()
	routes := make([]*Route, len(entities))
	for i := range entities {
		routes[i] = &Route{Entity: &entities[i]}
	}
	r, err := NewFlavoredRouter(config.FlavorExpressions, routes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expressionQuery is a's query with what only expressions ask about.
func expressionQuery(a ask, args string) *Query {
	q := a.query()
	q.Args, q.Conn = args, &l4.Info{Client: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("198.51.100.1:8000")}
	return q
}

func TestRouterExpressions(t *testing.T) {
	const yes = `http.path ^= "/"`
	tests := []struct {
		name   string
		routes []config.Route
		asks   []ask
	}{
		{"the greatest priority wins", []config.Route{
			{Name: "low", Expression: yes},
			{Name: "high", Expression: `http.path ^= "/a"`, Priority: 70368744177663},
			{Name: "middle", Expression: `http.path ^= "/a/b/c"`, Priority: 70368744177662},
		}, []ask{{path: "/a/b/c", want: "high"}, {path: "/b", want: "low"}}},
		{"ties go to the oldest, then to the first", []config.Route{
			{Name: "young", Expression: yes, CreatedAt: 20},
			{Name: "old", Expression: yes, CreatedAt: 10},
			{Name: "old too", Expression: `http.path ^= "/a"`, CreatedAt: 10},
		}, []ask{{path: "/a", want: "old"}}},
		{"expressions go before match fields", []config.Route{
			{Name: "fields", Hosts: []string{"a.test"}, Paths: []string{"/a"}, Methods: []string{"GET"}, Headers: map[string][]string{"x": {"y"}}},
			{Name: "expression", Expression: `http.method == "GET"`},
		}, []ask{
			{host: "a.test", path: "/a", header: []string{"X: y"}, want: "expression"},
			{host: "a.test", path: "/a", header: []string{"X: y"}, method: "PUT", want: ""},
		}},
		{"match fields after expressions", []config.Route{
			{Name: "fields", Paths: []string{"/a"}},
			{Name: "expression", Expression: `http.path == "/a"`},
		}, []ask{{path: "/a", want: "expression"}, {path: "/ab", want: "fields"}}},
		{"hosts", []config.Route{
			{Name: "is", Expression: `http.host == "www.a.test"`, Priority: 4},
			{Name: "ends in a label", Expression: `http.host =^ "ww.a.test"`, Priority: 3},
			{Name: "ends", Expression: `http.host =^ ".a.test"`, Priority: 2},
			{Name: "ends without a dot", Expression: `http.host =^ "st"`},
			{Name: "begins", Expression: `http.host ^= "api."`, Priority: 1},
			{Name: "begins in a label", Expression: `http.host ^= "api.b"`, Priority: 2},
			{Name: "begins without a dot", Expression: `http.host ^= "ap"`},
			{Name: "either", Expression: `http.host == "x.y" || http.host =^ ".y.z"`},
		}, []ask{
			{host: "www.a.test", want: "is"},
			{host: "ww.a.test", want: "ends in a label"},
			{host: "wwww.a.test", want: "ends in a label"},
			{host: "x.a.test", want: "ends"},
			{host: "a.test", want: "ends without a dot"},
			{host: "api.c", want: "begins"},
			{host: "api.bc", want: "begins in a label"},
			{host: "apx", want: "begins without a dot"},
			{host: "x.y", want: "either"},
			{host: "x.y.z", want: "either"},
			{host: "y.z", want: ""},
		}},
		{"everything else", []config.Route{
			{Name: "source", Expression: `net.src.ip in 192.0.2.0/24 && net.src.port == 4711 && http.path == "/source"`},
			{Name: "local", Expression: `net.dst.ip == 198.51.100.1 && net.dst.port == 81`},
			{Name: "query", Expression: `http.queries.a == "b"`},
			{Name: "sni", Expression: `tls.sni == "sni.test"`},
			{Name: "secure", Expression: `net.protocol == "https" && http.path == "/secure"`},
			{Name: "header", Expression: `any(http.headers.x_kind) == "b" && http.headers.x_only == "c"`},
			{Name: "segments", Expression: `http.path.segments.1_2 == "y/z" && http.path.segments.len == 3`},
		}, []ask{
			{path: "/source", want: "source"},
			{path: "/x", port: 81, want: "local"},
			{path: "/query", want: "query"},
			{sni: "sni.test", https: true, want: "sni"},
			{sni: "sni.test", want: ""},
			{path: "/secure", https: true, want: "secure"},
			{path: "/secure", want: ""},
			{header: []string{"X_Kind: a", "x-kind: b", "X-Only: c"}, want: "header"},
			{header: []string{"x-kind: b", "X-Only: c", "X-Only: d"}, want: ""},
			{path: "/x/y/z", want: "segments"},
			{path: "/x/y/z/", want: "segments"},
			{path: "/x/y/z/a", want: ""},
		}},
		{"protocols", []config.Route{
			{Name: "plain", Expression: `http.path ^= "/a"`, Protocols: []config.Protocol{config.HTTP}},
			{Name: "plain by fields", Paths: []string{"/b"}, Protocols: []config.Protocol{config.HTTP}},
			{Name: "secure", Expression: `http.path ^= "/c"`, Protocols: []config.Protocol{config.HTTPS}},
			{Name: "both", Expression: `http.path ^= "/d"`, Protocols: []config.Protocol{config.HTTP, config.HTTPS}},
		}, []ask{
			{path: "/a", want: "plain"},
			{path: "/a", https: true, want: ""},
			{path: "/b", want: "plain by fields"},
			{path: "/b", https: true, want: ""},
			{path: "/c", want: "secure"},
			{path: "/c", https: true, want: "secure"},
			{path: "/d", want: "both"},
			{path: "/d", https: true, want: "both"},
		}},
		{"the asterisk form is no path", []config.Route{{Name: "r", Expression: `http.method == "OPTIONS" && http.path.segments.len == 0`}}, []ask{
			{path: "*", method: "OPTIONS", want: "r"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			router := newFlavoredTestRouter(t, slices.Clone(tt.routes))
			var m Match
			for _, a := range tt.asks {
				args := ""
				if a.path == "/query" {
					args = "a=b"
				}
				got := ""
				if router.Match(expressionQuery(a, args), &m) {
					got = m.Route.Entity.Name
				}
				if got != a.want {
					t.Errorf("%+v: found %q", a, got)
				}
			}
		})
	}
}

func TestRouterExpressionMatchedAndCaptures(t *testing.T) {
	router := newFlavoredTestRouter(t, []config.Route{
		{Name: "prefix", Expression: `http.path ^= "/hello"`},
		{Name: "regex", Expression: `http.path ~ r#"^/users/(?<id>\d+)(/x)?"#`},
		{Name: "lowered", Expression: `lower(http.path) ~ "^/low/([a-z]+)"`},
		{Name: "host", Expression: `http.host == "one.test" && !(http.path ^= "/hello")`},
	})
	tests := []struct {
		name, host, path string
		want             Match
	}{
		{"prefix", "", "/hello/world", Match{Matched: "/hello"}},
		{"regex", "", "/users/42/y", Match{Matched: "/users/42", Captures: []Capture{{1, "id", "42"}}}},
		{"lowered", "", "/LOW/Abc/d", Match{Matched: "/LOW/Abc", Captures: []Capture{{1, "", "abc"}}}},
		{"no path", "one.test", "/other", Match{}},
	}
	var got Match
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !router.Match(expressionQuery(ask{host: tt.host, path: tt.path}, ""), &got) {
				t.Fatal("no route")
			}
			if got.Matched != tt.want.Matched {
				t.Errorf("matched %q; want %q", got.Matched, tt.want.Matched)
			}
			if diff := cmp.Diff(append([]Capture{}, tt.want.Captures...), append([]Capture{}, got.Captures...)); diff != "" {
				t.Errorf("captures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRouterNamesBadExpressions(t *testing.T) {
	_, err := NewFlavoredRouter(config.FlavorExpressions, []*Route{{Entity: &config.Route{Name: "bad", Expression: `http.path`}}})
	if err == nil || !strings.Contains(err.Error(), `compiling route "bad": parsing the expression: line 1, column 10: missing operator`) {
		t.Errorf("error %v", err)
	}
}

// A route is met only by requests for its host and beginning of a path.
func TestRouterExpressionsAreIndexed(t *testing.T) {
	router := newFlavoredTestRouter(t, makeManyExpressions(900))
	for _, kind := range []struct {
		name, host, path string
		most             int
	}{
		{"shared host", "api.example.com", "/team-61/service-450/users", 1},
		{"own host", "host-451.example.com", "/", 1},
		{"path only", "other.example.com", "/public/452/v1", 1},
	} {
		met := 0
		for _, key := range []hostKey{{hostExact, kind.host}, {}} {
			if tree := router.hosts.tree(key); !tree.empty() {
				met += itemsMet(tree.open(""), kind.path)
			}
		}
		if met > kind.most {
			t.Errorf("%s: a request meets %d of 900 expressions", kind.name, met)
		}
	}
}

// itemsMet counts the candidates at the prefixes of a path.
func itemsMet(n pathNode, path string) (met int) {
	for strings.HasPrefix(path, n.text) {
		met += len(n.items)
		if path = path[len(n.text):]; path == "" {
			break
		}
		i := strings.IndexByte(n.labels, path[0])
		if i < 0 {
			break
		}
		n = n.children[i].opened()
	}
	return met
}
