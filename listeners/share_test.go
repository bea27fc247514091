package listeners

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// TestShare lets clients come to a listener whose socket nobody needs.
func TestShare(t *testing.T) {
	tests := []struct {
		name    string
		limits  Limits
		clients []string
		want    []telemetry.Refusal // 0 stands for one that is let in
		banned  string
	}{
		{"no bound", Limits{}, []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, []telemetry.Refusal{0, 0, 0}, ""},
		{
			"for each client",
			Limits{ConnectionsPerAddress: 1},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"},
			[]telemetry.Refusal{0, telemetry.RefusedPerAddress, 0, 0, telemetry.RefusedPerAddress, 0},
			"",
		},
		{
			"for each network",
			Limits{ConnectionsPerNetwork: 2},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.3.1", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:1::1"},
			[]telemetry.Refusal{0, 0, telemetry.RefusedPerNetwork, 0, 0, 0, telemetry.RefusedPerNetwork, 0},
			"",
		},
		{
			"rate",
			Limits{NewConnectionsPerSecond: 2},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"},
			[]telemetry.Refusal{0, 0, telemetry.RefusedRate, 0, telemetry.RefusedRate},
			"",
		},
		{
			"rate with a ban",
			Limits{NewConnectionsPerSecond: 1, BanTime: time.Hour},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
			[]telemetry.Refusal{0, telemetry.RefusedRate, telemetry.RefusedBanned, 0},
			"192.0.2.1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := telemetry.NewMetrics(telemetry.Options{})
			s := NewSet(nil, new(l4.Bans), m, slog.New(slog.DiscardHandler))
			s.most.Store(1 << 20)
			tt.limits.Connections = 1 << 20
			l := newListener(s, Spec{Name: "web", Limits: tt.limits}, nil)
			local := netip.MustParseAddrPort("192.0.2.99:80")
			var in []*l4.Conn
			for i, client := range tt.clients {
				c := &l4.Conn{Info: l4.NewInfo("web", netip.AddrPortFrom(netip.MustParseAddr(client), 4711), local)}
				why, ok := l.enter(c, l.rules.Load(), false)
				if ok {
					in = append(in, c)
				}
				if ok != (tt.want[i] == 0) || why != tt.want[i] {
					t.Errorf("client %d, %s: let in %t, %s", i, client, ok, why)
				}
			}
			if tt.banned != "" != (s.bans.Len() == 1) || tt.banned != "" && !s.bans.Has(netip.MustParseAddr(tt.banned)) {
				t.Errorf("%d clients are banned", s.bans.Len())
			}
			for _, c := range in {
				l.leave(c)
			}
			if len(l.held) != 0 || len(l.conns) != 0 || s.open.Load() != 0 {
				t.Errorf("left behind: %v, %d connections", l.held, len(l.conns))
			}
		})
	}
}

// TestRatesOutliveChanges changes a listener: who has come too often by then has
// no more tokens after it.
func TestRatesOutliveChanges(t *testing.T) {
	s := NewSet(nil, new(l4.Bans), telemetry.NewMetrics(telemetry.Options{}), slog.New(slog.DiscardHandler))
	spec := Spec{Name: "web", Limits: Limits{NewConnectionsPerSecond: 5}}
	l := newListener(s, spec, nil)
	before := l.rules.Load().rates
	spec.Limits.Connections = 7
	l.change(spec)
	if l.rules.Load().rates != before {
		t.Error("another setting began the counts anew")
	}
	spec.Limits.NewConnectionsPerSecond = 6
	l.change(spec)
	if l.rules.Load().rates == before {
		t.Error("the old rate is in force")
	}
}

// rawEcho is an acceptor that tells which connections came by their descriptor.
type rawEcho struct{ echo }

func (a *rawEcho) ServeConn(ctx context.Context, c *l4.Conn) {
	word := "attached"
	if c.Raw() {
		word = "raw"
		fd, err := c.Detach()
		if err == nil {
			_, err = sock.WriteFD(fd, []byte(word))
		}
		sock.CloseFD(fd)
		if err != nil {
			panic(err)
		}
		c.Close()
		return
	}
	_, _ = io.WriteString(c, word)
	c.Close()
}

// TestRaw changes a listener between the two ways of accepting: connections that
// come meanwhile are served, whichever way they were accepted, and none is left
// counted.
func TestRaw(t *testing.T) {
	f := newFixture(t, new(rawEcho))
	web := spec("web")
	f.use(web)
	web = f.settled(web)
	for _, raw := range []bool{false, true, true, false, true} {
		web.Raw = raw
		f.use(web)
		for range 3 { // the first may still come by the way before
			c := f.dial("web")
			word, err := io.ReadAll(c)
			if err != nil || string(word) != "raw" && string(word) != "attached" {
				t.Errorf("read %q, %v", word, err)
			}
		}
	}
	c := f.dial("web")
	if word, err := io.ReadAll(c); err != nil || string(word) != "raw" {
		t.Errorf("read %q, %v of a listener that was raw for long", word, err)
	}
	for end := time.Now().Add(patience); f.open.Load() != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d connections are counted", f.open.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

// TestRawSettings holds what a connection has that was accepted by its
// descriptor.
func TestRawSettings(t *testing.T) {
	ln, err := bind(spec("web"))
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(newFixture(t, nil).Set, spec("web"), ln)
	defer l.stop()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := l.descriptor()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Read(func(listening uintptr) bool {
		fd, _, err = sock.AcceptFD(int(listening))
		return !errors.Is(err, syscall.EAGAIN)
	}); err != nil {
		t.Fatal(err)
	}
	defer sock.CloseFD(fd)
	for name, o := range map[string][3]int{
		"TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15}, "TCP_KEEPCNT": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
	} {
		if v, err := unix.GetsockoptInt(fd, o[0], o[1]); err != nil || v != o[2] {
			t.Errorf("%s is %d, %v, want %d", name, v, err, o[2])
		}
	}
}
