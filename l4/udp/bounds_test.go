package udp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlowsInAll(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	e := New(Limits{Flows: 2})
	h := newStub(to(up))
	one := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	two := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	for _, p := range []*Port{one, two} {
		c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
		send(t, c, []byte("x"))
		receive(t, c)
	}
	c := dialTo(t, netip.MustParseAddrPort(two.Addr()))
	send(t, c, []byte("too many"))
	until(t, "the drop", func() bool { return two.Counts().Drops[DropFlows] == 1 })
	one.Close()
	send(t, c, []byte("there is room"))
	if got := receive(t, c); string(got) != "there is room" {
		t.Errorf("got %q", got)
	}
	if n := e.Flows(); n != 2 {
		t.Errorf("%d flows are counted, want 2", n)
	}
}

func TestFlowsPerAddress(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	h := newStub(to(up))
	p := serve(t, New(Limits{}), "127.0.0.1:0", 2, Options{Handler: h, Bounds: Bounds{FlowsPerAddress: 3}})
	at := netip.MustParseAddrPort(p.Addr())
	for range 3 {
		c := dialTo(t, at)
		send(t, c, []byte("x"))
		receive(t, c)
	}
	c := dialTo(t, at)
	send(t, c, []byte("x"))
	until(t, "the drop", func() bool { return p.Counts().Drops[DropAddress] == 1 })
	other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77)}, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	send(t, other, []byte("x"))
	receive(t, other)
}

func TestNewFlowsPerSecond(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	o := Options{Handler: newStub(to(up)), Bounds: Bounds{NewFlowsPerSecond: 1}}
	p := serve(t, New(Limits{}), "127.0.0.1:0", 2, o)
	at := netip.MustParseAddrPort(p.Addr())
	first := dialTo(t, at)
	send(t, first, []byte("x"))
	receive(t, first)
	sent := uint64(1)
	// A slow machine may take more than a second for one of them.
	until(t, "a flow too many", func() bool {
		send(t, dialTo(t, at), []byte("x"))
		sent++
		until(t, "it to be taken", func() bool { return p.Counts().Received.Datagrams == sent })
		return p.Counts().Drops[DropRate] > 0
	})
	if c := p.Counts(); c.Opened+c.Drops[DropRate] != sent {
		t.Errorf("%d flows and %v drops of %d", c.Opened, c.Drops, sent)
	}
	send(t, first, []byte("is no new flow"))
	receive(t, first)
	other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77)}, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	send(t, other, []byte("x"))
	receive(t, other)

	rates := p.options.Load().rates
	p.Change(o)
	if p.options.Load().rates != rates {
		t.Error("a change that leaves the rate has lost the counts")
	}
	o.Bounds.NewFlowsPerSecond = 0
	p.Change(o)
	for range 5 {
		c := dialTo(t, at)
		send(t, c, []byte("x"))
		receive(t, c)
	}
}

func TestTenants(t *testing.T) {
	all := tenants{all: make(map[tenantKey]*tenant)}
	client := func(addr byte) tenantKey { return tenantOf(&key{client: [16]byte{10: 0xff, 11: 0xff, 15: addr}}) }
	if c, ok := all.enter(client(1), 0); c != nil || !ok {
		t.Errorf("without a bound: %v, %t", c, ok)
	}
	var flows []*tenant
	for i, want := range []bool{true, true, false} {
		c, ok := all.enter(client(1), 2)
		if ok != want {
			t.Errorf("flow %d: %t, want %t", i, ok, want)
		}
		flows = append(flows, c)
	}
	if _, ok := all.enter(client(2), 2); !ok {
		t.Error("another client is refused")
	}
	all.leave(flows[0])
	c, ok := all.enter(client(1), 2)
	if !ok {
		t.Error("the place of a flow that has ended is not given")
	}
	all.leave(c)
	all.leave(flows[1])
	all.leave(nil)
	if n := len(all.all); n != 1 {
		t.Errorf("%d clients are in the table, want 1", n)
	}
}

