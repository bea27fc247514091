package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/port"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// balance gives the fixture's service a balancer of another making, over the
// origins it has.
func (f *fixture) balance(change func(s *upstream.Spec)) *upstream.Balancer {
	f.t.Helper()
	var spec upstream.Spec
	for _, target := range f.service.Balancer.Health().Targets {
		spec.Targets = append(spec.Targets, target.Target)
	}
	change(&spec)
	f.service.Balancer = upstream.NewBalancer(f.set, spec, nil)
	return f.service.Balancer
}

// strict are checks that one failure of any kind changes.
func strict(s *upstream.Spec) {
	s.Checks = upstream.Checks{On: true, Passive: upstream.CheckRules{
		HTTPFailures: 1, TCPFailures: 1, Timeouts: 1, Unhealthy: upstream.NewStatusSet([]int{500}),
	}}
}

// TestReports shows what an endpoint is told of a try.
func TestReports(t *testing.T) {
	const (
		refused  = "traffic: 1 connection failures"
		timedOut = "traffic: 1 timeouts"
		status   = "traffic: 1 answers, the last of status 500"
	)
	once := func(text string) func(int, *client) {
		return func(_ int, c *client) {
			if c.request() != nil {
				c.say(text)
			}
		}
	}
	hang := func(_ int, c *client) {
		c.request()
		c.request() // until the edge closes
	}
	leave := func(x *l7.Exchange) { x.Wire.(*wire).departed.Store(true) }
	tests := []struct {
		name   string
		origin func(int, *client)
		change func(x *l7.Exchange)
		hook   any
		want   string
	}{
		{"an answer", always(ok), nil, nil, ""},
		{"a status that counts", always("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), nil, nil, status},
		{"a status that does not", always("HTTP/1.1 502 Oops\r\nContent-Length: 0\r\n\r\n"), nil, nil, ""},
		{"the first head that is final", once("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), nil, nil, status},
		{"refused", nil, nil, nil, refused},
		{"closed without an answer", once(""), nil, nil, refused},
		{"closed within the head", once("HTTP/1.1 200"), nil, nil, refused},
		{"closed within the content", once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), nil, nil, ""},
		{"no HTTP", once("nonsense\r\n\r\n"), nil, nil, refused},
		{"a switch unasked", once("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), nil, nil, refused},
		{"silent", hang, nil, nil, timedOut},
		{"the client leaves", hang, leave, nil, ""},
		{"a hook answers in place of it", always(ok), nil, onTry(func(x *l7.Exchange) l7.Verdict {
			return x.Reply(l7.NewReply(500, "text/plain", nil))
		}), ""},
		{"a hook replaces its answer", always("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), nil, onResponse(func(x *l7.Exchange) l7.Verdict {
			return x.Reply(l7.NewReply(200, "text/plain", nil))
		}), status},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var hooks []any
			if tt.hook != nil {
				hooks = append(hooks, tt.hook)
			}
			o := refusing(t)
			if tt.origin != nil {
				o = newOrigin(t, tt.origin)
			}
			f := newFixture(t, hooks, o)
			f.service.Tries = 1
			if tt.want == timedOut {
				f.service.ReadTimeout = 50 * time.Millisecond
			}
			b := f.balance(strict)
			f.do("GET", tt.change)
			got := b.Health().Targets[0].Addresses[0]
			if got.Why != tt.want || (got.State == upstream.HealthUnhealthy) != (tt.want != "") {
				t.Errorf("%s because of %q, want %q", got.State, got.Why, tt.want)
			}
			if tt.want != "" {
				f.want(f.do("GET", nil), problem(503, textNoPeer))
			}
		})
	}
}

// TestReportsNotOurs shows that a connection which the end of a drain prevents
// is no failure of the endpoint.
func TestReportsNotOurs(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always(ok)))
	f.service.Tries = 1
	b := f.balance(strict)
	f.set.StopDialing()
	if w := f.do("GET", nil); w.status != 502 {
		t.Errorf("answered %v, want 502", w)
	}
	if got := b.Health().Targets[0].Addresses[0]; got.State != upstream.HealthHealthy {
		t.Errorf("%s because of %q", got.State, got.Why)
	}
}

// refusing is an origin that nobody listens at.
func refusing(t *testing.T) *origin {
	t.Helper()
	return &origin{at: netip.MustParseAddrPort(port.Lasting(t))}
}

