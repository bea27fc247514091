package l4

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
)

// to makes an element of sources or destinations: "address", "range", ":port" or
// "address port".
func to(t testing.TB, text string) config.StreamAddress {
	t.Helper()
	var a config.StreamAddress
	ip, port, both := strings.Cut(text, " ")
	if p, only := strings.CutPrefix(text, ":"); only && !strings.Contains(p, ":") {
		ip, port, both = "", p, true
	}
	if ip != "" {
		a.IP = new(schema.Prefix)
		if err := a.IP.UnmarshalText([]byte(ip)); err != nil {
			t.Fatal(err)
		}
	}
	if both {
		a.Port = new(int)
		if _, err := fmt.Sscan(port, a.Port); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// streamRoute makes a route of fields such as "tcp tls", "sni=a.test,*.b.test",
// "src=10.0.0.0/8,:1", "dst=::1 53", "expr=net.dst.port == 1", "prio=3", "at=5".
func streamRoute(t testing.TB, name string, fields ...string) *Route {
	t.Helper()
	e := &config.Route{Name: name}
	for _, p := range strings.Fields(fields[0]) {
		e.Protocols = append(e.Protocols, config.Protocol(p))
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "sni":
			e.SNIs = strings.Split(value, ",")
		case "src":
			for _, v := range strings.Split(value, ",") {
				e.Sources = append(e.Sources, to(t, v))
			}
		case "dst":
			for _, v := range strings.Split(value, ",") {
				e.Destinations = append(e.Destinations, to(t, v))
			}
		case "expr":
			e.Expression = value
		case "prio":
			if _, err := fmt.Sscan(value, &e.Priority); err != nil {
				t.Fatal(err)
			}
		case "at":
			if _, err := fmt.Sscan(value, (*float64)(&e.CreatedAt)); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("field %q", f)
		}
	}
	return &Route{Entity: e}
}

func routerOf(t testing.TB, routes ...*Route) *Router {
	t.Helper()
	r, err := NewRouter(routes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask looks a route up by "protocol [sni] source destination [placed]".
func ask(t testing.TB, text string) *Query {
	t.Helper()
	f := strings.Fields(text)
	q := &Query{Protocol: config.Protocol(f[0])}
	if f[len(f)-1] == "placed" {
		q.Placed, f = true, f[:len(f)-1]
	}
	if len(f) == 4 {
		q.SNI = f[1]
	}
	q.Source, q.Destination = netip.MustParseAddrPort(f[len(f)-2]), netip.MustParseAddrPort(f[len(f)-1])
	return q
}

func nameOf(r *Route) string {
	if r == nil {
		return ""
	}
	return r.Entity.Name
}

func TestRouter(t *testing.T) {
	const from, at = "192.0.2.7:4711", "198.51.100.1:9000"
	route := func(name string, fields ...string) *Route { return streamRoute(t, name, fields...) }
	tests := []struct {
		name   string
		routes []*Route
		want   map[string]string // routes by queries
	}{
		{"nothing", nil, map[string]string{"tcp " + from + " " + at: ""}},
		{"destination port", []*Route{route("redis", "tcp", "dst=:6379"), route("db", "tcp", "dst=:5432")}, map[string]string{
			"tcp " + from + " 198.51.100.1:6379": "redis",
			"tcp " + from + " 198.51.100.1:5432": "db",
			"tcp " + from + " 198.51.100.1:1":    "",
			"udp " + from + " 198.51.100.1:6379": "",
		}},
		{"address before port before range", []*Route{
			route("range", "tcp", "src=192.0.2.0/24"), route("port", "tcp", "src=:4711"), route("address", "tcp", "src=192.0.2.7"),
		}, map[string]string{
			"tcp 192.0.2.7:4711 " + at: "address", "tcp 192.0.2.8:4711 " + at: "port", "tcp 192.0.2.8:1 " + at: "range", "tcp 192.0.3.8:1 " + at: "",
		}},
		{"an address written as a range counts as one", []*Route{
			route("range", "tcp", "src=192.0.2.7/32", "at=2"), route("port", "tcp", "src=:4711", "at=3"),
		}, map[string]string{"tcp " + from + " " + at: "port"}},
		{"source before destination", []*Route{route("dst", "tcp", "dst=198.51.100.1"), route("src", "tcp", "src=192.0.2.0/24")}, map[string]string{
			"tcp " + from + " " + at: "src",
		}},
		{"both ends weigh as much as a server name", []*Route{
			route("sni", "tls", "sni=a.test"), route("both", "tls", "src=192.0.2.0/24", "dst=:9000"),
		}, map[string]string{
			"tls a.test " + from + " " + at: "both", "tls a.test 203.0.113.1:1 " + at: "sni",
		}},
		{"a server name goes before one end", []*Route{route("src", "tls", "src=192.0.2.7"), route("sni", "tls", "sni=a.test")}, map[string]string{
			"tls a.test " + from + " " + at: "sni", "tls b.test " + from + " " + at: "src", "tls " + from + " " + at: "src",
		}},
		{"an entry's address and port belong together", []*Route{route("r", "tcp", "dst=198.51.100.1 1,198.51.100.2 2")}, map[string]string{
			"tcp " + from + " 198.51.100.1:1": "r", "tcp " + from + " 198.51.100.2:2": "r", "tcp " + from + " 198.51.100.1:2": "",
		}},
		{"wildcards", []*Route{
			route("head", "tls_passthrough", "sni=a.*"), route("tail", "tls_passthrough", "sni=*.b.test"), route("whole", "tls_passthrough", "sni=A.b.test."),
		}, map[string]string{
			"tls_passthrough a.b.test " + from + " " + at:   "whole",
			"tls_passthrough c.a.b.test " + from + " " + at: "tail",
			"tls_passthrough a.test " + from + " " + at:     "head",
			"tls_passthrough b.test " + from + " " + at:     "",
			"tls_passthrough a " + from + " " + at:          "",
			"tls a.b.test " + from + " " + at:               "",
		}},
		{"whole names and wildcards of one route", []*Route{
			route("one", "tls", "sni=x.test,*.b.test"), route("two", "tls", "sni=*.test,a.b.test"),
		}, map[string]string{
			"tls x.test " + from + " " + at: "one", "tls a.b.test " + from + " " + at: "two", "tls c.b.test " + from + " " + at: "one", "tls y.test " + from + " " + at: "two",
		}},
		{"the older one, and then the first", []*Route{
			route("third", "tcp", "dst=:9000", "at=3"), route("second", "tcp", "dst=:9000", "at=2"), route("also", "tcp", "dst=:9000", "at=2"),
		}, map[string]string{"tcp " + from + " " + at: "second"}},
		{"plain streams have no server name", []*Route{route("r", "tcp tls", "sni=a.test", "dst=:9000")}, map[string]string{
			"tcp " + from + " " + at: "r", "tls a.test " + from + " " + at: "r", "tls b.test " + from + " " + at: "", "tls " + from + " " + at: "",
		}},
		{"IPv6", []*Route{route("r", "udp", "src=2001:db8::/32", "dst=::1 53")}, map[string]string{
			"udp [2001:db8::9]:1 [::1]:53": "r", "udp [2001:db9::9]:1 [::1]:53": "", "udp 192.0.2.1:1 127.0.0.1:53": "",
		}},
		{"a default", []*Route{route("all", "udp", "src=0.0.0.0/0,::/0"), route("one", "udp", "src=192.0.2.9")}, map[string]string{
			"udp 192.0.2.9:1 " + at: "one", "udp 192.0.2.8:1 " + at: "all", "udp [::1]:1 [::1]:1": "all",
		}},
		{"ranges within ranges", []*Route{
			route("wide", "tcp", "src=10.0.0.0/8", "at=1"), route("narrow", "tcp", "src=10.1.0.0/16", "at=2"),
		}, map[string]string{"tcp 10.1.2.3:1 " + at: "wide"}},
		{"placed", []*Route{
			route("src", "tls", "src=0.0.0.0/0"), route("addr", "tls", "dst=198.51.100.1,:9000"), route("port", "tls", "dst=:9000", "at=1"), route("sni", "tls", "sni=a.test"),
		}, map[string]string{
			"tls a.test " + from + " " + at + " placed":     "sni",
			"tls b.test " + from + " " + at + " placed":     "port",
			"tls " + from + " 198.51.100.1:1 placed":        "",
			"tls " + from + " 198.51.100.1:1":               "src",
			"tls_passthrough " + from + " 198.51.100.1:443": "",
		}},
		{"expressions go first", []*Route{
			route("sni", "tls", "sni=a.test"), route("low", "tls tcp", "expr=net.dst.port == 9000"), route("high", "tls", "expr=tls.sni =^ \".test\" && net.src.ip in 192.0.2.0/24", "prio=7"),
		}, map[string]string{
			"tls a.test " + from + " " + at:                   "high",
			"tls a.test 203.0.113.1:1 " + at:                  "low",
			"tls a.test 203.0.113.1:1 198.51.100.1:1":         "sni",
			"tcp " + from + " " + at:                          "low",
			"udp " + from + " " + at:                          "",
			"tls b.test 192.0.2.1:1 198.51.100.1:1 placed":    "high",
			"tls_passthrough b.test 192.0.2.1:1 10.0.0.1:1":   "",
			"tls c.example 192.0.2.1:1 198.51.100.1:9000":     "low",
			"tls c.example 192.0.2.1:1 198.51.100.1:1 placed": "",
		}},
		{"an expression about the protocol", []*Route{route("r", "tcp udp", "expr=net.protocol == \"udp\"")}, map[string]string{
			"udp " + from + " " + at: "r", "tcp " + from + " " + at: "",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := routerOf(t, tt.routes...)
			for query, want := range tt.want {
				if got := nameOf(r.Match(ask(t, query))); got != want {
					t.Errorf("%s: route %q, want %q", query, got, want)
				}
			}
		})
	}
}

func TestRouterHas(t *testing.T) {
	r := routerOf(t, streamRoute(t, "a", "tls", "src=10.0.0.0/8"), streamRoute(t, "b", "tls_passthrough", "sni=a.test"), streamRoute(t, "c", "udp", "dst=:1"))
	for _, tt := range []struct {
		placed bool
		of     []config.Protocol
		want   bool
	}{
		{false, []config.Protocol{config.TLS}, true},
		{true, []config.Protocol{config.TLS}, false},
		{true, []config.Protocol{config.TLS, config.TLSPassthrough}, true},
		{false, []config.Protocol{config.TCP}, false},
		{false, []config.Protocol{config.HTTP}, false},
		{true, []config.Protocol{config.UDP}, true},
	} {
		if got := r.Has(tt.placed, tt.of...); got != tt.want {
			t.Errorf("placed %v, %v: %v", tt.placed, tt.of, got)
		}
	}
}

func TestRouterRefusesBrokenExpressions(t *testing.T) {
	_, err := NewRouter([]*Route{streamRoute(t, "good", "tcp", "dst=:1"), streamRoute(t, "bad", "tcp", "expr=net.dst.port ==")})
	if err == nil || !strings.Contains(err.Error(), `compiling route "bad"`) {
		t.Errorf("error %v", err)
	}
}
