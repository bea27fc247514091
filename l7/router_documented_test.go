package l7

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

// TestDocumentedRules has each rule that Kong documents for its flavour
// traditional_compatible, with one example for and one against it.
func TestDocumentedRules(t *testing.T) {
	tests := []struct {
		name   string
		routes []config.Route
		asks   []ask
	}{
		{"attributes are AND, their values OR", []config.Route{
			{Name: "r", Methods: []string{"GET", "POST"}, Hosts: []string{"a.test", "b.test"}, Paths: []string{"/x", "/y"}},
		}, []ask{
			{host: "b.test", path: "/y", method: "POST", want: "r"}, {host: "b.test", path: "/y", method: "PUT"}, {host: "c.test", path: "/y"}, {host: "a.test", path: "/z"},
		}},
		{"header names are AND, their values OR", []config.Route{
			{Name: "r", Headers: map[string][]string{"a": {"1", "2"}, "b": {"3"}}},
		}, []ask{{header: []string{"A: 2", "B: 3"}, want: "r"}, {header: []string{"A: 2"}}, {header: []string{"A: 2", "B: 4"}}}},
		{"a host with a port needs that port", []config.Route{{Name: "r", Hosts: []string{"a.test:81"}}}, []ask{
			{host: "a.test", port: 81, want: "r"}, {host: "a.test", port: 80},
		}},
		{"the SNI is ignored for plain requests", []config.Route{{Name: "r", SNIs: []string{"a.test"}}}, []ask{
			{sni: "b.test", want: "r"}, {sni: "b.test", https: true}, {sni: "a.test", https: true, want: "r"},
		}},
		{"header values are compared without case", []config.Route{{Name: "r", Headers: map[string][]string{"a": {"Yes"}}}}, []ask{
			{header: []string{"a: yES"}, want: "r"}, {header: []string{"a: yes, no"}},
		}},
		{"header expressions are not anchored and without case", []config.Route{{Name: "r", Headers: map[string][]string{"a": {"~*b+c"}}}}, []ask{
			{header: []string{"a: xBBCx"}, want: "r"}, {header: []string{"a: c"}},
		}},
		{"more attributes win", []config.Route{
			{Name: "one", Paths: []string{"/a/b"}, CreatedAt: 1}, {Name: "two", Paths: []string{"/a"}, Methods: []string{"GET"}, CreatedAt: 2},
		}, []ask{{path: "/a/b", want: "two"}, {path: "/a/b", method: "PUT", want: "one"}}},
		{"plain hosts win over wildcards, even with more headers", []config.Route{
			{Name: "wildcard", Hosts: []string{"*.test"}, Headers: map[string][]string{"a": {"1"}, "b": {"1"}}},
			{Name: "plain", Hosts: []string{"a.test"}, Headers: map[string][]string{"a": {"1"}}},
		}, []ask{{host: "a.test", header: []string{"a: 1", "b: 1"}, want: "plain"}, {host: "b.test", header: []string{"a: 1", "b: 1"}, want: "wildcard"}}},
		{"more headers win, even over an expression", []config.Route{
			{Name: "one", Headers: map[string][]string{"a": {"1"}}, Paths: []string{"~/a/b"}},
			{Name: "two", Headers: map[string][]string{"a": {"1"}, "b": {"1"}}, Paths: []string{"/a"}},
		}, []ask{{path: "/a/b", header: []string{"a: 1", "b: 1"}, want: "two"}, {path: "/a/b", header: []string{"a: 1"}, want: "one"}}},
		{"an expression wins over a longer prefix", []config.Route{{Name: "prefix", Paths: []string{"/abc/def"}}, {Name: "regex", Paths: []string{"~/a"}}}, []ask{
			{path: "/abc/def", want: "regex"}, {path: "/b"},
		}},
		{"regex_priority decides among expressions only", []config.Route{
			{Name: "five", Paths: []string{"~/a"}, RegexPriority: 5},
			{Name: "six", Paths: []string{"~/a/b"}, RegexPriority: 6},
			{Name: "short", Paths: []string{"/x"}, RegexPriority: 9},
			{Name: "long", Paths: []string{"/x/y"}},
		}, []ask{{path: "/a/b", want: "six"}, {path: "/a/c", want: "five"}, {path: "/x/y", want: "long"}, {path: "/x/z", want: "short"}}},
		{"a longer prefix wins", []config.Route{{Name: "short", Paths: []string{"/a"}}, {Name: "long", Paths: []string{"/a/b"}}}, []ask{
			{path: "/a/b", want: "long"}, {path: "/a/c", want: "short"},
		}},
		{"each path keeps its own length", []config.Route{
			{Name: "both", Paths: []string{"/a", "/a/b/c"}}, {Name: "middle", Paths: []string{"/a/b"}},
		}, []ask{{path: "/a/b/c", want: "both"}, {path: "/a/b", want: "middle"}, {path: "/a", want: "both"}}},
		{"ties go to the oldest", []config.Route{{Name: "young", Paths: []string{"/a"}, CreatedAt: 2}, {Name: "old", Paths: []string{"/a"}, CreatedAt: 1}}, []ask{
			{path: "/a", want: "old"},
		}},
		{"a path is a plain prefix", []config.Route{{Name: "r", Paths: []string{"/foo"}}}, []ask{{path: "/foobar", want: "r"}, {path: "/fo"}, {path: "/x/foo"}}},
		{"an expression is anchored at its beginning only", []config.Route{{Name: "r", Paths: []string{"~/foo"}}}, []ask{{path: "/foobar", want: "r"}, {path: "/x/foo"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range []string{"declared", "reversed"} {
				routes := slices.Clone(tt.routes)
				if order == "reversed" {
					slices.Reverse(routes)
				}
				router := newTestRouter(t, routes)
				var m Match
				for _, a := range tt.asks {
					got := ""
					if router.Match(a.query(), &m) {
						got = m.Route.Entity.Name
					}
					if got != a.want {
						t.Errorf("%s, %+v: found %q", order, a, got)
					}
				}
			}
		})
	}
}

// TestDocumentedHTTPSOnly has the answers of a route that accepts only https.
func TestDocumentedHTTPSOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	tests := []struct {
		name      string
		code      int
		tls       bool
		trusted   []netip.Prefix
		forwarded string
		target    string
		authority string
		status    int
		location  string
	}{
		{"426", 426, false, nil, "", "/shop", "Shop.Test:8000", 426, ""},
		{"301", 301, false, nil, "", "/shop/a?b=c", "Shop.Test:8000", 301, "https://shop.test/shop/a?b=c"},
		{"302", 302, false, nil, "", "/shop?", "Shop.Test", 302, "https://shop.test/shop?"},
		{"307 keeps the path as sent", 307, false, nil, "", "/shop/%41/../b", "[::1]:8000", 307, "https://[::1]/shop/%41/../b"},
		{"308", 308, false, nil, "", "/shop/a", "shop.test", 308, "https://shop.test/shop/a"},
		{"no Host to send to", 301, false, nil, "", "/shop", "", 426, ""},
		{"TLS", 301, true, nil, "", "/shop", "shop.test", 200, ""},
		{"TLS, whatever is forwarded", 301, true, trusted, "http", "/shop", "shop.test", 200, ""},
		{"the word of a trusted peer", 426, false, trusted, "https", "/shop", "shop.test", 200, ""},
		{"in any case", 426, false, trusted, "HTTPS", "/shop", "shop.test", 200, ""},
		{"the word of another", 426, false, nil, "https", "/shop", "shop.test", 426, ""},
		{"another word of a trusted peer", 301, false, trusted, "http", "/shop", "shop.test", 301, "https://shop.test/shop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.route.HTTP, f.route.Entity.HTTPSRedirectStatusCode = false, tt.code
			f.Policy = NewHeaderPolicy("bulwark/test", nil, tt.trusted)
			var fields []string
			if tt.forwarded != "" {
				fields = append(fields, "X-Forwarded-Proto: "+tt.forwarded)
			}
			x, w := request(t, "GET", tt.target, fields...)
			x.Req.Authority = tt.authority
			if tt.tls {
				x.Conn.TLS = new(l4.TLS)
			}
			f.Serve(x)
			if x.Resp.Status != tt.status {
				t.Fatalf("status %d; want %d", x.Resp.Status, tt.status)
			}
			if location, _ := w.head.Get("Location"); location != tt.location {
				t.Errorf("Location %q; want %q", location, tt.location)
			}
			upgrade, _ := w.head.Get("Upgrade")
			if connection, _ := w.head.Get("Connection"); tt.status == 426 && (upgrade != "TLS/1.2, HTTP/1.1" || !strings.EqualFold(connection, "Upgrade")) {
				t.Errorf("Upgrade %q, Connection %q", upgrade, connection)
			}
		})
	}
}
