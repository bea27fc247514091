package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWalk shows what a name comes to, and which questions that takes.
func TestWalk(t *testing.T) {
	long := make(map[string][]string)
	for i := range 2 * maxChain {
		long[fmt.Sprintf("A c%d.test.", i)] = []string{fmt.Sprintf("c%d.test. 60 IN CNAME c%d.test.", i, i+1)}
	}
	tests := []struct {
		name  string
		zone  map[string][]string
		extra []string
		set   []func(*Settings)
		ask   string
		want  string
		asked string // questions, separated by commas; "-": not looked at
	}{
		{
			"addresses in a stable order",
			map[string][]string{"A shop.test.": {"shop.test. 60 IN A 192.0.2.2", shopA, shopA}},
			nil, nil,
			"shop.test", "192.0.2.1 192.0.2.2", "SRV shop.test.,A shop.test.",
		},
		{"upper case", map[string][]string{"A shop.test.": {shopA}}, nil, nil, "SHOP.Test", "192.0.2.1", "SRV shop.test.,A shop.test."},
		{
			"AAAA where there is no A",
			map[string][]string{"AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}},
			nil, nil,
			"shop.test", "2001:db8::1", "SRV shop.test.,A shop.test.,AAAA shop.test.",
		},
		{
			"AAAA first",
			map[string][]string{"A shop.test.": {shopA}, "AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}},
			nil,
			[]func(*Settings){order(AAAA, A)},
			"shop.test", "2001:db8::1", "AAAA shop.test.",
		},
		{
			"a mapped address",
			map[string][]string{"AAAA shop.test.": {"shop.test. 60 IN AAAA ::ffff:192.0.2.7"}},
			nil,
			[]func(*Settings){order(AAAA)},
			"shop.test", "192.0.2.7", "-",
		},
		{
			"only what the order has",
			map[string][]string{"AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}},
			nil,
			[]func(*Settings){order(A)},
			"shop.test", "error", "A shop.test.",
		},
		{"no name", nil, nil, nil, "shop.test", "error", "SRV shop.test.,A shop.test."},
		{"SRV denied, A there", map[string][]string{"SRV shop.test.": {"NXDOMAIN"}, "A shop.test.": {shopA}}, nil, nil, "shop.test", "192.0.2.1", "-"},
		{"SRV in trouble, A there", map[string][]string{"SRV shop.test.": {"SERVFAIL"}, "A shop.test.": {shopA}}, nil, nil, "shop.test", "192.0.2.1", "-"},
		{"A in trouble, AAAA there", map[string][]string{"A shop.test.": {"SERVFAIL"}, "AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}}, nil, nil, "shop.test", "2001:db8::1", "-"},

		{"SRV", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 0 8001 a.test.", "shop.test. 60 IN SRV 1 20 8002 b.test.", "shop.test. 60 IN SRV 2 99 8003 c.test."},
			"A a.test.":      {"a.test. 60 IN A 192.0.2.1"}, "A b.test.": {"b.test. 60 IN A 192.0.2.2"},
		}, nil, nil, "shop.test", "192.0.2.1:8001(a.test) 192.0.2.2:8002*20(b.test)", "SRV shop.test.,A a.test.,A b.test."},
		{"SRV in another order", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 5 1 8003 c.test.", "shop.test. 60 IN SRV 1 6 8002 b.test.", "shop.test. 60 IN SRV 1 4 8001 a.test."},
			"A a.test.":      {"a.test. 60 IN A 192.0.2.1"}, "A b.test.": {"b.test. 60 IN A 192.0.2.2"},
		}, nil, nil, "shop.test", "192.0.2.1:8001*2(a.test) 192.0.2.2:8002*3(b.test)", "SRV shop.test.,A a.test.,A b.test."},
		{"SRV: a host with two addresses has the share of one", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 10 80 a.test.", "shop.test. 60 IN SRV 1 10 80 b.test."},
			"A a.test.":      {"a.test. 60 IN A 192.0.2.1", "a.test. 60 IN A 192.0.2.2"}, "A b.test.": {"b.test. 60 IN A 192.0.2.3"},
		}, nil, nil, "shop.test", "192.0.2.1:80(a.test) 192.0.2.2:80(a.test) 192.0.2.3:80*2(b.test)", "-"},
		{"SRV: one host, two ports", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 1 8001 a.test.", "shop.test. 60 IN SRV 1 1 8002 a.test."},
			"A a.test.":      {"a.test. 60 IN A 192.0.2.1"},
		}, nil, nil, "shop.test", "192.0.2.1:8001(a.test) 192.0.2.1:8002(a.test)", "SRV shop.test.,A a.test."},
		{"SRV: a host without an address", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 1 8001 gone.test.", "shop.test. 60 IN SRV 1 1 8002 a.test."},
			"A a.test.":      {"a.test. 60 IN A 192.0.2.1"},
		}, nil, nil, "shop.test", "192.0.2.1:8002(a.test)", "-"},
		{"SRV: the host is an alias", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 1 8001 a.test."},
			"A a.test.":      {"a.test. 60 IN CNAME b.test.", "b.test. 60 IN A 192.0.2.1"},
		}, nil, nil, "shop.test", "192.0.2.1:8001(a.test)", "SRV shop.test.,A a.test."},
		{"SRV: addresses sent along", map[string][]string{
			"SRV shop.test.": {"shop.test. 60 IN SRV 1 1 8001 a.test."},
		}, []string{"a.test. 60 IN A 192.0.2.1", "bank.test. 60 IN A 203.0.113.66"}, nil, "shop.test", "192.0.2.1:8001(a.test)", "SRV shop.test."},
		{"SRV: addresses sent along for another zone", map[string][]string{
			"SRV shop.test.":            {"shop.test. 60 IN SRV 1 1 8001 a.consul."},
			"A a.consul.@192.0.2.54:53": {"a.consul. 60 IN A 192.0.2.1"},
		}, []string{"a.consul. 60 IN A 203.0.113.66"}, []func(*Settings){consulZone}, "shop.test", "192.0.2.1:8001(a.consul)", "SRV shop.test.,A a.consul.@192.0.2.54:53"},
		{"SRV: not to be had", map[string][]string{"SRV shop.test.": {"shop.test. 60 IN SRV 0 0 0 ."}}, nil, nil, "shop.test", "error", "-"},

		{
			"an alias within the answer",
			map[string][]string{"A shop.test.": {"shop.test. 60 IN CNAME b.test.", "b.test. 60 IN A 192.0.2.1"}},
			nil, nil,
			"shop.test", "192.0.2.1", "SRV shop.test.,A shop.test.",
		},
		{
			"an alias in the wrong order",
			map[string][]string{"A shop.test.": {"b.test. 60 IN A 192.0.2.1", "shop.test. 60 IN CNAME b.test."}},
			nil, nil,
			"shop.test", "192.0.2.1", "-",
		},
		{
			"an alias to ask for",
			map[string][]string{"A shop.test.": {"shop.test. 60 IN CNAME b.test."}, "A b.test.": {"b.test. 60 IN A 192.0.2.1"}},
			nil, nil,
			"shop.test", "192.0.2.1", "SRV shop.test.,A shop.test.,A b.test.",
		},
		{
			"an alias that only CNAME tells",
			map[string][]string{"CNAME shop.test.": {"shop.test. 60 IN CNAME b.test."}, "AAAA b.test.": {"b.test. 60 IN AAAA 2001:db8::1"}},
			nil, nil,
			"shop.test", "2001:db8::1", "-",
		},
		{
			"an alias to nowhere",
			map[string][]string{"A shop.test.": {"NXDOMAIN", "shop.test. 60 IN CNAME gone.test."}},
			nil, nil,
			"shop.test", "error", "SRV shop.test.,A shop.test.",
		},
		{"an alias of itself", map[string][]string{"A shop.test.": {"shop.test. 60 IN CNAME shop.test."}}, nil, []func(*Settings){order(A)}, "shop.test", "error", "A shop.test."},
		{"aliases in a ring over several answers", map[string][]string{
			"A shop.test.": {"shop.test. 60 IN CNAME b.test."}, "A b.test.": {"b.test. 60 IN CNAME shop.test."},
			"CNAME shop.test.": {"shop.test. 60 IN CNAME b.test."}, "CNAME b.test.": {"b.test. 60 IN CNAME shop.test."},
		}, nil, []func(*Settings){order(A, CNAME)}, "shop.test", "error", "A shop.test.,A b.test.,CNAME shop.test.,CNAME b.test."},
		{"a chain that is too long", long, nil, []func(*Settings){order(A)}, "c0.test", "error", "-"},

		{
			"search: as it is first",
			map[string][]string{"A shop.test.": {shopA}, "A shop.test.one.": {"shop.test.one. 60 IN A 192.0.2.9"}},
			nil,
			[]func(*Settings){order(A), search(1, "one")},
			"shop.test", "192.0.2.1", "A shop.test.",
		},
		{
			"search: as it is last",
			map[string][]string{"A shop.test.": {shopA}, "A shop.test.two.": {"shop.test.two. 60 IN A 192.0.2.9"}},
			nil,
			[]func(*Settings){order(A), search(2, "one", "two")},
			"shop.test", "192.0.2.9", "A shop.test.one.,A shop.test.two.",
		},
		{
			"search: back to what it is",
			map[string][]string{"A shop.test.": {shopA}},
			nil,
			[]func(*Settings){order(A), search(2, "one", "two")},
			"shop.test", "192.0.2.1", "A shop.test.one.,A shop.test.two.,A shop.test.",
		},
		{
			"search: not below a dot",
			map[string][]string{"A shop.one.": {"shop.one. 60 IN A 192.0.2.9"}},
			nil,
			[]func(*Settings){order(A), search(2, "one")},
			"shop.", "error", "A shop.",
		},
		{
			"search: trouble is no answer",
			map[string][]string{"A web.one.": {"SERVFAIL"}, "A web.two.": {"web.two. 60 IN A 203.0.113.66"}},
			nil,
			[]func(*Settings){order(A), search(1, "one", "two"), once},
			"web", "error", "A web.one.",
		},
		{
			"search: trouble with SRV alone is none",
			map[string][]string{"SRV web.one.": {"SERVFAIL"}, "A web.two.": {"web.two. 60 IN A 192.0.2.1"}},
			nil,
			[]func(*Settings){order(SRV, A), search(1, "one", "two"), once},
			"web", "192.0.2.1", "SRV web.one.,A web.one.,SRV web.two.,A web.two.",
		},
		{
			"search: too long", nil, nil,
			[]func(*Settings){order(A), search(9, strings.Repeat("x", 60)+"."+strings.Repeat("y", 60))},
			strings.Repeat("abcdefghi.", 14) + "test", "error",
			"A " + strings.Repeat("abcdefghi.", 14) + "test.",
		},

		{
			"a zone",
			map[string][]string{"A web.service.consul.@192.0.2.54:53": {"web.service.consul. 0 IN A 192.0.2.1"}},
			nil,
			[]func(*Settings){order(A), consulZone, search(5, "one")},
			"Web.Service.Consul", "192.0.2.1", "A web.service.consul.@192.0.2.54:53",
		},
		{
			"the zone itself",
			map[string][]string{"A consul.@192.0.2.54:53": {"consul. 0 IN A 192.0.2.1"}},
			nil,
			[]func(*Settings){order(A), consulZone},
			"consul", "192.0.2.1", "A consul.@192.0.2.54:53",
		},
		{"no zone", nil, nil, []func(*Settings){order(A), consulZone}, "myconsul", "error", "A myconsul."},

		{"an address", nil, nil, nil, "192.0.2.7", "192.0.2.7", ""},
		{"an IPv6 address", nil, nil, nil, "2001:db8::7", "2001:db8::7", ""},
		{"localhost", nil, nil, nil, "api.localhost", "127.0.0.1", ""},
		{"localhost, AAAA first", nil, nil, []func(*Settings){order(AAAA, A)}, "LocalHost.", "::1", ""},
		{"invalid", nil, nil, nil, "no-such-host.invalid", "error", ""},
		{"no host name", nil, nil, nil, "shop..test", "error", ""},
		{"no host name either", nil, nil, nil, "sh op", "error", ""},
		{"the root", nil, nil, nil, ".", "error", ""},
		{"nothing", nil, nil, nil, "", "error", ""},
		{"a label that is too long", nil, nil, nil, strings.Repeat("x", 64) + ".test", "error", ""},
		{"a bug", map[string][]string{"A shop.test.": {"panic"}}, nil, []func(*Settings){order(A)}, "shop.test", "error", "A shop.test."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &table{zone: tt.zone, extra: tt.extra}
				r := start(t, settings(append(tt.set, once)...), s)
				if got := resolve(t, r, tt.ask); got != tt.want {
					t.Errorf("resolved to %q, want %q", got, tt.want)
				}
				switch tt.asked {
				case "-":
				case "":
					wantAsked(t, s)
				default:
					wantAsked(t, s, strings.Split(tt.asked, ",")...)
				}
			})
		})
	}
}

