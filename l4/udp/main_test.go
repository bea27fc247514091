package udp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds what must happen, however busy the machine is.
const patience = 20 * time.Second

// stub is a Handler made of functions.
type stub struct {
	admit   func(d *Datagram) Decision
	resolve func(ctx context.Context, d *Datagram, cookie any) Decision
	next    func(payload []byte, cookie any) Decision

	mu     sync.Mutex
	closed []ended
	wake   chan struct{}
}

// ended is what Closed was told.
type ended struct {
	End
	client, upstream               netip.AddrPort
	received, sent                 Traffic
	upstreamReceived, upstreamSent Traffic
	cookie                         any
	silent                         time.Duration // since the last datagram
}

func newStub(admit func(d *Datagram) Decision) *stub {
	return &stub{admit: admit, wake: make(chan struct{}, 1)}
}

// to forwards everything.
func to(upstream netip.AddrPort) func(*Datagram) Decision {
	return func(*Datagram) Decision { return Decision{Verdict: Forward, Upstream: upstream} }
}

func (s *stub) Admit(d *Datagram) Decision { return s.admit(d) }

func (s *stub) Resolve(ctx context.Context, d *Datagram, cookie any) Decision {
	return s.resolve(ctx, d, cookie)
}

func (s *stub) Next(payload []byte, cookie any) Decision { return s.next(payload, cookie) }

func (s *stub) Closed(f *Flow, end End) {
	s.mu.Lock()
	s.closed = append(s.closed, ended{
		End: end, client: f.Client(), upstream: f.Upstream(), received: f.Received(), sent: f.Sent(),
		upstreamReceived: f.UpstreamReceived(), upstreamSent: f.UpstreamSent(), cookie: f.Cookie,
		silent: time.Duration(f.lane.loop.Now() - f.Last()),
	})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ends waits until n flows have ended, and returns them.
func (s *stub) ends(t testing.TB, n int) []ended {
	t.Helper()
	for deadline := time.After(patience); ; {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if len(closed) >= n {
			return closed
		}
		select {
		case <-s.wake:
		case <-deadline:
			t.Fatalf("%d flows have ended, want %d", len(closed), n)
		}
	}
}

// serve opens a listener with n sockets for the test.
func serve(t testing.TB, e *Engine, addr string, n int, o Options) *Port {
	t.Helper()
	sockets, err := Bind(netip.MustParseAddrPort(addr), n)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Serve(sockets, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// listen opens a plain socket.
func listen(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort {
	ap := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// echo answers every datagram with itself until the test ends.
func echo(t testing.TB, addr string) netip.AddrPort {
	t.Helper()
	c := listen(t, addr)
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
	return addrOf(c)
}

// dialTo opens a client's socket.
func dialTo(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c *net.UDPConn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next datagram.
func receive(t testing.TB, c *net.UDPConn) []byte {
	t.Helper()
	b := make([]byte, 65536)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("waiting for a datagram: %v", err)
	}
	return b[:n]
}

// until waits for a condition that others bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting in vain: %s", what)
		}
	}
}

// descriptors counts what the process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
