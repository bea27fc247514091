package listeners

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// from dials the listener "web" from an address of the loopback.
func (f *fixture) from(addr string) net.Conn {
	f.t.Helper()
	at, ok := f.Addr("web")
	if !ok {
		f.t.Fatal("no listener web")
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.Dial("tcp", at.String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// proxySpec returns a listener that takes PROXY headers from 127.0.0.1.
func proxySpec() Spec {
	s := spec("web")
	s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s.Limits.HeaderTimeout = patience
	return s
}

const told = "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\n"

func TestProxyHeader(t *testing.T) {
	e := &echo{entered: make(chan *l4.Conn, 1)}
	f := newFixture(t, e)
	f.use(proxySpec())

	c := f.from("127.0.0.1")
	say(t, c, told)
	served(t, c)
	if got := <-e.entered; got.Client.String() != "203.0.113.7:56324" || got.Local.String() != "198.51.100.9:443" || got.Peer.String() != c.LocalAddr().String() {
		t.Errorf("info %+v", got.Info)
	}

	// What another peer says is content.
	c = f.from("127.0.0.2")
	say(t, c, "P")
	p := make([]byte, 1)
	if _, err := io.ReadFull(c, p); err != nil || p[0] != 'P' {
		t.Errorf("got %q, %v", p, err)
	}
	if got := <-e.entered; got.Client != got.Peer || got.Peer.String() != c.LocalAddr().String() {
		t.Errorf("info %+v", got.Info)
	}
}

func TestProxyHeaderRefused(t *testing.T) {
	tests := []struct {
		name, sent string
		leaves     bool
		timeout    time.Duration
		counted    map[telemetry.Refusal]string
	}{
		{"missing", "GET / HTTP/1.1\r\n", false, patience, map[telemetry.Refusal]string{telemetry.RefusedProxyHeader: "1"}},
		{"malformed", "PROXY TCP4 203.0.113.7\r\n", false, patience, map[telemetry.Refusal]string{telemetry.RefusedProxyHeader: "1"}},
		{"late", "PROXY TCP4 ", false, 30 * time.Millisecond, map[telemetry.Refusal]string{telemetry.RefusedProxyLate: "1"}},
		{"left without a word", "", true, patience, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, &echo{})
			s := proxySpec()
			s.Limits.HeaderTimeout = tt.timeout
			f.use(s)
			c := f.from("127.0.0.1")
			say(t, c, tt.sent)
			if tt.leaves {
				c.Close()
			} else {
				ended(t, c)
			}
			await(t, func() bool { return f.metrics.Listener("web").Accepted.Load() == 1 })
			f.awaitActive("web", 0)
			for _, why := range []telemetry.Refusal{telemetry.RefusedProxyHeader, telemetry.RefusedProxyLate, telemetry.RefusedDraining} {
				want := tt.counted[why]
				if want == "" {
					want = "0"
				}
				if n := f.refused(why); n != want {
					t.Errorf("%v: %s counted, want %s", why, n, want)
				}
			}
		})
	}
}

// TestProxySharesByToldAddress shows that connections count under the address
// of whom the proxy speaks for.
func TestProxySharesByToldAddress(t *testing.T) {
	f := newFixture(t, &echo{})
	s := proxySpec()
	s.Limits.ConnectionsPerAddress = 1
	f.use(s)
	one, two, again := f.from("127.0.0.1"), f.from("127.0.0.1"), f.from("127.0.0.1")
	say(t, one, told)
	served(t, one)
	say(t, two, "PROXY TCP4 203.0.113.8 198.51.100.9 56324 443\r\n")
	served(t, two)
	say(t, again, told)
	ended(t, again)
	if n := f.refused(telemetry.RefusedPerAddress); n != "1" {
		t.Errorf("%s refusals counted, want 1", n)
	}
	f.awaitActive("web", 2)
	one.Close()
	f.awaitActive("web", 1)
	again = f.from("127.0.0.1")
	say(t, again, told)
	served(t, again)
}

// TestProxiesChangeInPlace shows that other proxies need no other socket.
func TestProxiesChangeInPlace(t *testing.T) {
	e := &echo{entered: make(chan *l4.Conn, 1)}
	f := newFixture(t, e)
	s := proxySpec()
	f.use(s)
	s = f.settled(s)
	s.Proxies = nil
	f.use(s)
	served(t, f.from("127.0.0.1"))
	<-e.entered
	s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	f.use(s)
	c := f.from("127.0.0.2")
	say(t, c, told)
	served(t, c)
	if got := <-e.entered; got.ClientIP != "203.0.113.7" {
		t.Errorf("client %q", got.ClientIP)
	}
}

// TestProxyHeaderAwaitedWhileDraining shows that a connection whose header is
// still to come does not hold a drain up.
func TestProxyHeaderAwaitedWhileDraining(t *testing.T) {
	f := newFixture(t, &echo{})
	s := proxySpec()
	f.use(s)
	c := f.from("127.0.0.1")
	f.awaitActive("web", 1)
	f.use()
	ended(t, c)
	if n := f.refused(telemetry.RefusedDraining); n != "1" {
		t.Errorf("%s refusals counted, want 1", n)
	}
}