// TestPassiveHealth shows that an endpoint that refuses costs one client's
// request one try, and later ones none.
func TestPassiveHealth(t *testing.T) {
	f := newFixture(t, nil, refusing(t), newOrigin(t, always(ok)))
	f.balance(strict)
	total := 0
	for range 20 {
		w, tries := f.exchange("POST", nil)
		f.want(w, `200 "ok"`)
		total += len(tries)
	}
	if total != 21 {
		t.Errorf("%d tries for 20 requests, want 21", total)
	}
}

// TestLatency shows that the latency of answers is what the algorithm goes by.
func TestLatency(t *testing.T) {
	slow := newOrigin(t, func(_ int, c *client) {
		for c.request() != nil {
			timer := time.NewTimer(30 * time.Millisecond)
			<-timer.C
			c.say(ok)
		}
	})
	quick := newOrigin(t, always(ok))
	f := newFixture(t, nil, slow, quick)
	f.balance(func(s *upstream.Spec) { s.Algorithm = upstream.Latency })
	got := make(map[string]int)
	for range 60 {
		_, tries := f.exchange("GET", nil)
		got[tries[0].Addr.String()]++
	}
	// Until both are measured they are taken by chance.
	if n := got[slow.at.String()]; n > 30 {
		t.Errorf("%d of 60 requests went to the slow one", n)
	}
}

func TestRetryBudget(t *testing.T) {
	f := newFixture(t, nil, refusing(t))
	f.service.Tries = 2
	f.balance(func(s *upstream.Spec) { s.Resilience.Retry = upstream.RetryBudget{Percent: 1} })
	total := 0
	const requests = 40
	for range requests {
		w, tries := f.exchange("GET", nil)
		f.want(w, problem(502, textInvalid))
		total += len(tries)
	}
	if total != requests+20 || f.metrics.UpstreamRetries.Load() != 20 || f.metrics.UpstreamRetriesRefused.Load() != requests-20 {
		t.Errorf("%d tries, %d retries and %d refused ones, want 20 retries of %d", total, f.metrics.UpstreamRetries.Load(), f.metrics.UpstreamRetriesRefused.Load(), requests)
	}
}

// TestConnectionBound shows that a request that is under way takes its
// endpoint's only place, and gives it back however it ends.
func TestConnectionBound(t *testing.T) {
	began, proceed := make(chan struct{}), make(chan struct{})
	o := newOrigin(t, func(_ int, c *client) {
		for r := c.request(); r != nil; r = c.request() {
			if r.Header.Get("X-Wait") != "" {
				began <- struct{}{}
				<-proceed
			}
			c.say(ok)
		}
	})
	f := newFixture(t, []any{onResponse(func(x *l7.Exchange) l7.Verdict {
		if _, ok := x.Req.Header.Get("X-Panic"); ok && x.Proxied {
			panic("out of order")
		}
		return l7.Next
	})}, o)
	f.balance(func(s *upstream.Spec) { s.Resilience.Connections = 1 })
	done := make(chan string)
	go func() {
		done <- f.do("GET", func(x *l7.Exchange) { x.Req.Header.Add("X-Wait", "1") }).String()
	}()
	<-began
	over := f.metrics.Terminations.Load(int(l7.ReasonOverLimit))
	f.want(f.do("GET", nil), problem(503, textUnavailable))
	if n := f.metrics.Terminations.Load(int(l7.ReasonOverLimit)) - over; n != 1 {
		t.Errorf("%d terminations of reason over_limit", n)
	}
	close(proceed)
	if got := <-done; got != `200 "ok"` {
		t.Errorf("the request within the bound: %s", got)
	}
	f.want(f.do("GET", func(x *l7.Exchange) { x.Req.Header.Add("X-Panic", "1") }), problem(500, "An unexpected error occurred"))
	f.want(f.do("GET", nil), `200 "ok"`)
}

