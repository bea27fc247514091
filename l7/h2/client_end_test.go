package h2

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// until waits for something that other goroutines bring about.
func (c *calling) until(what string, done func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// TestCallCloseWakesSender shows that the end of a call ends a write that waits for
// the upstream's window.
func TestCallCloseWakesSender(t *testing.T) {
	c := startCalling(t)
	ca := c.open().(*call)
	head := &l7.CallHead{Method: "POST", Scheme: "http", Authority: "a.test", Path: "/", Timeout: patience}
	if err := ca.Send(head, nil, false); err != nil {
		t.Fatal(err)
	}
	c.accept()
	done := make(chan error, 1)
	go func() { done <- ca.Write(make([]byte, 1<<20), true, time.Hour) }()
	c.until("a sender that waits", func() bool {
		ca.c.mu.Lock()
		defer ca.c.mu.Unlock()
		return ca.sending
	})
	ca.Close(false)
	select {
	case err := <-done:
		if !errors.Is(err, l7.ErrStopped) {
			t.Errorf("the write ends with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the write still waits")
	}
}

// TestCallIdleBounded shows that no more connections are kept without calls than
// there may be, and that the others stay.
func TestCallIdleBounded(t *testing.T) {
	c := startCalling(t)
	s := *c.client.settings.Load()
	s.Idle = 1
	c.client.SetSettings(s)
	var calls []l7.Call
	var peers []*peerConn
	for range 3 {
		calls = append(calls, c.ask())
		p := c.accept()
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		for !p.until(t, http2.FrameSettings).(*http2.SettingsFrame).IsAck() {
		}
		p.head(1, true, ":status", "200")
		peers = append(peers, p)
	}
	for _, call := range calls {
		if text, err := outcome(call); text != "2 " || err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		call.Close(false)
	}
	for _, p := range peers[1:] {
		p.until(t, http2.FrameGoAway)
	}
	c.until("one connection that is left", func() bool { return c.client.Connections() == 1 })
	for range 2 { // it counts in and out
		call := c.ask()
		f := peers[0].until(t, http2.FrameHeaders)
		if f.Header().StreamID == 1 {
			f = peers[0].until(t, http2.FrameHeaders)
		}
		peers[0].head(f.Header().StreamID, true, ":status", "200")
		if text, err := outcome(call); text != "2 " || err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		call.Close(false)
	}
}

// TestCallIdleCounts shows that an idle connection is counted as long as it is one.
func TestCallIdleCounts(t *testing.T) {
	c := startCalling(t)
	ca := c.ask().(*call)
	g := ca.c.group
	for range 2 {
		if n := g.idle.Load(); n != 0 {
			t.Fatalf("%d idle connections with a call", n)
		}
		ca.Close(false)
		if n := g.idle.Load(); n != 1 {
			t.Fatalf("%d idle connections without a call", n)
		}
		ca = c.ask().(*call)
	}
	ca.Close(false)
	c.client.Close()
	if n := g.idle.Load(); n != 0 {
		t.Errorf("%d idle connections of none", n)
	}
}

// TestCallNotOnEnding shows that no call begins on a connection that is found idle
// for too long, or silent.
func TestCallNotOnEnding(t *testing.T) {
	for name, age := range map[string]func(c *clientConn){
		"idle":   func(c *clientConn) { c.idleSince -= int64(patience) },
		"silent": func(c *clientConn) { c.pinged = 1 - int64(suspectFor) },
	} {
		t.Run(name, func(t *testing.T) {
			c := startCalling(t)
			ca := c.ask().(*call)
			ca.Close(false)
			conn := ca.c
			conn.mu.Lock()
			age(conn)
			conn.look(sock.Now())
			conn.pinged = 0
			conn.mu.Unlock()
			if conn.begin() != nil {
				t.Error("a call begins")
			}
		})
	}
}

// TestCallLastWord shows that an upstream that does not read holds nobody up: not
// who ends the connection, and its end no longer than the last word may take.
func TestCallLastWord(t *testing.T) {
	c := startCalling(t)
	ca := c.ask().(*call)
	conn := ca.c
	c.accept()
	c.until("nothing to send", func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return !conn.writing && len(conn.out) == 0
	})
	_ = conn.nc.Socket().TCPConn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	for b := make([]byte, 1<<20); ; {
		if _, err := conn.nc.Socket().TCPConn.Write(b); err != nil {
			break
		}
	}
	conn.nc.Socket().SetWriteTimeout(time.Hour)
	done := make(chan struct{})
	go func() { ca.Close(false); conn.mu.Lock(); conn.fail(errLeft); conn.mu.Unlock(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		conn.nc.Close()
		t.Fatal("who ends the connection waits for the upstream")
	}
	c.until("its end", func() bool { return c.client.Connections() == 0 })
}

// TestAnswerFaults shows what an upstream is told that breaks rules of which the
// call need not learn.
func TestAnswerFaults(t *testing.T) {
	large := strings.Repeat("b", 9<<10)
	for _, tt := range []struct {
		name string
		say  func(p *peerConn)
		code http2.ErrCode
		call bool // the call alone ends
	}{
		{"content behind the end", func(p *peerConn) {
			p.head(1, true, ":status", "200")
			_ = p.WriteData(1, true, []byte("x"))
		}, http2.ErrCodeStreamClosed, false},
		{"a head behind the end", func(p *peerConn) {
			p.head(1, true, ":status", "200")
			p.head(1, true, "a", "b")
		}, http2.ErrCodeStreamClosed, false},
		{"push", func(p *peerConn) { _ = p.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1}) }, http2.ErrCodeProtocol, false},
		{"interim heads too large together", func(p *peerConn) {
			p.head(1, false, ":status", "103", "a", large)
			p.head(1, false, ":status", "103", "a", large)
		}, http2.ErrCodeEnhanceYourCalm, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCalling(t)
			call := c.ask()
			defer call.Close(false)
			p := c.accept()
			_ = p.WriteSettings()
			p.until(t, http2.FrameHeaders)
			tt.say(p)
			if tt.call {
				if f := p.until(t, http2.FrameRSTStream).(*http2.RSTStreamFrame); f.ErrCode != tt.code {
					t.Errorf("the reset says %v", f.ErrCode)
				}
				return
			}
			for { // the connection ends; a write under way may leave no room for the GOAWAY
				f, err := p.ReadFrame()
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the connection goes on")
				}
				if err != nil {
					return
				}
				if f, ok := f.(*http2.GoAwayFrame); ok {
					if f.ErrCode != tt.code {
						t.Errorf("the GOAWAY says %v", f.ErrCode)
					}
					return
				}
			}
		})
	}
}