// TestTenantsOfIPv6 shows that whoever has a /64 is one client, as an address of
// IPv4 is.
func TestTenantsOfIPv6(t *testing.T) {
	all := tenants{all: make(map[tenantKey]*tenant)}
	for _, test := range []struct {
		addr string
		ok   bool
	}{
		{"2001:db8::1", true},
		{"2001:db8::2", false},
		{"2001:db8::ffff:ffff:0:3", false},
		{"2001:db8:0:1::1", true},
		{"192.0.2.1", true},
		{"192.0.2.2", true},
		{"192.0.2.1", false},
	} {
		k := key{client: netip.MustParseAddr(test.addr).As16()}
		if _, ok := all.enter(tenantOf(&k), 1); ok != test.ok {
			t.Errorf("a flow of %s: %t, want %t", test.addr, ok, test.ok)
		}
	}
}

// waits is a Handler whose flows wait for Resolve until the test says so.
func waits(up netip.AddrPort) (h *stub, calls *atomic.Int32, release chan Decision) {
	release = make(chan Decision)
	calls = new(atomic.Int32)
	h = newStub(func(*Datagram) Decision { return Decision{Verdict: Wait, Cookie: "asked"} })
	h.resolve = func(ctx context.Context, d *Datagram, cookie any) Decision {
		calls.Add(1)
		select {
		case decision := <-release:
			if decision.Verdict == Forward {
				decision.Upstream = up
				decision.Cookie = cookie.(string) + " " + string(d.Payload)
			}
			return decision
		case <-ctx.Done():
			return Decision{Verdict: Drop, Cookie: "late"}
		}
	}
	return h, calls, release
}

func TestResolve(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	h, _, release := waits(addrOf(up))
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	want := []string{"first", "", "third"}
	for _, s := range want {
		send(t, c, []byte(s))
	}
	until(t, "all to be held", func() bool { return e.held.Load() == int64(len("firstthird")) && p.Counts().Received.Datagrams == 3 })
	release <- Decision{Verdict: Forward, Preamble: []byte("> ")}
	for i, s := range want {
		if i == 0 {
			s = "> " + s
		}
		if got := receive(t, up); string(got) != s {
			t.Errorf("datagram %d is %q, want %q", i, got, s)
		}
	}
	p.Close()
	if e := h.ends(t, 1)[0]; e.cookie != "asked first" || e.Reason != Closing || e.upstreamSent.Datagrams != 3 {
		t.Errorf("ended %+v", e)
	}
	if n := e.held.Load(); n != 0 {
		t.Errorf("%d bytes are still counted as held", n)
	}
}

// TestResolveEnds shows that each flow that waits is closed once, whatever comes
// of it, and that nothing it had held is left.
func TestResolveEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		act    func(t *testing.T, p *Port, release chan Decision)
		reason Reason
		drops  DropReason
		cookie any
	}{
		{
			"refused", func(t *testing.T, _ *Port, release chan Decision) { release <- Decision{} },
			Refused, DropRefused, "asked",
		},
		{
			"closed meanwhile", func(t *testing.T, p *Port, _ chan Decision) { p.Close() },
			Refused, DropRefused, "late",
		},
		{
			"drained meanwhile", func(t *testing.T, p *Port, release chan Decision) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				p.Drain(ctx)
				p.Close()
			},
			Drained, DropHeld, "late",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, calls, release := waits(netip.AddrPort{})
			e := New(Limits{})
			p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
			c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
			send(t, c, []byte("x"))
			until(t, "Resolve", func() bool { return calls.Load() == 1 })
			test.act(t, p, release)
			ends := h.ends(t, 1)
			if len(ends) != 1 || ends[0].Reason != test.reason || ends[0].cookie != test.cookie {
				t.Errorf("ended %+v, want once by %v", ends, test.reason)
			}
			until(t, "the drop", func() bool { return p.Counts().Drops[test.drops] == 1 })
			// The share is given back once the Handler was told.
			until(t, "nothing to be left", func() bool { return e.held.Load() == 0 && e.Flows() == 0 })
		})
	}
}

func TestHeldIsBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		sizes  []int
		drops  uint64
		bytes  int64
	}{
		{"datagrams of a flow", Limits{}, repeat(heldPerFlow+3, 10), 3, heldPerFlow * 10},
		{"bytes of a flow", Limits{}, []int{9000, 7000, 9000, 300}, 1, 16300},
		{"bytes in all", Limits{HeldBytes: 1000}, []int{600, 600, 300}, 1, 900},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _, release := waits(echo(t, "127.0.0.1:0"))
			e := New(test.limits)
			p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
			c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
			for _, size := range test.sizes {
				send(t, c, make([]byte, size))
			}
			until(t, "all to be taken", func() bool { return p.Counts().Received.Datagrams == uint64(len(test.sizes)) })
			until(t, "the drops", func() bool { return p.Counts().Drops[DropHeld] == test.drops })
			if n := e.held.Load(); n != test.bytes {
				t.Errorf("%d bytes are held, want %d", n, test.bytes)
			}
			release <- Decision{Verdict: Forward}
			until(t, "what was held to be sent", func() bool { return e.held.Load() == 0 })
		})
	}
}

func TestResolvesAreBounded(t *testing.T) {
	h, calls, release := waits(echo(t, "127.0.0.1:0"))
	p := serve(t, New(Limits{Resolves: 2}), "127.0.0.1:0", 1, Options{Handler: h})
	at := netip.MustParseAddrPort(p.Addr())
	for range 2 {
		send(t, dialTo(t, at), []byte("x"))
	}
	until(t, "two calls", func() bool { return calls.Load() == 2 })
	send(t, dialTo(t, at), []byte("x"))
	if e := h.ends(t, 1)[0]; e.Reason != Unresolved {
		t.Errorf("ended by %v", e.Reason)
	}
	release <- Decision{Verdict: Forward}
	c := dialTo(t, at)
	until(t, "room for another", func() bool {
		send(t, c, []byte("x"))
		return calls.Load() == 3
	})
}

// TestPanics shows that a hook that panics costs its datagram or flow, and is
// counted.
func TestPanics(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	var mu sync.Mutex
	var told []any
	mode := ""
	h := newStub(func(d *Datagram) Decision {
		mode = string(d.Payload)
		switch mode {
		case "admit":
			panic("in admit")
		case "resolve":
			return Decision{Verdict: Wait}
		case "deliver":
			return Decision{Verdict: Local}
		}
		return Decision{Verdict: Forward, Upstream: up}
	})
	h.resolve = func(context.Context, *Datagram, any) Decision { panic("in resolve") }
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 1, Options{
		Handler: h, Consumer: consumer(func(*Flow, []byte, int) { panic("in deliver") }),
		Panicked: func(v any, _ []byte) { mu.Lock(); told = append(told, v); mu.Unlock() },
	})
	at := netip.MustParseAddrPort(p.Addr())
	for i, mode := range []string{"admit", "resolve", "deliver"} {
		send(t, dialTo(t, at), []byte(mode))
		until(t, "the panic in "+mode, func() bool { return p.Counts().Drops[DropPanic] == uint64(i+1) })
		c := dialTo(t, at)
		send(t, c, []byte("still here?"))
		receive(t, c)
	}
	mu.Lock()
	if diff := cmp.Diff([]any{"in admit", "in resolve", "in deliver"}, told); diff != "" {
		t.Errorf("told of panics (-want +got):\n%s", diff)
	}
	mu.Unlock()
	p.Close()
	if n := e.Flows(); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

type consumer func(f *Flow, payload []byte, segment int)

func (c consumer) Deliver(f *Flow, payload []byte, segment int) { c(f, payload, segment) }
