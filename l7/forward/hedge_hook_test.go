package forward

import (
	"errors"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// TestHedgeHooks shows that Upstream hooks run for a hedge as for any try, may
// answer in its place, and leave nothing behind when they panic.
func TestHedgeHooks(t *testing.T) {
	for _, tt := range []struct {
		name, want, states string
		second             func(x *l7.Exchange) l7.Verdict
	}{
		{"go on", `200 "2"`, "cancelled, hedge ok", func(x *l7.Exchange) l7.Verdict {
			x.UpstreamHeader().Set("X-Try", "2")
			return l7.Next
		}},
		{"answer", `418 "teapot"`, "cancelled, hedge nothing", func(x *l7.Exchange) l7.Verdict {
			return x.Reply(l7.NewReply(418, "text/plain", []byte("teapot")))
		}},
		{"fail", problem(500, "An unexpected error occurred"), "cancelled, hedge nothing", func(x *l7.Exchange) l7.Verdict {
			return x.Fail(errors.New("broken"))
		}},
		{"panic", problem(500, "An unexpected error occurred"), "nothing, hedge nothing", func(*l7.Exchange) l7.Verdict { panic("out of order") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			closed := make(chan struct{})
			slow := newOrigin(t, func(_ int, c *client) {
				c.request()
				c.request()
				close(closed)
			})
			quick := newOrigin(t, func(_ int, c *client) {
				for r := c.request(); r != nil; r = c.request() {
					c.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + r.Header.Get("X-Try"))
				}
			})
			f := newHedgeFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict {
				if len(x.Tries) == 2 {
					return tt.second(x)
				}
				return l7.Next
			})}, slow, quick)
			w, tries := f.exchange("GET", nil)
			f.want(w, tt.want)
			if got := states(tries); got != tt.states {
				t.Errorf("tries: %s, want %s", got, tt.states)
			}
			<-closed
			f.idle()
		})
	}
}

// TestHedgeResponseHooks shows what becomes of connections when a hook replaces
// the answer of a hedge, or panics.
func TestHedgeResponseHooks(t *testing.T) {
	for name, hook := range map[string]func(x *l7.Exchange) l7.Verdict{
		"replaces": func(x *l7.Exchange) l7.Verdict { return x.Reply(l7.NewReply(418, "text/plain", nil)) },
		"panics":   func(x *l7.Exchange) l7.Verdict { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newHedgeFixture(t, []any{onResponse(func(x *l7.Exchange) l7.Verdict {
				if x.Proxied {
					return hook(x)
				}
				return l7.Next
			})}, newOrigin(t, hangAfter("")), newOrigin(t, always(ok)))
			if w := f.do("GET", nil); w.status != 418 && w.status != 500 {
				t.Errorf("answered %v", w)
			}
			if n := f.set.Idle(); n != 0 {
				t.Errorf("%d idle connections", n)
			}
			f.idle()
		})
	}
}

// TestHedgeLatency shows that a first try which is overtaken counts as slow with
// the algorithm that goes by latency, though it never had an answer.
func TestHedgeLatency(t *testing.T) {
	slow := newOrigin(t, hangAfter(""))
	f := newFixture(t, nil, slow, newOrigin(t, always(ok)))
	f.balance(func(s *upstream.Spec) {
		hedging(s)
		s.Algorithm = upstream.Latency
	})
	f.deposit()
	slowFirst := 0
	for range 60 {
		w, tries := f.exchange("GET", nil)
		f.want(w, `200 "ok"`)
		if tries[0].Addr == slow.at {
			slowFirst++
		}
	}
	// Until both are measured they are taken by chance.
	if slowFirst > 30 {
		t.Errorf("%d of 60 requests went to the slow one", slowFirst)
	}
}

// TestHedgePanic shows that a panic on a runner's goroutine is counted, answered
// with 500, and leaves nothing behind.
func TestHedgePanic(t *testing.T) {
	f := newHedgeFixture(t, nil, newOrigin(t, hangAfter("")), newOrigin(t, always(ok)))
	f.balance(func(s *upstream.Spec) {
		hedging(s)
		s.Resilience.Hedge.Delay = time.Hour
		s.Resilience.Connections = 1000
	})
	l := leg{client: f.p.Forwarder.(*Client), service: f.service, method: "GET"}
	r := &race{events: make(chan event)}
	e, err := f.service.Balancer.Pick(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &runner{endpoint: e, service: f.service, client: l.client, method: l.method, request: []byte("GET")} // and no pool
	r.runners[0], r.entered = a, 1
	r.start(a)
	if got := <-r.events; got.runner != a || a.err == nil || a.err.Reason != l7.ReasonInternal {
		t.Errorf("event %v with error %v", got, a.err)
	}
	x := l7.NewExchange()
	defer x.Release()
	x.AddTry(e.Addr, 1)
	r.close(x)
	if got := states(x.Tries); got != "internal" || f.metrics.Panics.Load() != 1 {
		t.Errorf("tries: %s, %d panics", got, f.metrics.Panics.Load())
	}
	f.idle()
}
