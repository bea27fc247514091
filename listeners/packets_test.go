package listeners

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// parrot answers each datagram with the name of its listener and what it says. A
// flow is one client's; while the listener drains, those that are known are
// answered until ctx is over or one says "bye".
type parrot struct {
	echo

	serving chan *l4.Packets // every listener, if not nil
	ended   chan struct{}    // each end of ServePackets, if not nil
	panics  bool
}

func (p *parrot) ServePackets(ctx context.Context, l *l4.Packets) {
	if p.panics {
		panic("serving datagrams")
	}
	if p.serving != nil {
		p.serving <- l
	}
	var work sync.WaitGroup
	bye := make(chan struct{}, 1)
	for _, c := range l.Sockets {
		work.Go(func() {
			b := make([]byte, 512)
			known := make(map[netip.AddrPort]bool)
			for {
				n, from, err := c.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				select {
				case <-l.Draining:
					if !known[from] {
						continue
					}
				default:
				}
				known[from] = true
				_, _ = c.WriteToUDPAddrPort([]byte(l.Listener()+" "+string(b[:n])), from)
				if string(b[:n]) == "bye" {
					bye <- struct{}{}
				}
			}
		})
	}
	select {
	case <-ctx.Done():
	case <-bye:
	}
	for _, c := range l.Sockets {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	work.Wait()
	if p.ended != nil {
		p.ended <- struct{}{}
	}
}

func udp(name string) Spec {
	s := spec(name)
	s.Network = "udp"
	return s
}

func (f *fixture) dialUDP(name string) net.Conn {
	f.t.Helper()
	at, ok := f.Addr(name)
	if !ok {
		f.t.Fatalf("no listener %q", name)
	}
	c, err := net.Dial("udp", at.String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// says checks what c is answered.
func says(t *testing.T, c net.Conn, text, want string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Fatalf("answered %q, %v, want %q", b[:n], err, want)
	}
}

func TestPackets(t *testing.T) {
	p := &parrot{serving: make(chan *l4.Packets, 1)}
	f := newFixture(t, p)
	f.use(udp("dns"), spec("web"))
	l := <-p.serving
	if len(l.Sockets) != runtime.GOMAXPROCS(0) {
		t.Errorf("%d sockets for %d processors", len(l.Sockets), runtime.GOMAXPROCS(0))
	}
	for _, c := range l.Sockets {
		if at := addrOf(c); at != l.Local {
			t.Errorf("a socket is bound to %v, the listener to %v", at, l.Local)
		}
	}
	for range 8 { // clients that the kernel spreads over the sockets
		says(t, f.dialUDP("dns"), "hello", "dns hello")
	}
	served(t, f.dial("web"))
}

func TestPacketsOfBothFamilies(t *testing.T) {
	f := newFixture(t, &parrot{})
	s := udp("dns")
	s.Addr = netip.Addr{}
	f.use(s)
	at, _ := f.Addr("dns")
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(host), at.Port()).String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		says(t, c, "hello", "dns hello")
		c.Close()
	}
}

// TestPacketsAreKept shows that a listener that stays, be it by another name,
// keeps its sockets, while another of TCP takes its name.
func TestPacketsAreKept(t *testing.T) {
	p := &parrot{serving: make(chan *l4.Packets, 4)}
	f := newFixture(t, p)
	f.use(udp("dns"))
	l := <-p.serving
	same := f.settled(udp("dns"))
	c := f.dialUDP("dns")
	says(t, c, "a", "dns a")
	f.use(same)
	says(t, c, "b", "dns b")
	renamed, tcp := same, same
	renamed.Name, tcp.Name, tcp.Network, tcp.Port = "names", "dns", "", 0
	f.use(renamed, tcp)
	says(t, c, "c", "names c")
	served(t, f.dial("dns"))
	if l.Listener() != "names" {
		t.Errorf("the listener is called %q", l.Listener())
	}
	select {
	case <-l.Draining:
		t.Error("a listener that stays drains")
	case <-p.serving:
		t.Error("it was opened anew")
	default:
	}
}

