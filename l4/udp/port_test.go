package udp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRoundTrip(t *testing.T) {
	for _, test := range []struct {
		name, bind, upstream string
		to                   string // the address that clients use; "": the bound one
	}{
		{"one address", "127.0.0.1:0", "127.0.0.1:0", ""},
		{"one address of IPv6", "[::1]:0", "[::1]:0", ""},
		{"another family behind", "127.0.0.1:0", "[::1]:0", ""},
		{"every address of IPv4", "0.0.0.0:0", "127.0.0.1:0", "127.0.0.9"},
		{"every address, by IPv6", "[::]:0", "127.0.0.1:0", "::1"},
		{"every address, by IPv4", "[::]:0", "127.0.0.1:0", "127.0.0.9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var first Datagram
			up := echo(t, test.upstream)
			h := newStub(nil)
			h.admit = func(d *Datagram) Decision {
				first = *d
				first.Payload = bytes.Clone(d.Payload)
				return Decision{Verdict: Forward, Upstream: up, Cookie: "mine"}
			}
			p := serve(t, New(Limits{}), test.bind, 1, Options{Handler: h})
			at := netip.MustParseAddrPort(p.Addr())
			if test.to != "" {
				at = netip.AddrPortFrom(netip.MustParseAddr(test.to), at.Port())
			}
			// The client's socket is connected: an answer from another address
			// than it sent to would not reach it.
			c := dialTo(t, at)
			for _, size := range []int{5, 0, 1, 1472, 9000, 65487} {
				want := bytes.Repeat([]byte{byte(size)}, size)
				send(t, c, want)
				if got := receive(t, c); !bytes.Equal(got, want) {
					t.Errorf("sent %d bytes, got %d back, or others", len(want), len(got))
				}
			}
			p.Close()
			want := Datagram{Peer: addrOf(c), Client: addrOf(c), Local: at, Payload: bytes.Repeat([]byte{5}, 5)}
			same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
			if diff := cmp.Diff(want, first, same); diff != "" {
				t.Errorf("what Admit got (-want +got):\n%s", diff)
			}
			total := Traffic{6, 5 + 0 + 1 + 1472 + 9000 + 65487}
			end := ended{
				End: End{Reason: Closing}, client: addrOf(c), upstream: up, cookie: "mine",
				received: total, sent: total, upstreamReceived: total, upstreamSent: total,
			}
			got := h.ends(t, 1)
			got[0].silent = 0
			if diff := cmp.Diff([]ended{end}, got, cmp.AllowUnexported(ended{}), same); diff != "" {
				t.Errorf("what Closed got (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(Counts{Received: total, Sent: total, Opened: 1}, p.Counts()); diff != "" {
				t.Errorf("the counts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTrains sends many datagrams of one flow at once, so that they are received
// and sent together, and cut by the kernel where sizes are equal.
func TestTrains(t *testing.T) {
	for _, test := range []struct {
		name   string
		sizes  []int
		single bool // whether the loop is to send one by one
	}{
		{"equal sizes", repeat(100, 1200), false},
		{"the last is short", append(repeat(40, 1200), 7), false},
		{"sizes that change", []int{10, 20, 20, 5, 5, 5, 0, 5, 5, 1000, 1000, 1, 0, 0, 30000, 30000, 30000}, false},
		{"no cutting", repeat(70, 1200), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstream := listen(t, "127.0.0.1:0")
			_ = upstream.SetReadBuffer(4 << 20)
			gate := make(chan struct{})
			h := newStub(func(*Datagram) Decision {
				<-gate // so that what follows gathers in the socket
				return Decision{Verdict: Forward, Upstream: addrOf(upstream)}
			})
			p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
			c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
			_ = c.SetReadBuffer(4 << 20)
			send(t, c, []byte("first"))
			for i, size := range test.sizes {
				send(t, c, marked(i, size))
			}
			close(gate)
			b := make([]byte, 65536)
			read := func() ([]byte, netip.AddrPort) {
				t.Helper()
				_ = upstream.SetReadDeadline(time.Now().Add(patience))
				n, from, err := upstream.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatal(err)
				}
				return b[:n], from
			}
			_, from := read()
			if test.single {
				p.onLoops(func(l *lane) {
					for _, f := range l.flows.all() {
						f.single, f.singleToClient = true, true
					}
				})
			}
			for i, size := range test.sizes {
				if got, _ := read(); !bytes.Equal(got, marked(i, size)) {
					t.Fatalf("datagram %d of %d bytes came as %d bytes, or others", i, size, len(got))
				}
			}
			// And back: the loop stands while they gather in the flow's socket.
			stand := stop(p)
			for i, size := range test.sizes {
				if _, err := upstream.WriteToUDPAddrPort(marked(i, size), from); err != nil {
					t.Fatal(err)
				}
			}
			close(stand)
			for i, size := range test.sizes {
				if got := receive(t, c); !bytes.Equal(got, marked(i, size)) {
					t.Fatalf("answer %d of %d bytes came as %d bytes, or others", i, size, len(got))
				}
			}
			n := uint64(len(test.sizes))
			p.Close()
			if e := h.ends(t, 1)[0]; e.received.Datagrams != n+1 || e.upstreamSent.Datagrams != n+1 ||
				e.upstreamReceived.Datagrams != n || e.sent.Datagrams != n {
				t.Errorf("counted %+v, want %d there and %d back", e, n+1, n)
			}
		})
	}
}

// stop lets the first loop stand until the channel is closed, so that what is
// sent meanwhile is found together.
func stop(p *Port) (stand chan struct{}) {
	stand = make(chan struct{})
	stands := make(chan struct{})
	p.lanes[0].loop.Post(func() { close(stands); <-stand })
	<-stands
	return stand
}

func repeat(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// marked returns a payload that is its number's own.
func marked(i, size int) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(size)}, size/3+1)[:size]
}

// TestSegments hands over what the kernel has put together, in both directions.
func TestSegments(t *testing.T) {
	upstream := listen(t, "127.0.0.1:0")
	_ = upstream.SetReadBuffer(4 << 20)
	h := newStub(to(addrOf(upstream)))
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	_ = c.SetReadBuffer(4 << 20)

	cut := make([]byte, segmentRoom)
	cut = cut[:putSegment(cut, 1000)]
	whole := bytes.Join([][]byte{marked(0, 1000), marked(1, 1000), marked(2, 1000), marked(3, 500)}, nil)
	if _, _, err := c.WriteMsgUDP(whole, cut, nil); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	var from netip.AddrPort
	for i, size := range []int{1000, 1000, 1000, 500} {
		_ = upstream.SetReadDeadline(time.Now().Add(patience))
		n, at, err := upstream.ReadFromUDPAddrPort(b)
		if err != nil || !bytes.Equal(b[:n], marked(i, size)) {
			t.Fatalf("datagram %d: got %d bytes and %v", i, n, err)
		}
		from = at
	}
	// What the kernel has put together comes to flows with many answers only.
	p.onLoops(func(l *lane) {
		for _, f := range l.flows.all() {
			f.bulk = true
			gather(f.fd)
		}
	})
	if _, _, err := upstream.WriteMsgUDPAddrPort(whole, cut, from); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{1000, 1000, 1000, 500} {
		if got := receive(t, c); !bytes.Equal(got, marked(i, size)) {
			t.Fatalf("answer %d: got %d bytes", i, len(got))
		}
	}
	p.Close()
	want := Traffic{4, 3500}
	if e := h.ends(t, 1)[0]; e.received != want || e.sent != want || e.upstreamReceived != want || e.upstreamSent != want {
		t.Errorf("counted %+v, want %+v in each direction", e, want)
	}
}

func TestPreamble(t *testing.T) {
	upstream := listen(t, "127.0.0.1:0")
	h := newStub(func(*Datagram) Decision {
		return Decision{Verdict: Forward, Upstream: addrOf(upstream), Preamble: []byte("PROXY ")}
	})
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, c, []byte("one"))
	send(t, c, []byte("two"))
	for _, want := range []string{"PROXY one", "two"} {
		if got := receive(t, upstream); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// With the preamble it is more than a datagram can be.
	d := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, d, make([]byte, 65507))
	until(t, "the oversize drop", func() bool { return p.Counts().Drops[DropOversize] == 1 })
	send(t, d, []byte("three"))
	if got := receive(t, upstream); string(got) != "three" {
		t.Errorf("got %q after the oversize datagram", got)
	}
}

// TestAnswered ends flows by the number of their answers.
func TestAnswered(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	h := newStub(func(*Datagram) Decision { return Decision{Verdict: Forward, Upstream: up, Answers: 1} })
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	for i := range 3 {
		send(t, c, []byte("question"))
		receive(t, c)
		e := h.ends(t, i+1)[i]
		if e.Reason != Answered || e.sent.Datagrams != e.received.Datagrams {
			t.Errorf("flow %d ended by %v with %+v and %+v", i, e.Reason, e.received, e.sent)
		}
	}
	// Two questions of one flow have two answers.
	stand := stop(p)
	send(t, c, []byte("one"))
	send(t, c, []byte("two"))
	close(stand)
	receive(t, c)
	receive(t, c)
	h.ends(t, 4)
}

// TestUnreachable ends flows whose upstream refuses datagrams; the next one
// chooses anew.
func TestUnreachable(t *testing.T) {
	gone := listen(t, "127.0.0.1:0")
	nobody := addrOf(gone)
	gone.Close()
	up := echo(t, "127.0.0.1:0")
	n := 0
	h := newStub(nil)
	h.admit = func(*Datagram) Decision {
		n++
		if n == 1 {
			return Decision{Verdict: Forward, Upstream: nobody}
		}
		return Decision{Verdict: Forward, Upstream: up}
	}
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, c, []byte("lost"))
	if e := h.ends(t, 1)[0]; e.Reason != Unreachable || e.Err != unix.ECONNREFUSED || e.upstream != nobody {
		t.Errorf("the flow ended by %v (%v)", e.Reason, e.Err)
	}
	send(t, c, []byte("again"))
	if got := receive(t, c); string(got) != "again" {
		t.Errorf("got %q", got)
	}
	// An address that the kernel does not connect to (EACCES) has a flow that fails at once.
	h2 := newStub(to(netip.MustParseAddrPort("255.255.255.255:9")))
	p.Change(Options{Handler: h2})
	d := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, d, []byte("nowhere"))
	if e := h2.ends(t, 1)[0]; e.Reason != Unreachable || e.Err == nil {
		t.Errorf("the flow ended by %v (%v)", e.Reason, e.Err)
	}
}

