package stream_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/upstream"
)

// targetsOf returns the targets of addresses.
func targetsOf(t *testing.T, addrs []string) []upstream.Target {
	t.Helper()
	var all []upstream.Target
	for _, a := range addrs {
		at, err := net.ResolveTCPAddr("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, upstream.Target{Host: at.IP.String(), Port: uint16(at.Port), Weight: 1})
	}
	return all
}

// TestDialBound fills an endpoint's place for connections being opened between
// the pick and the dial: another endpoint is taken, which is no retry, and
// without one, or without retries, the stream ends.
func TestDialBound(t *testing.T) {
	tests := []struct {
		name           string
		targets, tries int
		reason         any
		logged         int
	}{
		{"another target", 3, 2, nil, 2},
		{"no other target", 1, 3, "over_limit", 1},
		{"no retries", 3, 1, "over_limit", 1},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			name := tt.name
			if secure {
				name += " over TLS"
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t)
				addrs := make([]string, tt.targets)
				for i := range addrs {
					if addrs[i] = echo(t); secure {
						addrs[i] = echoTLS(t)
					}
				}
				var route *l4.Route
				var full *upstream.Endpoint
				fill := hook{upstream: func(s *l4.Session) {
					if full == nil {
						full = s.Endpoint
						if !full.BeginDial() {
							t.Error("the place is taken already")
						}
					}
				}}
				route = b.route([]any{fill})
				route.Service.Tries = tt.tries
				route.Service.Balancer = upstream.NewBalancer(b.set, upstream.Spec{
					Targets:    targetsOf(t, addrs),
					Resilience: upstream.Resilience{Pending: 1, Retry: upstream.RetryBudget{Percent: 1}},
				}, nil)
				if secure {
					route.Service.Identity = upstream.NewIdentity(upstream.IdentityConfig{Stream: true})
				}
				client, ours := b.conn()
				go b.server.ServeConn(ours, b.pipeline, route, config.TCP)
				if tt.reason == nil {
					b.exchange(client.(*net.TCPConn), "hello", "hello")
				}
				e := b.entry()
				if tries := e["tries"].([]any); e["reason"] != tt.reason || len(tries) != tt.logged || tries[0].(map[string]any)["reason"] != "over_limit" {
					t.Errorf("log entry %v", e)
				}
				if n := b.metrics.UpstreamRetries.Load(); n != 0 {
					t.Errorf("%d retries are counted", n)
				}
				full.EndDial()
				for _, e := range route.Service.Balancer.Endpoints() {
					if !e.BeginDial() {
						t.Errorf("%v still counts a connection being opened", e.Addr)
					}
				}
			})
		}
	}
}

// echoTLS is echo over TLS.
func echoTLS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveEcho(t, overTLS(t, ln))
	return ln.Addr().String()
}

// overTLS lets a listener speak TLS.
func overTLS(t *testing.T, ln net.Listener) net.Listener {
	t.Helper()
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*cert}})
}

// TestManyTries makes more tries than are kept.
func TestManyTries(t *testing.T) {
	for _, n := range []int{32, 33, 100} {
		b := newBench(t)
		route := b.route(nil, deaf(t))
		route.Service.Tries = n
		_, _, closed := b.connect(route)
		e := b.entry()
		tries := e["tries"].([]any)
		var left any
		if n > 32 {
			left = float64(n - 32)
		}
		if len(tries) != 32 || e["tries_left_out"] != left || e["reason"] != "upstream_connect" {
			t.Errorf("%d tries: %d are logged and %v left out, reason %v", n, len(tries), e["tries_left_out"], e["reason"])
		}
		for i, try := range tries {
			if try.(map[string]any)["reason"] != "upstream_connect" {
				t.Errorf("%d tries: the one at %d is %v", n, i, try)
			}
		}
		if made := b.metrics.UpstreamRetries.Load() + 1; made != uint64(n) {
			t.Errorf("%d tries were made, want %d", made, n)
		}
		wantEnded(t, b, closed, 1)
	}
}