// once lets every server be asked once.
func once(s *Settings) {
	one := 1
	s.Attempts = &one
}

func consulZone(s *Settings) {
	s.Zones = map[string][]netip.AddrPort{"consul": {serverTwo}}
}

// TestServerOrder shows who is asked when: the first, unless they take turns;
// one that was silent comes last for a while.
func TestServerOrder(t *testing.T) {
	two := func(s *Settings) { s.Servers = []netip.AddrPort{serverOne, serverTwo} }
	synctest.Test(t, func(t *testing.T) {
		s := new(table)
		for i := range 9 {
			name := fmt.Sprintf("s%d.test.", i)
			s.set("A "+name, name+" 60 IN A 192.0.2.1")
		}
		r := start(t, settings(order(A), two), s)
		resolve(t, r, "s0.test")
		resolve(t, r, "s1.test")
		wantAsked(t, s, "A s0.test.", "A s1.test.")

		s.set("A s2.test.", "silence")
		s.set("A s2.test.@192.0.2.54:53", "s2.test. 60 IN A 192.0.2.1")
		began := time.Now()
		if got := resolve(t, r, "s2.test"); got != "192.0.2.1" || time.Since(began) != defaultTimeout {
			t.Errorf("resolved to %q after %v", got, time.Since(began))
		}
		wantAsked(t, s, "A s2.test.", "A s2.test.@192.0.2.54:53")
		resolve(t, r, "s3.test")
		wantAsked(t, s, "A s3.test.@192.0.2.54:53")
		time.Sleep(silentFor)
		resolve(t, r, "s4.test")
		wantAsked(t, s, "A s4.test.")

		rotate := true
		r = start(t, settings(order(A), two, func(s *Settings) { s.Rotate = &rotate }), s)
		for i := 5; i < 9; i++ {
			resolve(t, r, fmt.Sprintf("s%d.test", i))
		}
		wantAsked(t, s, "A s5.test.", "A s6.test.@192.0.2.54:53", "A s7.test.", "A s8.test.@192.0.2.54:53")
	})
}

// TestSilence shows how long it takes to give up.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {"silence"}}}
		r := start(t, settings(order(A)), s)
		began := time.Now()
		if got := resolve(t, r, "shop.test"); got != "error" {
			t.Errorf("resolved to %q", got)
		}
		if d := time.Since(began); d != defaultAttempts*defaultTimeout {
			t.Errorf("gave up after %v, want %v", d, defaultAttempts*defaultTimeout)
		}
		wantAsked(t, s, "A shop.test.", "A shop.test.")

		// With many search domains, the flight's time is what ends it.
		long, five := 10*time.Second, 5
		s = &table{zone: map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {"silence"}}}
		r = start(t, settings(order(SRV, A), func(s *Settings) { s.Timeout, s.Attempts = &long, &five }), s)
		began = time.Now()
		resolve(t, r, "shop.test")
		if d := time.Since(began); d != flightTime {
			t.Errorf("gave up after %v, want %v", d, flightTime)
		}
	})
}