// TestRefusedWhileSending lets the kernel tell an ICMP error by the next send,
// whose datagram then opens another flow.
func TestRefusedWhileSending(t *testing.T) {
	gone := listen(t, "127.0.0.1:0")
	nobody := addrOf(gone)
	gone.Close()
	up := echo(t, "127.0.0.1:0")
	first := true
	h := newStub(nil)
	h.admit = func(*Datagram) Decision {
		if first {
			first = false
			return Decision{Verdict: Forward, Upstream: nobody}
		}
		return Decision{Verdict: Forward, Upstream: up}
	}
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	stand := stop(p)
	send(t, c, []byte("lost"))
	send(t, c, []byte("kept")) // of the same batch: sent after the first has failed
	close(stand)
	if got := receive(t, c); string(got) != "kept" {
		t.Errorf("got %q", got)
	}
}

// TestRefusedWithMoreToSend lets a flow end by the first of several messages:
// the others must not go to a descriptor that is closed by then.
func TestRefusedWithMoreToSend(t *testing.T) {
	gone := listen(t, "127.0.0.1:0")
	nobody := addrOf(gone)
	gone.Close()
	h := newStub(to(nobody))
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	stand := stop(p)
	send(t, c, []byte("lost"))
	for size := range 3 {
		send(t, c, make([]byte, 10+size)) // sizes that make a message each
	}
	close(stand)
	h.ends(t, 1)
	var want [dropReasons]uint64
	want[DropUpstream] = 3
	until(t, "the drops", func() bool { return p.Counts().Drops == want })
}

