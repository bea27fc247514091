package edge_test

import (
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
)

// counts waits until a reason of streams counts n.
func counts(t *testing.T, e *testkit.Edge, reason l4.Reason, n uint64) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := e.Metrics().Streams.Ends.Load(int(reason))
		if got == n {
			return
		}
		if got > n || time.Now().After(end) {
			t.Fatalf("%v counts %d, want %d", reason, got, n)
		}
	}
}

// TestBadHellos sends what is no hello: each is closed, counted, and leaves
// nothing behind.
func TestBadHellos(t *testing.T) {
	e := testkit.StartEdge(t, streamConfig(t))
	hello := "\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03"
	for _, tt := range []struct {
		name, listener, sent string
		closes               bool
	}{
		{"plain HTTP", "only", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"garbage", "only", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", false},
		{"garbage beside HTTPS", "both", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", false},
		{"too long", "only", "\x16\x03\x01\x3f\xf0\x01\x00\x3f\xec", false},
		{"too long beside HTTPS", "both", "\x16\x03\x01\x3f\xf0\x01\x00\x3f\xec", false},
		{"cut off", "only", hello, true},
		{"one that never ends", "both", hello, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := e.Metrics().Streams.Ends.Load(int(l4.ReasonBadHello))
			c := dialAt(t, e.At(tt.listener))
			if _, err := io.WriteString(c, tt.sent); err != nil {
				t.Fatal(err)
			}
			if tt.closes {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			if b, err := io.ReadAll(c); len(b) > 0 {
				t.Errorf("answered %q, %v", b, err)
			}
			counts(t, e, l4.ReasonBadHello, before+1)
		})
	}
	t.Run("without a word", func(t *testing.T) {
		before := e.Metrics().Streams.Ends.Load(int(l4.ReasonBadHello))
		c := dialAt(t, e.At("only"))
		c.Close()
		passed(t, e.At("only"), "pass.test") // by now it is gone too
		counts(t, e, l4.ReasonBadHello, before)
	})
	t.Run("a handshake that breaks off", func(t *testing.T) {
		c := dialAt(t, e.At("only"))
		if _, err := c.Write(helloOf("end.test")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		counts(t, e, l4.ReasonTLSHandshake, 1)
	})
}

// TestStreamPinsSnapshot shows that a stream keeps its snapshot over reloads, and
// that a drain cuts it when its time is over.
func TestStreamPinsSnapshot(t *testing.T) {
	text := streamConfig(t)
	e := testkit.StartEdge(t, text)
	c := dialFrom(t, "127.0.0.9", e.At("plain"))
	if got := line(t, c); got != "nine" {
		t.Fatalf("got %q", got)
	}
	old := e.Current()
	if err := e.Use(text + "  - {name: correlation-id}\n"); err != nil {
		t.Fatal(err)
	}
	if n := old.Users(); n != 1 {
		t.Errorf("the old snapshot is held %d times", n)
	}
	if _, err := io.WriteString(c, "on\n"); err != nil || line(t, c) != "on" {
		t.Errorf("the stream ended with the reload: %v", err)
	}
	c.Close()
	eventually(t, "the old snapshot to be held by nobody", func() bool { return old.Users() == 0 })

	// Without its listener a stream goes on until the drain is over.
	c = dialFrom(t, "127.0.0.9", e.At("plain"))
	line(t, c)
	if err := e.Use("node: {listeners: [], drain: 100ms}"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the stream was not ended in order: %v", err)
	}
	counts(t, e, l4.ReasonDraining, 1)
}

// TestUnroutedDatagramsAreQuiet sends datagrams that no route wants, that a plugin
// refuses, or that wait in vain for the address of their upstream, from ever new
// addresses, as anyone may make them up: each counts, few have a line.
func TestUnroutedDatagramsAreQuiet(t *testing.T) {
	const perSecond = 10
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tt := range []struct {
		name, host, route string
		reason            l4.Reason
		sent, atOnce      int // so many wait at a time
	}{
		{"no route", "127.0.0.1", "", l4.ReasonNoRoute, 300, 1},
		{"refused", "127.0.0.1", "routes: [{name: a, protocols: [udp], sources: [{ip: 127.0.0.0/8}], plugins: [{name: ip-restriction, protocols: [udp], config: {deny: [127.0.0.0/8]}}]}]", l4.ReasonRefused, 300, 1},
		{"no answer of a name server", "nowhere.test", "routes: [{name: a, protocols: [udp], sources: [{ip: 127.0.0.0/8}]}]", l4.ReasonNameResolution, 100, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, "node: {dns: {servers: ['"+silent.LocalAddr().String()+"'], order: [A], attempts: 1, timeout: 500ms, resolv_conf: off, hosts: off}, listeners: [{name: udp, address: '127.0.0.1:0', serve: udp}]}\n"+
				"services: [{name: a, url: 'udp://"+tt.host+":9', "+tt.route+"}]")
			for i := range tt.sent {
				c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i))}, net.UDPAddrFromAddrPort(e.At("udp")))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				c.Close()
				if (i+1)%tt.atOnce == 0 {
					counts(t, e, tt.reason, uint64(i+1))
				}
			}
			e.Stop()
			type line struct {
				Reason   string
				Started  int64 `json:"started_at"`
				Unlogged int
			}
			var lines []line
			told := 0
			for _, text := range e.AccessLog() {
				var l line
				if err := json.Unmarshal([]byte(text), &l); err != nil || l.Reason != tt.reason.String() {
					t.Fatalf("the line %q: %v", text, err)
				}
				lines = append(lines, l)
				told += 1 + l.Unlogged
			}
			if len(lines) < perSecond || told > tt.sent {
				t.Fatalf("%d lines that tell of %d datagrams, of %d", len(lines), told, tt.sent)
			}
			// However long it took, there is no more than the time allows.
			most := perSecond + 1 + int(lines[len(lines)-1].Started-lines[0].Started)*perSecond/1000
			if len(lines) > most {
				t.Errorf("%d lines, want at most %d", len(lines), most)
			}
		})
	}
}
