package l7

import (
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/l4"
)

func TestRealIP(t *testing.T) {
	const peer = "10.0.0.1" // trusted, as all of 10.0.0.0/8 and 2001:db8:1::/48
	last := RealIP{Header: "X-Forwarded-For"}
	walk := RealIP{Header: "X-Forwarded-For", Recursive: true}
	single := RealIP{Header: "X-Real-IP"}
	tests := []struct {
		name   string
		peer   string
		rule   RealIP
		fields []string // name, value, ...
		want   string
	}{
		{"nothing told", peer, single, nil, peer},
		{"told", peer, single, []string{"X-Real-IP", "203.0.113.7"}, "203.0.113.7"},
		{"told by another field", peer, single, []string{"X-Forwarded-For", "203.0.113.7"}, peer},
		{"peer not trusted", "192.0.2.1", single, []string{"X-Real-IP", "203.0.113.7"}, "192.0.2.1"},
		{"no field is to tell", peer, RealIP{}, []string{"X-Real-IP", "203.0.113.7"}, peer},
		{"told twice", peer, single, []string{"X-Real-IP", "203.0.113.7", "X-Real-IP", "203.0.113.8"}, "203.0.113.7"},
		{"told as a list", peer, single, []string{"X-Real-IP", "203.0.113.8, 203.0.113.7"}, "203.0.113.7"},
		{"told itself", peer, single, []string{"X-Real-IP", peer}, peer},
		{"IPv6", peer, single, []string{"X-Real-IP", "2001:DB8::7"}, "2001:db8::7"},
		{"mapped", peer, single, []string{"X-Real-IP", "::ffff:203.0.113.7"}, "203.0.113.7"},
		{"with a port", peer, single, []string{"X-Real-IP", "203.0.113.7:1234"}, "203.0.113.7"},
		{"IPv6 with a port", peer, single, []string{"X-Real-IP", "[2001:db8::7]:1234"}, "2001:db8::7"},
		{"port 0", peer, single, []string{"X-Real-IP", "203.0.113.7:0"}, peer},
		{"brackets without a port", peer, single, []string{"X-Real-IP", "[2001:db8::7]"}, peer},
		{"zone", peer, single, []string{"X-Real-IP", "fe80::7%eth0"}, peer},
		{"no address", peer, single, []string{"X-Real-IP", "unknown"}, peer},
		{"empty", peer, single, []string{"X-Real-IP", ""}, peer},
		{"only commas", peer, single, []string{"X-Real-IP", ", ,"}, peer},
		{"own field", peer, RealIP{Header: "CF-Connecting-IP"}, []string{"X-Real-IP", "203.0.113.8", "cf-connecting-ip", "203.0.113.7"}, "203.0.113.7"},
		{"IPv6 peer", "2001:db8:1::5", single, []string{"X-Real-IP", "203.0.113.7"}, "203.0.113.7"},

		{"last of a list", peer, last, []string{"X-Forwarded-For", "203.0.113.7, 10.0.0.2"}, "10.0.0.2"},
		{"last of two lists", peer, last, []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", "203.0.113.8"}, "203.0.113.8"},
		{"last is no address", peer, last, []string{"X-Forwarded-For", "203.0.113.7, unknown"}, peer},
		{"comma at the end", peer, last, []string{"X-Forwarded-For", "203.0.113.7 , "}, "203.0.113.7"},

		{"past the trusted", peer, walk, []string{"X-Forwarded-For", "203.0.113.8, 203.0.113.7, 10.0.0.3,10.0.0.2"}, "203.0.113.7"},
		{"past trusted IPv6", peer, walk, []string{"X-Forwarded-For", "203.0.113.7, 2001:db8:1::2"}, "203.0.113.7"},
		{"all trusted", peer, walk, []string{"X-Forwarded-For", "10.0.0.4, 10.0.0.3, 10.0.0.2"}, "10.0.0.4"},
		{"into the list before", peer, walk, []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "203.0.113.7"},
		{"not into the list before", peer, walk, []string{"X-Forwarded-For", "203.0.113.8", "X-Forwarded-For", "203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"stopped by what is no address", peer, walk, []string{"X-Forwarded-For", "203.0.113.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"stopped in the list before", peer, walk, []string{"X-Forwarded-For", "203.0.113.7, unknown", "X-Forwarded-For", "10.0.0.2"}, "10.0.0.2"},
		{"stopped by an empty list", peer, walk, []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", ""}, peer},
		{"stopped by a comma in front", peer, walk, []string{"X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", ", 10.0.0.2"}, "10.0.0.2"},
		{"recursive in one field", peer, RealIP{Header: "X-Real-IP", Recursive: true}, []string{"X-Real-IP", "203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewHeaderPolicy("x", nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}).SetRealIP(tt.rule)
			info := l4.NewInfo("web", netip.AddrPortFrom(netip.MustParseAddr(tt.peer), 1234), netip.MustParseAddrPort("192.0.2.9:80"))
			x := NewExchange()
			defer x.Release()
			x.Conn = &info
			for i := 0; i < len(tt.fields); i += 2 {
				x.Req.Header.AddField(Field{Name: tt.fields[i], Value: tt.fields[i+1], ID: LookupField(tt.fields[i])})
			}
			p.findClient(x)
			if x.ClientIP() != tt.want || x.ClientAddr() != netip.MustParseAddr(tt.want) {
				t.Errorf("client %v, %q; want %q", x.ClientAddr(), x.ClientIP(), tt.want)
			}
		})
	}
}

// TestRealIPNobodyTrusted shows that without trusted peers nobody tells.
func TestRealIPNobodyTrusted(t *testing.T) {
	f := newFixture(t, nil)
	f.Policy.SetRealIP(RealIP{Header: "X-Real-IP"})
	x, _ := request(t, "GET", "/shop")
	x.Req.Header.Add("X-Real-IP", "203.0.113.7")
	want := x.Conn.ClientIP
	f.upstream.forward = func(x *Exchange) error {
		if x.ClientIP() != want {
			t.Errorf("client %q, want %q", x.ClientIP(), want)
		}
		return errTest
	}
	f.Serve(x)
}

func TestRealIPDoesNotAllocate(t *testing.T) {
	p := NewHeaderPolicy("x", nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}).SetRealIP(RealIP{Header: "X-Forwarded-For", Recursive: true})
	info := l4.NewInfo("web", netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("192.0.2.9:80"))
	x := NewExchange()
	defer x.Release()
	x.Conn = &info
	x.Req.Header.Add("X-Forwarded-For", "2001:db8::7, 203.0.113.7, 10.0.0.2")
	if n := testing.AllocsPerRun(100, func() { p.findClient(x) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if x.ClientIP() != "203.0.113.7" {
		t.Errorf("client %q", x.ClientIP())
	}
}

// TestRealIPRefused: of a request that is refused the client counts too, if the
// head is all here.
func TestRealIPRefused(t *testing.T) {
	const field = "X-Real-IP: 203.0.113.7"
	bad := &Error{Status: 400, Reason: ReasonBadRequest, Side: SideClient}
	for name, c := range map[string]struct {
		refused string
		field   []string
		err     *Error
		want    string
	}{
		"parsed":    {"", []string{field}, bad, "203.0.113.7"},
		"too large": {"", []string{field}, &Error{Status: 431, Reason: ReasonHeadTooLarge, Side: SideClient}, "192.0.2.7"},
		"as it was": {"GET / HTTP/4.0\r\n" + field + "\r\n\r\n", nil, bad, "203.0.113.7"},
		"a part":    {"GET / HTTP/4.0\r\n" + field + "\r\n", nil, bad, "192.0.2.7"},
	} {
		f := newFixture(t, nil)
		f.Policy = NewHeaderPolicy("x", nil, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}).SetRealIP(RealIP{Header: "X-Real-IP"})
		x, _ := request(t, "GET", "/shop", c.field...)
		x.KeepRefused(c.refused)
		f.Reject(x, c.err)
		if got := x.ClientAddr().String(); got != c.want {
			t.Errorf("%s: client %s, want %s", name, got, c.want)
		}
	}
}