func TestPacketsDrain(t *testing.T) {
	p := &parrot{ended: make(chan struct{}, 1)}
	f := newFixture(t, p)
	f.use(udp("dns"))
	at := f.settled(udp("dns"))
	c := f.dialUDP("dns")
	says(t, c, "a", "dns a")
	f.use()
	if _, ok := f.Addr("dns"); ok {
		t.Error("a listener that is gone has an address")
	}
	says(t, c, "b", "dns b") // its flow goes on
	says(t, c, "bye", "dns bye")
	<-p.ended
	f.awaitFree(at)
}

// awaitFree waits until the address of a listener can be had again.
func (f *fixture) awaitFree(s Spec) {
	f.t.Helper()
	s.Name = "again"
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		change, err := f.Prepare([]Spec{s}, 10)
		if err == nil {
			change.Discard()
			return
		}
		if time.Now().After(end) {
			f.t.Fatal(err)
		}
	}
}

func TestPacketsAreCut(t *testing.T) {
	p := &parrot{ended: make(chan struct{}, 1)}
	f := newFixture(t, p)
	f.use(udp("dns"))
	says(t, f.dialUDP("dns"), "a", "dns a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.Shutdown(ctx)
	select {
	case <-p.ended:
	default:
		t.Error("Shutdown did not wait")
	}
}

func TestPacketsTaken(t *testing.T) {
	f := newFixture(t, &parrot{})
	f.use(udp("dns"))
	other := f.settled(udp("dns"))
	g := newFixture(t, &parrot{})
	_, err := g.Prepare([]Spec{other}, 10)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), `for listener "dns"`) {
		t.Errorf("error %v", err)
	}
	if s := other; true {
		s.Name, s.Addr = "far", netip.MustParseAddr("192.0.2.1")
		if _, err := f.Prepare([]Spec{other, s}, 10); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("error %v", err)
		}
	}
	says(t, f.dialUDP("dns"), "still", "dns still")
}

func TestPacketsShared(t *testing.T) {
	f, g := newFixture(t, &parrot{}), newFixture(t, &parrot{})
	s := udp("dns")
	s.ReusePort = true
	f.use(s)
	s = f.settled(s)
	g.use(s)
	says(t, f.dialUDP("dns"), "a", "dns a")
}

func TestPacketsPanic(t *testing.T) {
	f := newFixture(t, &parrot{panics: true})
	f.use(udp("dns"))
	s := f.settled(udp("dns"))
	f.use()
	f.awaitFree(s)
	if n := f.metrics.Panics.Load(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

// holder takes connections over and lets ServeConn return.
type holder struct {
	parrot

	taken chan *l4.Conn
	late  bool // panics when it has taken one over
}

func (h *holder) ServeConn(_ context.Context, c *l4.Conn) {
	c.OnCut(func() { go c.Close() })
	h.taken <- c
	if h.late {
		panic("too late")
	}
}

// TestCountsUntilClosed shows that a connection counts until it is closed, not
// until ServeConn has returned.
func TestCountsUntilClosed(t *testing.T) {
	h := &holder{taken: make(chan *l4.Conn, 2)}
	f := newFixture(t, h)
	s := spec("web")
	s.Limits.Connections = 1
	f.use(s)
	f.dial("web")
	c := <-h.taken
	ended(t, f.dial("web"))
	if n := f.refused(telemetry.RefusedLimit); n != "1" {
		t.Errorf("%s connections refused", n)
	}
	var closes sync.WaitGroup
	for range 4 { // it counts off once
		closes.Go(func() { c.Close() })
	}
	closes.Wait()
	f.awaitActive("web", 0)
	served := f.dial("web")
	second := <-h.taken
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		f.Shutdown(ctx)
	}()
	ended(t, served)
	<-done
	if !second.Draining() {
		t.Error("it was not asked to end")
	}
	if n := f.metrics.Listener("web").Active.Load(); n != 0 {
		t.Errorf("%d connections count as open", n)
	}
}

func TestPanicAfterTakingOver(t *testing.T) {
	h := &holder{taken: make(chan *l4.Conn, 1), late: true}
	f := newFixture(t, h)
	f.use(spec("web"))
	ended(t, f.dial("web"))
	f.awaitActive("web", 0)
}
