package l7

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
)

// ask is a request to a router, and the name of the route that it should find;
// "" for none.
type ask struct {
	method string // GET if empty
	host   string
	port   uint16 // 80 if zero
	path   string // "/" if empty
	header []string
	sni    string
	https  bool
	want   string
}

func (a ask) query() *Query {
	q := &Query{Method: a.method, Host: a.host, Port: a.port, Path: a.path, Header: new(Header), SNI: a.sni, HTTPS: a.https}
	if q.Method == "" {
		q.Method = "GET"
	}
	if q.Path == "" {
		q.Path = "/"
	}
	if q.Port == 0 {
		q.Port = 80
	}
	for _, h := range a.header {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Add(name, value)
	}
	return q
}

func newTestRouter(t testing.TB, entities []config.Route) *Router {
	t.Helper()
	routes := make([]*Route, len(entities))
	for i := range entities {
		routes[i] = &Route{Entity: &entities[i]}
	}
	r, err := NewRouter(routes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// basicRoutes has a route for each combination of attributes.
var basicRoutes = []config.Route{
	{Name: "host", Hosts: []string{"one.test", "two.test"}},
	{Name: "method", Methods: []string{"TRACE"}},
	{Name: "path", Paths: []string{"/my-route"}},
	{Name: "host+path", Hosts: []string{"one.test", "two.test"}, Paths: []string{"/route-4"}},
	{Name: "host+method", Hosts: []string{"one.test", "two.test"}, Methods: []string{"POST", "PUT", "PATCH"}},
	{Name: "path+method", Paths: []string{"/route-6"}, Methods: []string{"POST", "PUT", "PATCH"}},
	{Name: "host+path+method", Hosts: []string{"uri-1.test", "uri-2.test"}, Paths: []string{"/my-route-uri"}, Methods: []string{"POST", "PUT", "PATCH"}},
	{Name: "header", Headers: map[string][]string{"location": {"here", "there"}}},
	{Name: "headers", Headers: map[string][]string{"location": {"here"}, "version": {"v1", "v2"}}},
	{Name: "header+path", Headers: map[string][]string{"location": {"here", "there"}}, Paths: []string{"/headers-uri"}},
	{Name: "all", Hosts: []string{"all-1.test", "all-2.test"}, Headers: map[string][]string{"location": {"here", "there"}}, Methods: []string{"POST"}, Paths: []string{"/all"}},
	{Name: "host:port", Hosts: []string{"one.test:321", "two.test"}},
	{Name: "only host:port", Hosts: []string{"three.test:321"}},
	{Name: "header pattern", Headers: map[string][]string{"user_agent": {`~*windows|linux|os\s+x\s*[\d\._]+|solaris|bsd`}}},
}

func TestRouterMatch(t *testing.T) {
	tests := []struct {
		name   string
		routes []config.Route
		asks   []ask
	}{
		{"each combination of attributes", basicRoutes, []ask{
			{host: "one.test", want: "host"},
			{host: "one.test", port: 123, want: "host"},
			{host: "one.test", port: 321, want: "host:port"},
			{host: "two.test", port: 321, want: "host"},
			{host: "three.test", port: 321, want: "only host:port"},
			{host: "three.test", port: 123, want: ""},
			{host: "other.test", path: "/my-route", want: "path"},
			{host: "other.test", path: "/my-route/some/path", want: "path"},
			{host: "", path: "/my-route-uri", want: "path"},
			{host: "other.test", method: "TRACE", want: "method"},
			{host: "one.test", method: "TRACE", want: "host"},
			{host: "other.test", method: "TRACE", path: "/my-route", want: "path"},
			{host: "one.test", path: "/route-4", want: "host+path"},
			{host: "one.test", method: "POST", want: "host+method"},
			{host: "other.test", method: "PUT", path: "/route-6", want: "path+method"},
			{host: "uri-2.test", method: "PUT", path: "/my-route-uri", want: "host+path+method"},
			{header: []string{"Location: here"}, want: "header"},
			{header: []string{"Location: there"}, want: "header"},
			{header: []string{"Location: here", "Version: v1"}, want: "headers"},
			{header: []string{"Location: here", "Version: v2"}, want: "headers"},
			{header: []string{"Location: there", "Version: v2"}, want: "header"},
			{header: []string{"Location: north", "Location: here"}, want: "header"},
			{header: []string{"Location: here"}, path: "/headers-uri", want: "header+path"},
			{host: "all-1.test", method: "POST", path: "/all", header: []string{"Location: here"}, want: "all"},
			{header: []string{"User-Agent: Mozilla (Windows NT)"}, want: "header pattern"},
			{header: []string{"User-Agent: Mozilla (OS X 10_15)"}, want: "header pattern"},
			{header: []string{"User-Agent: Mozilla (Plan 9)"}, want: ""},

			{host: "four.test", want: ""},
			{host: "four.test", path: "/route-4", want: ""},
			{host: "uri-1.test", path: "/my-route-uri", want: "path"},
			{host: "uri-1.test", method: "POST", path: "/other", want: ""},
			{host: "other.test", path: "/prefix/my-route", want: ""},
			{header: []string{"Location: nowhere"}, want: ""},
			{header: []string{"X-Location: here"}, want: ""},
			{header: []string{"Location: here"}, host: "all-1.test", method: "GET", path: "/all", want: "header"},
		}},
		{"a longer prefix wins", []config.Route{
			{Name: "short", Paths: []string{"/my-route"}},
			{Name: "long", Paths: []string{"/my-route/hello"}},
		}, []ask{
			{path: "/my-route/hello", want: "long"},
			{path: "/my-route/hello/world", want: "long"},
			{path: "/my-route/hell", want: "short"},
			{path: "/my-routes", want: "short"},
			{path: "/my-rout", want: ""},
		}},
		{"a longer prefix of another host does not", []config.Route{
			{Name: "long", Hosts: []string{"one.test"}, Paths: []string{"/v1/path"}},
			{Name: "root", Hosts: []string{"two.test"}, Paths: []string{"/"}},
		}, []ask{
			{host: "one.test", path: "/v1/path", want: "long"},
			{host: "two.test", path: "/v1/path", want: "root"},
		}},
		{"more attributes win over a longer prefix", []config.Route{
			{Name: "long", Paths: []string{"/a/b/c"}},
			{Name: "method", Paths: []string{"/a"}, Methods: []string{"GET"}},
		}, []ask{
			{path: "/a/b/c", want: "method"},
			{path: "/a/b/c", method: "POST", want: "long"},
		}},
		{"more headers win over a longer prefix", []config.Route{
			{Name: "long", Headers: map[string][]string{"version": {"v1"}}, Paths: []string{"/my-route/hello"}},
			{Name: "headers", Headers: map[string][]string{"version": {"v1"}, "location": {"us-east"}}, Paths: []string{"/my-route"}},
		}, []ask{
			{path: "/my-route/hello/world", header: []string{"Version: v1", "Location: us-east"}, want: "headers"},
			{path: "/my-route/hello/world", header: []string{"Version: v1"}, want: "long"},
		}},
		{"methods alone win over nothing", []config.Route{
			{Name: "method", Methods: []string{"GET"}},
			{Name: "wildcard", Hosts: []string{"domain.*"}},
			{Name: "path", Paths: []string{"/example"}},
		}, []ask{
			{host: "nothing.com", want: "method"},
			{host: "domain.org", want: "method"},
			{host: "domain.org", method: "POST", want: "wildcard"},
			{host: "nothing.com", path: "/example/status/200", want: "path"},
		}},
		{"regular expressions", []config.Route{
			{Name: "prefix", Paths: []string{"/route/persons"}},
			{Name: "exact", Paths: []string{"/route/fixture"}},
			{Name: "profile", Paths: []string{`~/route/persons/\d+/profile`}},
			{Name: "fixture", Paths: []string{"~/route/(fixture)"}},
			{Name: "any", Paths: []string{"~/.*suffix$"}},
			{Name: "branches", Paths: []string{"~/left|/right"}},
			{Name: "folded", Paths: []string{"~(?i)/FOLD"}},
		}, []ask{
			{path: "/route/persons/123/profile", want: "profile"},
			{path: "/route/persons/123/profile/more", want: "profile"},
			{path: "/extra/route/persons/123/profile", want: ""},
			{path: "/route/persons/x/profile", want: "prefix"},
			{path: "/route/fixture", want: "fixture"},
			{path: "/route/fixtures", want: "fixture"},
			{path: "/route/persons/with/suffix", want: "any"},
			{path: "/right", want: "branches"},
			{path: "/wrong/right", want: ""},
			{path: "/fold/1", want: "folded"},
			{path: "/FOLD/1", want: "folded"},
		}},
		{"regex_priority", []config.Route{
			{Name: "low", Paths: []string{`~/a/\d+`}, RegexPriority: -1},
			{Name: "high", Paths: []string{`~/a/\d+/b`}, RegexPriority: 5},
			{Name: "middle", Paths: []string{`~/a/1/.*`}},
			{Name: "ignored", Paths: []string{"/a/"}, RegexPriority: 100},
			{Name: "longer", Paths: []string{"/a/x"}},
		}, []ask{
			{path: "/a/1/b", want: "high"},
			{path: "/a/1/c", want: "middle"},
			{path: "/a/2/c", want: "low"},
			{path: "/a/xx", want: "longer"},
			{path: "/a/yy", want: "ignored"},
		}},
		{"expressions of equal priority in the order of declaration", []config.Route{
			{Name: "id", Paths: []string{`~/persons/\d{3}`}},
			{Name: "following", Paths: []string{`~/persons/\d{3}/following`}},
		}, []ask{{path: "/persons/456/following", want: "id"}}},
		{"each path of a route has its own length", []config.Route{
			{Name: "two", Hosts: []string{"one.test"}, Paths: []string{"/foo", "/foo/bar/baz", "~/some/thing/else"}},
			{Name: "one", Hosts: []string{"one.test"}, Paths: []string{"/foo/bar"}},
		}, []ask{
			{host: "one.test", path: "/foo", want: "two"},
			{host: "one.test", path: "/foo/bar", want: "one"},
			{host: "one.test", path: "/foo/bar/baz", want: "two"},
			{host: "one.test", path: "/some/thing/else", want: "two"},
		}},
		{"wildcard hosts", []config.Route{
			{Name: "plain", Hosts: []string{"plain.route.com"}},
			{Name: "left", Hosts: []string{"*.route.com"}},
			{Name: "right", Hosts: []string{"route.*"}},
			{Name: "bare", Hosts: []string{"route.com"}},
			{Name: "left port", Hosts: []string{"*.route.net:123"}},
			{Name: "right port", Hosts: []string{"route.*:123"}},
		}, []ask{
			{host: "foo.route.com", want: "left"},
			{host: "bar.foo.route.com", want: "left"},
			{host: "foo.route.com", port: 123, want: "left"},
			{host: "plain.route.com", want: "plain"},
			{host: "route.com", want: "bare"},
			{host: "route.org", want: "right"},
			{host: "route.co.uk", want: "right"},
			{host: "route.org", port: 456, want: "right"},
			{host: "route.org", port: 123, want: "right port"},
			{host: "foo.route.net", port: 123, want: "left port"},
			{host: "foo.route.net", port: 456, want: ""},
			{host: "fooroute.com", want: ""},
			{host: "routes.org", want: ""},
		}},
		{"wildcard host with a path beats a plain host without", []config.Route{
			{Name: "wildcard", Hosts: []string{"*.route.com"}, Paths: []string{"/path1"}},
			{Name: "plain", Hosts: []string{"plain.route.com"}},
			{Name: "plain path", Hosts: []string{"plain.route.com"}, Paths: []string{"/path2"}},
		}, []ask{
			{host: "plain.route.com", path: "/path1", want: "wildcard"},
			{host: "plain.route.com", path: "/path2", want: "plain path"},
			{host: "plain.route.com", path: "/path3", want: "plain"},
		}},
		{"one wildcard makes all hosts of a route less than plain", []config.Route{
			{Name: "mixed", Hosts: []string{"one.test", "*.test"}},
			{Name: "plain", Hosts: []string{"one.test"}},
		}, []ask{{host: "one.test", want: "plain"}, {host: "two.test", want: "mixed"}}},
		{"wildcard and plain hosts with path and method", []config.Route{
			{Name: "r", Hosts: []string{"*.domain.com", "example.com"}, Paths: []string{"/path"}, Methods: []string{"GET", "TRACE"}},
		}, []ask{
			{host: "foo.domain.com", path: "/path", want: "r"},
			{host: "example.com", method: "TRACE", path: "/path", want: "r"},
			{host: "foo.domain.com", method: "POST", path: "/path", want: ""},
		}},
		{"hosts of IPv6", []config.Route{
			{Name: "any port", Hosts: []string{"::21", "[::22]"}},
			{Name: "port", Hosts: []string{"[::21]:321"}},
		}, []ask{
			{host: "[::21]", want: "any port"},
			{host: "[::22]", port: 321, want: "any port"},
			{host: "[::21]", port: 321, want: "port"},
		}},
		{"hosts are compared without case", []config.Route{
			{Name: "r", Hosts: []string{"One.TEST", "ONE.test:80", "*.Two.test"}},
		}, []ask{{host: "one.test", want: "r"}, {host: "a.two.test", want: "r"}}},
		{"header names and values are compared without case", []config.Route{
			{Name: "foo", Headers: map[string][]string{"X_Kind": {"foo", "bar"}}},
			{Name: "baz", Headers: map[string][]string{"x-kind": {"BAZ"}}},
			{Name: "accent", Headers: map[string][]string{"x-kind": {"É"}}},
		}, []ask{
			{header: []string{"X-KIND: FOO"}, want: "foo"},
			{header: []string{"x_kind: bar"}, want: "foo"},
			{header: []string{"X-Kind: baz"}, want: "baz"},
			{header: []string{"X-Kind: É"}, want: "accent"},
			{header: []string{"X-Kind: ba"}, want: ""},
			{header: []string{"X-Kinds: baz"}, want: ""},
		}},
		{"server names", []config.Route{
			{Name: "exact", SNIs: []string{"a.sni.test", "Dot.Test."}},
			{Name: "left", SNIs: []string{"*.sni.test"}},
			{Name: "right", SNIs: []string{"sni.*"}},
			{Name: "path", Paths: []string{"/p"}, SNIs: []string{"only.test"}, Protocols: []config.Protocol{"https"}},
		}, []ask{
			{https: true, sni: "a.sni.test", want: "exact"},
			{https: true, sni: "dot.test", want: "exact"},
			{https: true, sni: "B.SNI.test", want: "left"},
			{https: true, sni: "foo.bar.sni.test", want: "left"},
			{https: true, sni: "sni.foo.bar", want: "right"},
			{https: true, sni: "bar.sni.foo", want: ""},
			{https: true, sni: "", want: ""},
			{https: true, sni: "only.test", path: "/p", want: "path"},
			{https: true, sni: "other.test", path: "/p", want: ""},
			{sni: "other.test", path: "/p", want: "path"},
			{sni: "other.test", path: "/", want: "exact"},
		}},
		{"protocols take no part", []config.Route{
			{Name: "https only", Paths: []string{"/"}, Protocols: []config.Protocol{"https"}},
		}, []ask{{want: "https only"}}},
		{"ties go to a host with a port, then to the oldest, then to the first", []config.Route{
			{Name: "young", Hosts: []string{"one.test"}, CreatedAt: 20},
			{Name: "old", Hosts: []string{"one.test"}, CreatedAt: 10},
			{Name: "old too", Hosts: []string{"one.test"}, CreatedAt: 10},
			{Name: "port", Hosts: []string{"one.test:8080"}, CreatedAt: 30},
			{Name: "root", Paths: []string{"/", "/"}},
			{Name: "root too", Paths: []string{"/"}},
		}, []ask{
			{host: "one.test", want: "old"},
			{host: "one.test", port: 8080, want: "port"},
			{host: "two.test", want: "root"},
		}},
		{"no routes", nil, []ask{{host: "one.test"}}},
		{"the asterisk form is no path", []config.Route{
			{Name: "root", Paths: []string{"/"}},
			{Name: "host", Hosts: []string{"one.test"}},
		}, []ask{{path: "*", method: "OPTIONS"}, {path: "*", method: "OPTIONS", host: "one.test", want: "host"}}},
		{"deep names", []config.Route{
			{Name: "left", Hosts: []string{"*" + strings.Repeat(".a", 70)}},
			{Name: "right", Hosts: []string{strings.Repeat("b.", 70) + "*"}},
		}, []ask{
			{host: "x" + strings.Repeat(".a", 70), want: "left"},
			{host: "x.y" + strings.Repeat(".a", 70), want: "left"},
			{host: "x" + strings.Repeat(".a", 69), want: ""},
			{host: strings.Repeat("b.", 70) + "x", want: "right"},
			{host: strings.Repeat("b.", 69) + "x", want: ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			router := newTestRouter(t, slices.Clone(tt.routes))
			var m Match
			for _, a := range tt.asks {
				got := ""
				if router.Match(a.query(), &m) {
					got = m.Route.Entity.Name
				}
				if got != a.want {
					t.Errorf("%+v: found %q", a, got)
				}
			}
		})
	}
}

func TestRouterMatchedAndCaptures(t *testing.T) {
	router := newTestRouter(t, []config.Route{
		{Name: "prefix", Paths: []string{"/hello"}},
		{Name: "users", Paths: []string{`~/users/(?P<user_id>\d+)/profile/?(?P<scope>[a-z]*)`}},
		{Name: "optional", Paths: []string{"~/(users/)?1984/(?<subpath>profile)$"}},
		{Name: "no groups", Paths: []string{`~/ids/\d+`}},
		{Name: "spaces", Paths: []string{`~/names/(?P<fullname>[a-zA-Z\s\d%]+)/profile`}},
		{Name: "several", Paths: []string{`~/x/(\d+)`, `~/x/([a-z]+)`}},
		{Name: "host", Hosts: []string{"one.test"}},
	})
	tests := []struct {
		name, host, path string
		want             Match
	}{
		{"prefix", "", "/hello/world", Match{Matched: "/hello"}},
		{"no path", "one.test", "/other", Match{Matched: ""}},
		{"named groups", "", "/users/1984/profile/email/x", Match{Matched: "/users/1984/profile/email", Captures: []Capture{{1, "user_id", "1984"}, {2, "scope", "email"}}}},
		{"empty group", "", "/users/1984/profile", Match{Matched: "/users/1984/profile", Captures: []Capture{{1, "user_id", "1984"}, {2, "scope", ""}}}},
		{"group without part", "", "/1984/profile", Match{Matched: "/1984/profile", Captures: []Capture{{2, "subpath", "profile"}}}},
		{"no groups", "", "/ids/12/x", Match{Matched: "/ids/12"}},
		{"normalised text", "", "/names/john doe/profile", Match{Matched: "/names/john doe/profile", Captures: []Capture{{1, "fullname", "john doe"}}}},
		{"second expression", "", "/x/ab", Match{Matched: "/x/ab", Captures: []Capture{{1, "", "ab"}}}},
		{"nothing", "", "/nothing", Match{}},
	}
	var got Match
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			router.Match(ask{host: tt.host, path: tt.path}.query(), &got)
			if got.Matched != tt.want.Matched {
				t.Errorf("matched %q; want %q", got.Matched, tt.want.Matched)
			}
			if diff := cmp.Diff(append([]Capture{}, tt.want.Captures...), append([]Capture{}, got.Captures...)); diff != "" {
				t.Errorf("captures (-want +got):\n%s", diff)
			}
		})
	}
}