// TestDialBound fills an endpoint's place for connections being opened between
// the pick and the dial: another endpoint is taken, and without one the answer
// is 503.
func TestDialBound(t *testing.T) {
	for _, origins := range []int{1, 2} {
		t.Run(fmt.Sprint(origins), func(t *testing.T) {
			var list []*origin
			for range origins {
				list = append(list, newOrigin(t, always(ok)))
			}
			var b *upstream.Balancer
			var full *upstream.Endpoint
			f := newFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict {
				for _, e := range b.Endpoints() {
					if full == nil && e.Addr == x.Tries[0].Addr {
						full = e
						if !e.BeginDial() {
							t.Error("the place is taken already")
						}
					}
				}
				return l7.Next
			})}, list...)
			b = f.balance(func(s *upstream.Spec) { s.Resilience.Pending = 1 })
			w, tries := f.exchange("POST", nil)
			if tries[0].Err == nil || !errors.Is(tries[0].Err, upstream.ErrOverLimit) {
				t.Errorf("the first try: %v, want ErrOverLimit", tries[0].Err)
			}
			if origins == 1 {
				f.want(w, problem(503, textUnavailable))
			} else {
				f.want(w, `200 "ok"`)
			}
			full.EndDial()
			f.want(f.do("GET", nil), `200 "ok"`)
		})
	}
}

// TestPendingEverywhere lets every endpoint be opening as many connections as it
// may: the request is answered at once, and costs no retry. One with an idle
// connection serves all the same.
func TestPendingEverywhere(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always(ok)), newOrigin(t, always(ok)), newOrigin(t, always(ok)))
	b := f.balance(func(s *upstream.Spec) {
		s.Resilience.Pending = 1
		s.Resilience.Retry = upstream.RetryBudget{Percent: 1}
	})
	for _, e := range b.Endpoints() {
		if !e.BeginDial() {
			t.Fatal("the place is taken already")
		}
	}
	for range 50 { // more than the budget could have paid for
		w, tries := f.exchange("POST", nil)
		f.want(w, problem(503, textUnavailable))
		if len(tries) != 1 || tries[0].Err.Reason != l7.ReasonPending {
			t.Fatalf("%d tries, the first: %v", len(tries), tries[0].Err)
		}
	}
	if n, refused := f.metrics.UpstreamRetries.Load(), f.metrics.UpstreamRetriesRefused.Load(); n != 0 || refused != 0 {
		t.Errorf("%d retries, %d refused", n, refused)
	}
	all := b.Endpoints()
	all[0].EndDial()
	f.want(f.do("GET", nil), `200 "ok"`) // leaves an idle connection
	all[0].BeginDial()
	for range 10 {
		f.want(f.do("GET", nil), `200 "ok"`)
	}
}

// TestHashCookie shows that a client without the cookie is given one, and that
// with it its requests go where the first one went.
func TestHashCookie(t *testing.T) {
	var origins []*origin
	for range 5 {
		origins = append(origins, newOrigin(t, always(ok)))
	}
	f := newFixture(t, nil, origins...)
	f.service.Hash = &l7.HashPolicy{On: l7.HashSource{Kind: l7.HashCookie, Name: "sid"}, CookiePath: "/"}
	f.balance(func(s *upstream.Spec) { s.Algorithm = upstream.ConsistentHashing })
	for range 20 {
		w, first := f.exchange("GET", nil)
		set, _ := w.head.Get("Set-Cookie")
		pair, attributes, _ := strings.Cut(set, ";")
		if !strings.HasPrefix(pair, "sid=") || attributes != " Path=/; Same-Site=Lax; HttpOnly" {
			t.Fatalf("Set-Cookie: %q", set)
		}
		w, second := f.exchange("GET", func(x *l7.Exchange) { x.Req.Header.Add("Cookie", "a=b; "+pair) })
		if set, ok := w.head.Get("Set-Cookie"); ok {
			t.Errorf("a client with the cookie is given another: %q", set)
		}
		if first[0].Addr != second[0].Addr {
			t.Errorf("with %s: %v and then %v", pair, first[0].Addr, second[0].Addr)
		}
	}
}

// TestHashRetry shows that a client keeps its new cookie over tries.
func TestHashRetry(t *testing.T) {
	f := newFixture(t, nil, refusing(t), newOrigin(t, always(ok)))
	f.service.Hash = &l7.HashPolicy{On: l7.HashSource{Kind: l7.HashCookie, Name: "sid"}, CookiePath: "/"}
	f.balance(func(s *upstream.Spec) { s.Algorithm = upstream.ConsistentHashing })
	for range 10 {
		w := f.do("GET", nil)
		f.want(w, `200 "ok"`)
		n := 0
		for _, field := range w.head.Fields() {
			if field.ID == l7.FieldSetCookie {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d cookies were set", n)
		}
	}
	if f.metrics.UpstreamRetries.Load() == 0 {
		t.Error("no request met the endpoint that refuses")
	}
}
