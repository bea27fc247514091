package l4

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
)

// naive finds a route by reading the rules one after the other.
func naive(routes []*Route, q *Query) *Route {
	type found struct {
		route    *Route
		priority uint64
		exact    bool
		declared int
	}
	var all []found
	for i, r := range routes {
		e := r.Entity
		if !slices.Contains(e.Protocols, q.Protocol) {
			continue
		}
		if e.Expression != "" {
			x, err := e.ParsedExpression()
			if err != nil {
				panic(err)
			}
			if f := queryFields(q); x.Eval(&f) && (!q.Placed || x.NamesPlace()) {
				all = append(all, found{r, 0xff<<56 | uint64(e.Priority), false, i})
			}
			continue
		}
		exact, wild := naiveSNI(e.SNIs, q)
		if !exact && !wild || !naiveEnds(e.Sources, q.Source) || !naiveEnds(e.Destinations, q.Destination) {
			continue
		}
		if q.Placed && len(e.SNIs) == 0 && !naivePorts(e.Destinations) {
			continue
		}
		all = append(all, found{r, naivePriority(e), exact && len(e.SNIs) > 0, i})
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b found) int {
		if a.priority != b.priority {
			return cmp.Compare(b.priority, a.priority)
		}
		if a.exact != b.exact {
			if a.exact {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.route.Entity.CreatedAt, b.route.Entity.CreatedAt), cmp.Compare(a.declared, b.declared))
	})
	return all[0].route
}

func naiveSNI(snis []string, q *Query) (exact, wild bool) {
	if len(snis) == 0 {
		return true, true
	}
	if q.Protocol != config.TLS && q.Protocol != config.TLSPassthrough {
		// Of a route that has whole names the part with these is as good.
		for _, s := range snis {
			exact, wild = exact || !strings.Contains(s, "*"), true
		}
		return exact, wild
	}
	for _, s := range snis {
		switch {
		case strings.HasPrefix(s, "*."):
			wild = wild || q.SNI != "" && strings.HasSuffix(q.SNI, s[1:])
		case strings.HasSuffix(s, ".*"):
			wild = wild || strings.HasPrefix(q.SNI, s[:len(s)-1])
		default:
			exact = exact || q.SNI == s
		}
	}
	return exact, wild
}

func naiveEnds(list []config.StreamAddress, at netip.AddrPort) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(a config.StreamAddress) bool {
		return (a.IP == nil || a.IP.Contains(at.Addr())) && (a.Port == nil || *a.Port == int(at.Port()))
	})
}

func naivePorts(list []config.StreamAddress) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(a config.StreamAddress) bool { return a.Port == nil })
}

func naivePriority(e *config.Route) (p uint64) {
	weigh := func(list []config.StreamAddress) (w uint64) {
		for _, a := range list {
			if a.IP != nil && strings.Contains(a.IP.String(), "/") {
				w |= 1
			} else if a.IP != nil {
				w |= 8
			}
			if a.Port != nil {
				w |= 4
			}
		}
		return w
	}
	if len(e.SNIs) > 0 || len(e.Sources) > 0 && len(e.Destinations) > 0 {
		p = 1 << 61
	}
	return p | weigh(e.Sources)*16 | weigh(e.Destinations)
}

// world makes routes and queries that often meet.
type world struct{ *rand.Rand }

func (w world) one(of ...string) string { return of[w.IntN(len(of))] }