func TestIdle(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	idle := 100 * time.Millisecond
	h := newStub(func(*Datagram) Decision { return Decision{Verdict: Forward, Upstream: up, Idle: idle} })
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	var clients []*net.UDPConn
	for range 20 {
		c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
		send(t, c, []byte("once"))
		receive(t, c)
		clients = append(clients, c)
	}
	for _, e := range h.ends(t, len(clients)) {
		if e.Reason != Idle || e.silent < idle {
			t.Errorf("a flow ended by %v after %s", e.Reason, e.silent)
		}
	}
	if n := p.Counts().Flows; n != 0 {
		t.Errorf("%d flows are counted", n)
	}
}

func TestDrain(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	h := newStub(func(*Datagram) Decision { return Decision{Verdict: Forward, Upstream: up} })
	p := serve(t, New(Limits{}), "127.0.0.1:0", 2, Options{Handler: h})
	at := netip.MustParseAddrPort(p.Addr())
	old := dialTo(t, at)
	send(t, old, []byte("a"))
	receive(t, old)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Drain(ctx); close(done) }()
	until(t, "the drain's begin", func() bool {
		n := 0
		p.onLoops(func(l *lane) {
			if l.draining {
				p.mu.Lock()
				n++
				p.mu.Unlock()
			}
		})
		return n == 2
	})
	late := dialTo(t, at)
	send(t, late, []byte("b"))
	until(t, "the drop", func() bool { return p.Counts().Drops[DropDraining] == 1 })
	send(t, old, []byte("c"))
	if got := receive(t, old); string(got) != "c" {
		t.Errorf("the old flow answered %q", got)
	}
	select {
	case <-done:
		t.Fatal("the drain ended with a flow open")
	default:
	}
	cancel()
	<-done
	if e := h.ends(t, 1)[0]; e.Reason != Drained {
		t.Errorf("the flow ended by %v", e.Reason)
	}
	p.Drain(t.Context()) // nothing is left to wait for
}