// The path goes through the router and comes out as the upstream's, as it does
// in an exchange.
func TestRouterWithUpstreamPath(t *testing.T) {
	tests := []struct {
		name, route, base, raw, want string
		strip                        bool
	}{
		{"prefix stripped", "/my-route", "/", "/my-route/hello/world", "/hello/world", true},
		{"encoded prefix stripped", "/endel%2Fst", "/", "/endel%2fst", "/", true},
		{"encoded prefix kept", "/endel%2Fst", "/", "/endel%2fst", "/endel%2Fst", false},
		{"expression stripped", `~/users/\d+/profile`, "/", "/users/123/profile/hello", "/hello", true},
		{"expression with a group stripped", `~/users/(\d+)/profile`, "/srv", "/users/123/profile/hello", "/srv/hello", true},
		{"dot segments behind the prefix", "/route", "/service", "/route%2E%2e/req", "/service/req", true},
		{"dot segments leave the prefix", "/", "/", "/my-route/%2e%2e/other", "/other", true},
		{"reserved stay encoded", "/request", "/", "/request/foo%2Fbar", "/request/foo%2Fbar", false},
		{"unreserved do not", "/request", "/", "/r%65quest/%41", "/request/A", false},
		{"others come back encoded", "/request", "/", "/request/%e2%82%ac%20", "/request/%E2%82%AC%20", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			router := newTestRouter(t, []config.Route{{Name: "r", Paths: []string{tt.route}}})
			path, err := NormalizePath(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			var m Match
			if !router.Match(&Query{Path: path}, &m) {
				t.Fatalf("no route for %q", path)
			}
			if got := UpstreamPath(tt.base, path, m.Matched, tt.strip, false); got != tt.want {
				t.Errorf("upstream path %q; want %q", got, tt.want)
			}
		})
	}
}

