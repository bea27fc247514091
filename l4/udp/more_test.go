package udp

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// gathers is a Handler that wants all up to a datagram "." before it decides.
// What Next saw becomes the Cookie.
func gathers(decide Decision) *stub {
	h := newStub(func(d *Datagram) Decision { return Decision{Verdict: More, Cookie: string(d.Payload)} })
	h.next = func(p []byte, cookie any) Decision {
		d := Decision{Verdict: More}
		switch string(p) {
		case ".":
			d = decide
		case "panic":
			panic("test")
		}
		d.Cookie = cookie.(string) + string(p)
		return d
	}
	return h
}

func TestMore(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	h := gathers(Decision{Verdict: Forward, Upstream: addrOf(up), Preamble: []byte("> ")})
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	want := []string{"a", "b", ".", "c"}
	for _, s := range want {
		send(t, c, []byte(s))
	}
	for i, s := range want {
		if i == 0 {
			s = "> " + s
		}
		if got := receive(t, up); string(got) != s {
			t.Errorf("datagram %d is %q, want %q", i, got, s)
		}
	}
	p.Close()
	if end := h.ends(t, 1)[0]; end.cookie != "ab." || end.received.Datagrams != 4 || end.upstreamSent.Datagrams != 4 {
		t.Errorf("ended %+v", end)
	}
	wantNothingHeld(t, e, p)
}

func wantNothingHeld(t *testing.T, e *Engine, p *Port) {
	t.Helper()
	waiting := 0
	for _, l := range p.lanes {
		waiting += l.asking.Len()
	}
	if e.held.Load() != 0 || e.Flows() != 0 || waiting != 0 {
		t.Errorf("%d bytes, %d flows and %d that wait are left", e.held.Load(), e.Flows(), waiting)
	}
}

// TestMoreEnds shows that a flow that asks for more is closed once, whatever
// comes of it.
func TestMoreEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		say    string
		decide Decision
		reason Reason
		drops  DropReason
		n      uint64
		cookie string
	}{
		{"refused", "a .", Decision{}, Refused, DropRefused, 2, "a."},
		{"silent", "a b", Decision{}, Unresolved, DropHeld, 2, "ab"},
		{"a panic", "a panic", Decision{}, Refused, DropRefused, 2, "a"},
		{"more than is held", "a" + strings.Repeat(" b", heldPerFlow+1), Decision{}, Unresolved, DropHeld, heldPerFlow + 2, "abbbbbbb"},
		{"nobody there", "a .", Decision{Verdict: Forward, Upstream: netip.MustParseAddrPort("255.255.255.255:9")}, Unreachable, DropSocket, 2, "a."},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := gathers(test.decide)
			e := New(Limits{})
			p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
			c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
			for s := range strings.SplitSeq(test.say, " ") {
				send(t, c, []byte(s))
			}
			end := h.ends(t, 1)[0]
			if end.Reason != test.reason || end.cookie != test.cookie {
				t.Errorf("ended %+v, want by %v with %q", end, test.reason, test.cookie)
			}
			until(t, "the drops", func() bool { return p.Counts().Drops[test.drops] == test.n })
			p.Close()
			if n := len(h.ends(t, 1)); n != 1 {
				t.Errorf("closed %d times", n)
			}
			wantNothingHeld(t, e, p)
		})
	}
}

// TestMoreWaits lets Next leave the decision to Resolve.
func TestMoreWaits(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	h, calls, release := waits(addrOf(up))
	h.admit = func(*Datagram) Decision { return Decision{Verdict: More} }
	h.next = func([]byte, any) Decision { return Decision{Verdict: Wait, Cookie: "asked"} }
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, c, []byte("a"))
	send(t, c, []byte("b"))
	until(t, "Resolve", func() bool { return calls.Load() == 1 })
	send(t, c, []byte("c"))
	until(t, "the third to be held", func() bool { return e.held.Load() == 3 })
	release <- Decision{Verdict: Forward}
	for _, s := range []string{"a", "b", "c"} {
		if got := receive(t, up); string(got) != s {
			t.Errorf("got %q, want %q", got, s)
		}
	}
	p.Close()
	wantNothingHeld(t, e, p)
}

// TestMoreMakesRoom shows that flows which ask for more give way to later ones,
// so that those who never go on keep nobody out.
func TestMoreMakesRoom(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	h := gathers(Decision{Verdict: Forward, Upstream: up})
	e := New(Limits{HeldBytes: 1000})
	p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h})
	at := netip.MustParseAddrPort(p.Addr())
	for range 5 {
		send(t, dialTo(t, at), make([]byte, 400))
	}
	if end := h.ends(t, 3)[0]; end.Reason != Unresolved {
		t.Errorf("ended by %v", end.Reason)
	}
	c := dialTo(t, at)
	send(t, c, make([]byte, 900))
	send(t, c, []byte("."))
	for _, n := range []int{900, 1} {
		if got := len(receive(t, c)); got != n {
			t.Errorf("%d bytes came back, want %d", got, n)
		}
	}
	// One that alone is too large is dropped, and ends.
	send(t, dialTo(t, at), make([]byte, 1001))
	until(t, "all drops", func() bool { return p.Counts().Drops[DropHeld] == 6 })
	p.Close()
	wantNothingHeld(t, e, p)
}

