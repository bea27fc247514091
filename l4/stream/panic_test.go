package stream_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// TestPanics breaks what a stream relies upon, so that it panics at different
// points of its life: each time it lets go of everything, and is counted.
func TestPanics(t *testing.T) {
	tests := []struct {
		name   string
		broken func(s *l4.Session) // as the endpoint was picked
		relays bool
		panics uint64
	}{
		{"when it is connected", func(s *l4.Session) { s.Tries = nil }, false, 1},
		{"in the log", func(s *l4.Session) { s.Info = nil }, true, 2}, // of a hook, and of the access log
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			name := tt.name
			if secure {
				name += " over TLS"
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				log, err := telemetry.OpenLineLog(filepath.Join(t.TempDir(), "access.log"), &b.metrics.AccessLog, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				b.pipeline.AccessLog = log
				defer log.Close(context.Background())
				address, closed := watched(t, secure)
				route := b.route([]any{hook{upstream: tt.broken}}, address)
				if secure {
					route.Service.Identity = upstream.NewIdentity(upstream.IdentityConfig{Stream: true})
				}
				client, ours := b.conn()
				let := make(chan struct{})
				ours.OnClose(func(*l4.Conn) { close(let) })
				go b.server.ServeConn(ours, b.pipeline, route, config.TCP)
				if tt.relays {
					b.exchange(client.(*net.TCPConn), "hello", "hello")
				}
				_ = client.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.ReadAll(client); os.IsTimeout(err) {
					t.Error("the client's connection stays open")
				}
				for what, c := range map[string]<-chan struct{}{"the client's": let, "the upstream's": closed} {
					select {
					case <-c:
					case <-time.After(patience):
						t.Errorf("%s connection is not let go of", what)
					}
				}
				for end := time.Now().Add(patience); b.released.Load() == 0 && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				if n, panics := b.released.Load(), b.metrics.Panics.Load(); n != 1 || panics != tt.panics {
					t.Errorf("the snapshot was released %d times, %d panics are counted, want %d", n, panics, tt.panics)
				}
			})
		}
	}
}

// watched starts an upstream that serves one connection as echo does, and tells
// when that has ended.
func watched(t *testing.T, secure bool) (address string, closed <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	address = ln.Addr().String()
	if secure {
		ln = overTLS(t, ln)
	}
	ended := make(chan struct{})
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
			close(ended)
		}
	}()
	return address, ended
}