func TestNewRouterNamesEveryBadRoute(t *testing.T) {
	entities := []config.Route{
		{Name: "good", Paths: []string{"/"}},
		{Name: "path", Paths: []string{"/ok", "~/("}},
		{Name: "lookahead", Paths: []string{"~/(?!x)"}},
		{Name: "header", Headers: map[string][]string{"x": {"~*["}}},
		{Name: "star", Hosts: []string{"a.*.b"}},
		{Name: "bare star", Hosts: []string{"*"}},
		{Name: "port", Hosts: []string{"a.b:http"}},
	}
	routes := make([]*Route, len(entities))
	for i := range entities {
		routes[i] = &Route{Entity: &entities[i]}
	}
	router, err := NewRouter(routes)
	if err == nil || router != nil {
		t.Fatalf("NewRouter = %v, %v; want an error", router, err)
	}
	for _, want := range []string{
		`compiling route "path": compiling path "~/(": `,
		`compiling route "lookahead": compiling path "~/(?!x)": `,
		`compiling route "header": compiling the value "~*[" of header "x": `,
		`compiling route "star": reading host "a.*.b": `,
		`compiling route "bare star": reading host "*": `,
		`compiling route "port": reading the port of host "a.b:http": `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), `"good"`) {
		t.Errorf("error names a good route:\n%v", err)
	}
}