func (w world) some(least, most int, of ...string) []string {
	var list []string
	for range least + w.IntN(most-least+1) {
		if s := w.one(of...); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func (w world) address() string {
	return w.one("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "2001:db8::1", "2001:db8:1::1", "192.0.2.1")
}

func (w world) ends() string {
	most := 3
	if w.IntN(4) == 0 {
		most = 24 // beyond what is compared one by one
	}
	var list []string
	for range 1 + w.IntN(most) {
		ip := w.address()
		if w.IntN(2) == 0 {
			ip = w.one("10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "10.0.0.0/15", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8:1::/48")
		}
		port := fmt.Sprint(1 + w.IntN(4))
		list = append(list, w.one(ip, ip, ip+" "+port, ":"+port))
	}
	return strings.Join(list, ",")
}

func (w world) route(t *testing.T, i int) *Route {
	fields := []string{w.one("tcp", "tls", "udp", "tcp tls", "tls udp", "tcp tls udp", "tls_passthrough")}
	if w.IntN(10) == 0 {
		fields = append(fields, "expr="+w.one(`net.dst.port == 1`, `tls.sni == "a.test"`, `net.src.ip in 10.0.0.0/8`, `net.protocol == "tls" || net.src.port == 2`), fmt.Sprintf("prio=%d", w.IntN(3)))
	} else {
		names := w.some(0, 3, "a.test", "b.a.test", "*.test", "*.a.test", "a.*", "b.a.*", "c.test")
		if fields[0] == "tls_passthrough" && len(names) == 0 {
			names = []string{"a.test"}
		}
		if strings.Contains(fields[0], "tls") && len(names) > 0 {
			fields = append(fields, "sni="+strings.Join(names, ","))
		}
		if len(fields) == 1 || w.IntN(3) == 0 {
			fields = append(fields, "src="+w.ends())
		}
		if w.IntN(3) == 0 {
			fields = append(fields, "dst="+w.ends())
		}
	}
	fields = append(fields, fmt.Sprintf("at=%d", w.IntN(3)))
	return streamRoute(t, fmt.Sprintf("r%d %s", i, strings.Join(fields, " ")), fields...)
}

func (w world) query() *Query {
	at := func() netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(w.address()), uint16(1+w.IntN(4)))
	}
	q := &Query{Protocol: config.Protocol(w.one("tcp", "tls", "tls_passthrough", "udp")), Source: at(), Destination: at(), Placed: w.IntN(3) == 0}
	if q.Protocol == config.TLS || q.Protocol == config.TLSPassthrough {
		q.SNI = w.one("", "a.test", "b.a.test", "c.b.a.test", "c.test", "a.example", "b.a.example", "test", "a", ".test")
	}
	return q
}

// TestRouterAgrees compares the router with a reading of the rules one by one.
func TestRouterAgrees(t *testing.T) {
	for seed := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		var routes []*Route
		for i := range 1 + w.IntN(40) {
			routes = append(routes, w.route(t, i))
		}
		r := routerOf(t, routes...)
		for range 100 {
			q := w.query()
			if got, want := r.Match(q), naive(routes, q); got != want {
				t.Fatalf("seed %d, query %+v:\ngot  %s\nwant %s", seed, *q, nameOf(got), nameOf(want))
			}
		}
	}
}

func TestMatchAllocates(t *testing.T) {
	w := world{rand.New(rand.NewPCG(7, 7))}
	var routes []*Route
	for i := range 200 {
		routes = append(routes, w.route(t, i))
	}
	r := routerOf(t, routes...)
	var queries []*Query
	for range 200 {
		queries = append(queries, w.query())
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, q := range queries {
			r.Match(q)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d look-ups", n, len(queries))
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 15000} {
		var routes []*Route
		for i := range n {
			routes = append(routes, streamRoute(b, fmt.Sprint(i), "tls", fmt.Sprintf("sni=host%d.example.test", i)))
		}
		routes = append(routes, streamRoute(b, "wild", "tls", "sni=*.test"), streamRoute(b, "src", "tls", "src=10.0.0.0/8"))
		r := routerOf(b, routes...)
		for name, q := range map[string]string{
			"exact": "tls host7.example.test 10.0.0.1:1 10.0.0.2:443", "wildcard": "tls none.example.test 10.0.0.1:1 10.0.0.2:443", "source": "tls a.b 10.0.0.1:1 10.0.0.2:443",
		} {
			query := ask(b, q)
			b.Run(fmt.Sprintf("%s of %d", name, n), func(b *testing.B) {
				for b.Loop() {
					r.Match(query)
				}
			})
		}
	}
}