// TestChange lets new flows be another Handler's, and old ones stay with theirs.
func TestChange(t *testing.T) {
	one, two := echo(t, "127.0.0.1:0"), echo(t, "127.0.0.1:0")
	h1, h2 := newStub(to(one)), newStub(to(two))
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h1})
	at := netip.MustParseAddrPort(p.Addr())
	a, b := dialTo(t, at), dialTo(t, at)
	send(t, a, []byte("a"))
	receive(t, a)
	p.Change(Options{Handler: h2})
	for _, c := range []*net.UDPConn{a, b} {
		send(t, c, []byte("b"))
		receive(t, c)
	}
	p.Close()
	e1, e2 := h1.ends(t, 1), h2.ends(t, 1)
	if len(e1) != 1 || len(e2) != 1 || e1[0].upstream != one || e2[0].upstream != two || e1[0].received.Datagrams != 2 {
		t.Errorf("ended %+v and %+v", e1, e2)
	}
}

// TestKernelDrops counts what the kernel had no room for.
func TestKernelDrops(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	gate := make(chan struct{})
	h := newStub(func(*Datagram) Decision {
		<-gate
		return Decision{Verdict: Forward, Upstream: addrOf(up)}
	})
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	big, sent := make([]byte, 60000), uint64(0)
	for range 400 {
		send(t, c, big)
		sent++
	}
	close(gate)
	until(t, "the count of all datagrams", func() bool {
		n := p.Counts()
		return n.Drops[DropKernel] > 0 && n.Received.Datagrams+n.Drops[DropKernel] == sent
	})
	before := p.Counts().Drops[DropKernel]
	p.Close()
	if n := p.Counts().Drops[DropKernel]; n < before {
		t.Errorf("%d drops after closing, %d before", n, before)
	}
}

func TestTake(t *testing.T) {
	before := descriptors(t)
	up := echo(t, "127.0.0.1:0")
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Take(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Limits{}).Serve([]*Socket{s}, Options{Handler: newStub(to(up))})
	if err != nil {
		t.Fatal(err)
	}
	d := dialTo(t, s.Addr())
	send(t, d, []byte("x"))
	receive(t, d)
	p.Close()
	// The echo's and the client's sockets are left.
	if n := descriptors(t); n > before+3 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	// What cannot be served stays the caller's.
	if _, err := New(Limits{}).Serve(nil, Options{}); err == nil {
		t.Error("serving nothing is no error")
	}
	if _, err := Bind(netip.MustParseAddrPort("192.0.2.1:0"), 2); err == nil {
		t.Error("binding an address that is not ours is no error")
	}
}

func TestNamesOfReasons(t *testing.T) {
	for r := Idle; r <= Closing; r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
	seen := make(map[string]bool)
	for i, name := range DropNames() {
		if name == "" || seen[name] || DropReason(i).String() != name {
			t.Errorf("drop reason %d is named %q", i, name)
		}
		seen[name] = true
	}
	if fmt.Sprint(Unreachable) != "unreachable" {
		t.Error("a reason prints as a number")
	}
}