// The numbers are Kong's, but for the flipped sign of regex_priority.
func TestPriority(t *testing.T) {
	host := func(names ...string) (hosts []hostPattern) {
		for _, n := range names {
			p, err := parseHost(n)
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, p)
		}
		return hosts
	}
	tests := []struct {
		name string
		in   attributes
		want uint64
	}{
		{"nothing", attributes{}, 0},
		{"method", attributes{methods: true}, 1 << 61},
		{"prefix", attributes{path: "/foo"}, 1<<61 | 4},
		{"long prefix", attributes{path: "/" + strings.Repeat("x", 1<<19)}, 1<<61 | 1},
		{"plain hosts", attributes{hosts: host("a.b", "c.d:80")}, 1<<61 | 1<<60},
		{"wildcard host", attributes{hosts: host("a.b", "*.d")}, 1 << 61},
		{"headers", attributes{headers: 3}, 1<<61 | 3<<52},
		{"too many headers", attributes{headers: 300}, 1<<61 | 255<<52},
		{"expression", attributes{path: "~/a", regexPriority: 7}, 1<<61 | 1<<51 | (1<<31+7)<<19},
		{"prefix with regex_priority", attributes{path: "/a", regexPriority: 7}, 1<<61 | 2},
		{"everything", attributes{methods: true, snis: true, hosts: host("a.b"), headers: 1, path: "/a"}, 5<<61 | 1<<60 | 1<<52 | 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := priority(tt.in); got != tt.want {
				t.Errorf("priority = %#x; want %#x", got, tt.want)
			}
		})
	}
	low := priority(attributes{path: "~/a", regexPriority: -1})
	if high := priority(attributes{path: "~/a"}); low >= high || low <= priority(attributes{path: "/a"}) {
		t.Errorf("regex_priority -1 gives %#x, 0 gives %#x", low, high)
	}
}