// TestSeveralOfASocket has clients that begin several flows from one socket.
func TestSeveralOfASocket(t *testing.T) {
	one, two := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	h := newStub(func(d *Datagram) Decision {
		to := one
		if d.Payload[1] == 'b' {
			to = two
		}
		return Decision{Verdict: Forward, Upstream: addrOf(to)}
	})
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 1, Options{Handler: h, Keyer: tagged{}})
	at := netip.MustParseAddrPort(p.Addr())
	c := dialTo(t, at)
	for range 2 {
		for _, s := range []string{"#a", "~b", "#b", "~a", "~b"} {
			to := one
			if s[1] == 'b' {
				to = two
			}
			if s == "~b" && p.Counts().Opened < 2 {
				continue // it would become a name of the first
			}
			send(t, c, []byte(s))
			if got := receive(t, to); string(got) != s {
				t.Errorf("sent %q, got %q", s, got)
			}
		}
	}
	// Only the upstreams can tell whose this is.
	send(t, c, []byte("~?"))
	for _, up := range []string{string(receive(t, one)), string(receive(t, two))} {
		if up != "~?" {
			t.Errorf("got %q", up)
		}
	}
	// Both are named by their upstreams, and move to one address.
	for s, up := range map[string]*net.UDPConn{"a": one, "b": two} {
		send(t, c, []byte("#"+s))
		_, from, err := up.ReadFromUDPAddrPort(make([]byte, 9))
		if err == nil {
			_, err = up.WriteToUDPAddrPort([]byte("+"+strings.ToUpper(s)), from)
		}
		if err != nil {
			t.Fatal(err)
		}
		receive(t, c)
	}
	c = dialTo(t, at)
	for _, s := range []string{"~b", "~a", "~b"} {
		to := one
		if s[1] == 'b' {
			to = two
		}
		send(t, c, []byte(s))
		if got := receive(t, to); string(got) != s {
			t.Errorf("after a move: sent %q, got %q", s, got)
		}
	}
	if n := p.Counts().Opened; n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
	p.onLoops(func(l *lane) {
		if l.flows.n != 2 || len(l.beside) != 1 {
			t.Errorf("%d flows, %d addresses with several", l.flows.n, len(l.beside))
		}
	})
	for i := range flowsPerSocket {
		send(t, c, []byte{'#', 0x80 | byte(i)})
	}
	until(t, "the bound", func() bool { return p.Counts().Drops[DropFlows] == 2 })
	p.Close()
	if l := p.lanes[0]; l.flows.n+len(l.beside)+len(p.names.claims) != 0 {
		t.Errorf("%d flows, %d addresses and %d names are left", l.flows.n, len(l.beside), len(p.names.claims))
	}
	wantNothingHeld(t, e, p)
}

// TestNamesOfTwo shows that a name that two flows have leads to neither.
func TestNamesOfTwo(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(up)), Keyer: tagged{}})
	at := netip.MustParseAddrPort(p.Addr())
	a, b := dialTo(t, at), dialTo(t, at)
	for _, s := range []string{"#a", "+x", "+1"} {
		send(t, a, []byte(s))
		receive(t, a)
	}
	for _, s := range []string{"#b", "+x", "~x", "+2"} {
		send(t, b, []byte(s))
		receive(t, b)
	}
	send(t, a, []byte("~x"))
	if got := receive(t, a); string(got) != "~x" {
		t.Errorf("got %q", got)
	}
	other := dialTo(t, at)
	send(t, other, []byte("~x"))
	receive(t, other)
	if n := p.Counts().Opened; n != 3 {
		t.Errorf("%d flows, want 3", n)
	}
}

// TestNamesByChance shows that a flow which no upstream has named goes by its
// address, whatever its datagrams look like.
func TestNamesByChance(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(up)), Keyer: tagged{}})
	at := netip.MustParseAddrPort(p.Addr())
	a, b := dialTo(t, at), dialTo(t, at)
	send(t, a, []byte("#a"))
	receive(t, a)
	send(t, b, []byte("plain"))
	receive(t, b)
	send(t, b, []byte("~a"))
	if got := receive(t, b); string(got) != "~a" {
		t.Errorf("got %q", got)
	}
	send(t, a, []byte("still here"))
	if got := receive(t, a); string(got) != "still here" {
		t.Errorf("got %q", got)
	}
}