func TestLiteralPrefix(t *testing.T) {
	for pattern, want := range map[string]string{
		`/users/\d+`: "/users/", `/a`: "/a", `/a.b`: "/a", `/(a)b`: "/ab", `/a?b`: "/", `/ab+c`: "/ab", `/(ab){2}`: "/ab", `/(ab){0,2}`: "/",
		`/left|/right`: "/", `/abc|/abd`: "/ab", `(?i)/a`: "", `/a(?i)b`: "/a", `.*`: "", `/a$`: "/a", "/a\ufffdb": "/a", `/€/x`: "/€/x", `a|b`: "", ``: "",
	} {
		t.Run(pattern, func(t *testing.T) {
			p, err := newPathPattern(pattern)
			if err != nil {
				t.Fatal(err)
			}
			if p.prefix != want {
				t.Errorf("prefix %q; want %q", p.prefix, want)
			}
		})
	}
}

// Hosts with the same routes share a tree.
func TestRouterSharesTrees(t *testing.T) {
	hosts := make([]string, 1000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host-%d.test", i)
	}
	router := newTestRouter(t, []config.Route{
		{Name: "a", Hosts: hosts, Paths: []string{"/a", "/b", "/c"}},
		{Name: "b", Hosts: hosts[:1], Paths: []string{"/d"}},
	})
	if got := len(partsOf(router)); got != 2 {
		t.Errorf("%d trees; want two", got)
	}
	router, err := router.With(append(slices.Clone(router.routes), &Route{Entity: &config.Route{Name: "c", Hosts: hosts[1:], Paths: []string{"/e"}}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(partsOf(router)); got != 2 {
		t.Errorf("%d trees, one of them changed; want two", got)
	}
	var m Match
	for _, a := range []ask{{host: "host-0.test", path: "/d", want: "b"}, {host: "host-1.test", path: "/d"}, {host: "host-999.test", path: "/c", want: "a"}} {
		got := ""
		if router.Match(a.query(), &m) {
			got = m.Route.Entity.Name
		}
		if got != a.want {
			t.Errorf("%+v: found %q", a, got)
		}
	}
}
