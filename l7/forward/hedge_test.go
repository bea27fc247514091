package forward

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// hedging lets requests be hedged soon and without a bound.
func hedging(s *upstream.Spec) {
	s.Resilience.Hedge = upstream.Hedge{Delay: 20 * time.Millisecond, Budget: upstream.RetryBudget{Percent: 100}}
}

// newHedgeFixture is newFixture with endpoints that are hedged and whose health
// and load are watched.
func newHedgeFixture(t *testing.T, hooks []any, origins ...*origin) *fixture {
	t.Helper()
	f := newFixture(t, hooks, origins...)
	f.balance(func(s *upstream.Spec) {
		hedging(s)
		strict(s)
		s.Resilience.Connections = 1000
	})
	f.deposit()
	return f
}

// deposit counts a request into the budget of hedges, which is empty at first.
func (f *fixture) deposit() {
	f.t.Helper()
	for range 2 { // so that the turn is the first endpoint's again
		e, err := f.service.Balancer.Pick(nil)
		if err != nil {
			f.t.Fatal(err)
		}
		e.End()
	}
}

// idle checks that no try is counted as under way any more.
func (f *fixture) idle() {
	f.t.Helper()
	for _, target := range f.service.Balancer.Health().Targets {
		for _, a := range target.Addresses {
			if a.Open > 0 {
				f.t.Errorf("%d tries at %v are said to be under way", a.Open, a.Addr)
			}
		}
	}
}

// states tells of each try how it ended.
func states(tries []l7.Try) string {
	var all []string
	for i := range tries {
		s := "ok"
		switch try := &tries[i]; {
		case try.Err != nil:
			s = try.Err.Reason.String()
		case try.Cancelled:
			s = "cancelled"
		case try.Status == 0:
			s = "nothing"
		}
		if tries[i].Hedge {
			s = "hedge " + s
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// A hang of an origin: it says something and then nothing until the edge closes.
func hangAfter(text string) func(int, *client) {
	return func(_ int, c *client) {
		if c.request() != nil {
			c.say(text)
			c.request()
		}
	}
}

// deaf is an origin at which connections neither come about nor are refused.
func deaf(t *testing.T) *origin {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	for {
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return &origin{at: at}
		}
		t.Cleanup(func() { c.Close() })
	}
}

// TestHedge runs one request whose first try goes to one origin, and a second
// one, if there is any, to another.
func TestHedge(t *testing.T) {
	const early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	const nonsense = "nonsense\r\n\r\n"
	once := func(text string) func(int, *client) {
		return func(_ int, c *client) {
			if c.request() != nil {
				c.say(text)
			}
		}
	}
	hang := hangAfter("")
	tests := []struct {
		name          string
		first, second func(int, *client) // nil: connections are refused
		want          string
		states        string
		interims      []int
	}{
		{"quick", always(ok), hang, `200 "ok"`, "ok", nil},
		{"slow", hang, always(ok), `200 "ok"`, "cancelled, hedge ok", nil},
		{"half a head", hangAfter("HTTP/1.1 200 OK\r\nContent-"), always(ok), `200 "ok"`, "cancelled, hedge ok", nil},
		{"an interim and nothing more", hangAfter(early), always(ok), `200 "ok"`, "cancelled, hedge ok", []int{103}},
		{"an interim and half a head", hangAfter(early + "HTTP/1.1 2"), always(ok), `200 "ok"`, "cancelled, hedge ok", []int{103}},
		{"interims of the hedge", hang, always(early + early + "HTTP/1.1 100 Continue\r\n\r\n" + ok), `200 "ok"`, "cancelled, hedge ok", []int{103, 103}},
		{"a quick interim, then the answer", always(early + ok), hang, `200 "ok"`, "ok", []int{103}},
		{"the first final head wins, whatever it says", hang, always("HTTP/1.1 502 Oops\r\nContent-Length: 2\r\n\r\nno"), `502 "no"`, "cancelled, hedge ok", nil},
		{"refused at first", nil, always(ok), `200 "ok"`, "upstream_connect, ok", nil},
		{"closed at first", once(""), always(ok), `200 "ok"`, "upstream_closed, ok", nil},
		{"no HTTP at first", once(nonsense), always(ok), problem(502, textInvalid), "upstream_protocol", nil},
		{"a switch unasked", once("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), always(ok), problem(502, textInvalid), "upstream_protocol", nil},
		{"interims without end", once(strings.Repeat(early, maxInterims+1)), always(ok), problem(502, textInvalid), "upstream_protocol", slices.Repeat([]int{103}, maxInterims)},
		{"content broken off", hang, once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), `200 "half" aborted`, "cancelled, hedge upstream_closed", nil},
		{"chunked", hang, always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), `200 "ok"`, "cancelled, hedge ok", nil},
	}
	for _, tt := range tests {
		for _, kept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kept connections %v", tt.name, kept), func(t *testing.T) {
				var origins []*origin
				for _, serve := range []func(int, *client){tt.first, tt.second} {
					if serve == nil {
						origins = append(origins, refusing(t))
						continue
					}
					origins = append(origins, newOrigin(t, func(n int, c *client) {
						if n == 1 && kept { // the request that leaves a connection
							c.request()
							c.say(ok)
						}
						serve(n, c)
					}))
				}
				f := newHedgeFixture(t, nil, origins...)
				if !strings.Contains(tt.states, "hedge") { // however slow this machine is
					f.balance(func(s *upstream.Spec) {
						hedging(s)
						s.Resilience.Hedge.Delay = time.Hour
					})
				}
				if kept && tt.first != nil && tt.second != nil {
					for range 2 {
						f.want(f.do("POST", nil), `200 "ok"`)
					}
				}
				f.service.Tries = 2
				w, tries := f.exchange("GET", nil)
				f.want(w, tt.want)
				if got := states(tries); got != tt.states {
					t.Errorf("tries: %s, want %s", got, tt.states)
				}
				if !slices.Equal(w.interims, tt.interims) {
					t.Errorf("interims %v, want %v", w.interims, tt.interims)
				}
				f.idle()
				hedged := uint64(strings.Count(tt.states, "hedge"))
				if n, won := f.metrics.UpstreamHedges.Load(), f.metrics.UpstreamHedgesWon.Load(); n != hedged || won != hedged {
					t.Errorf("%d hedges, %d of them won; want %d", n, won, hedged)
				}
				if n := f.metrics.UpstreamHedgesRefused.Load(); n != 0 || f.metrics.Panics.Load() != 0 {
					t.Errorf("%d hedges were refused, %d panics", n, f.metrics.Panics.Load())
				}
			})
		}
	}
}

// TestHedgeLosesConnection shows that a connection on which an attempt has lost
// is closed, and one on which it has won is kept.
func TestHedgeLosesConnection(t *testing.T) {
	closed := make(chan struct{})
	slow := newOrigin(t, func(_ int, c *client) {
		c.request()
		c.request() // until the edge closes
		close(closed)
	})
	quick := newOrigin(t, always(ok))
	f := newHedgeFixture(t, nil, slow, quick)
	f.want(f.do("GET", nil), `200 "ok"`)
	<-closed
	if n := f.set.Idle(); n != 1 {
		t.Errorf("%d idle connections, want 1", n)
	}
}

// TestHedgeLoses shows that a first try which answers while a second one is under
// way is what the client gets.
func TestHedgeLoses(t *testing.T) {
	asked := make(chan struct{})
	first := newOrigin(t, func(_ int, c *client) {
		c.request()
		<-asked
		c.say(ok)
		c.request()
	})
	for name, second := range map[string]func(int, *client){
		"cancelled": func(_ int, c *client) {
			c.request()
			asked <- struct{}{}
			c.request()
		},
		"upstream_closed": func(_ int, c *client) {
			c.request()
			c.CloseWrite()
			c.request()
			asked <- struct{}{}
		},
		"upstream_protocol": func(_ int, c *client) {
			c.request()
			c.say("HTTP/1.1 2000 OK\r\n\r\n")
			c.request()
			asked <- struct{}{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newHedgeFixture(t, nil, first, newOrigin(t, second))
			w, tries := f.exchange("GET", nil)
			f.want(w, `200 "ok"`)
			if got, want := states(tries), "ok, hedge "+name; got != want {
				t.Errorf("tries: %s, want %s", got, want)
			}
			failed := 0
			if name != "cancelled" {
				failed = 1
			}
			unhealthy := 0
			for _, target := range f.service.Balancer.Health().Targets {
				if target.State == upstream.HealthUnhealthy {
					unhealthy++
				}
			}
			if n := f.metrics.UpstreamErrors.Load(int(l7.ReasonUpstreamClosed)) + f.metrics.UpstreamErrors.Load(int(l7.ReasonUpstreamProtocol)); int(n) != failed || unhealthy != failed {
				t.Errorf("%d errors and %d unhealthy endpoints, want %d", n, unhealthy, failed)
			}
			if won := f.metrics.UpstreamHedgesWon.Load(); won != 0 {
				t.Errorf("%d hedges won", won)
			}
			f.idle()
		})
	}
}

// TestHedgeOfDial shows that an endpoint at which not even a connection comes
// about is passed by, and that nothing is held against it.
func TestHedgeOfDial(t *testing.T) {
	f := newHedgeFixture(t, nil, deaf(t), newOrigin(t, always(ok)))
	w, tries := f.exchange("GET", nil)
	f.want(w, `200 "ok"`)
	if got := states(tries); got != "cancelled, hedge ok" {
		t.Errorf("tries: %s", got)
	}
	f.idle()
	for _, target := range f.service.Balancer.Health().Targets {
		if target.State != upstream.HealthHealthy {
			t.Errorf("%v is %s", target.Target, target.State)
		}
	}
}

// TestHedgeBothFail shows that a third try follows as it would without a hedge,
// and none beyond the service's retries.
func TestHedgeBothFail(t *testing.T) {
	for _, tries := range []int{2, 3} {
		t.Run(fmt.Sprint(tries), func(t *testing.T) {
			var asked atomic.Int32
			both := make(chan struct{})
			fails := func(_ int, c *client) {
				c.request()
				if asked.Add(1) == 2 {
					close(both)
				}
				<-both
			}
			first, second, third := newOrigin(t, fails), newOrigin(t, fails), newOrigin(t, always(ok))
			f := newFixture(t, nil, first, second, third)
			f.service.Tries = tries
			// Of a weight of next to nothing: never hedged to, but tried if all
			// others have been.
			targets := []upstream.Target{}
			for i, o := range []*origin{first, second, third} {
				targets = append(targets, upstream.Target{Host: "127.0.0.1", Port: o.at.Port(), Weight: []int{1 << 15, 1 << 15, 1}[i]})
			}
			spec := upstream.Spec{Targets: targets}
			hedging(&spec)
			spec.Algorithm = upstream.LeastConnections
			f.service.Balancer = upstream.NewBalancer(f.set, spec, nil)
			f.deposit()
			w, list := f.exchange("GET", nil)
			if tries == 2 {
				f.want(w, problem(502, textInvalid))
			} else {
				f.want(w, `200 "ok"`)
			}
			if len(list) != tries || list[0].Err == nil || list[1].Err == nil || !list[1].Hedge {
				t.Errorf("tries: %s", states(list))
			}
			if n := f.metrics.UpstreamRetries.Load(); int(n) != tries-2 {
				t.Errorf("%d retries", n)
			}
			if n := f.metrics.UpstreamErrors.Load(int(l7.ReasonUpstreamClosed)); n != 2 {
				t.Errorf("%d errors, want 2", n)
			}
			f.idle()
		})
	}
}

// TestHedgePending has no place for another connection at the endpoint that a
// request is hedged to: nobody was asked there, so that the first try alone says
// what comes of it.
func TestHedgePending(t *testing.T) {
	for _, answers := range []bool{true, false} {
		t.Run(fmt.Sprintf("the first one answers %v", answers), func(t *testing.T) {
			refused := make(chan struct{})
			first := newOrigin(t, func(n int, c *client) {
				c.request()
				if n == 1 {
					<-refused
				}
				if n > 1 || answers {
					c.say(ok)
				}
			})
			f := newFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict {
				if len(x.Tries) == 2 { // the hedge, which is refused next
					time.AfterFunc(100*time.Millisecond, func() { close(refused) })
				}
				return l7.Next
			})}, first, newOrigin(t, always("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")))
			b := f.balance(func(s *upstream.Spec) {
				hedging(s)
				s.Resilience.Pending = 1
			})
			f.deposit()
			full := b.Endpoints()[1]
			if !full.BeginDial() {
				t.Fatal("the place is taken already")
			}
			defer full.EndDial()
			f.service.Tries = 2
			w, tries := f.exchange("GET", nil)
			f.want(w, `200 "ok"`)
			want, errs := "ok, hedge pending_limit", uint64(0)
			if !answers {
				want, errs = "upstream_closed, hedge pending_limit, ok", 1
			}
			if got := states(tries); got != want {
				t.Errorf("tries: %s, want %s", got, want)
			}
			if n := f.metrics.UpstreamErrors.Load(int(l7.ReasonUpstreamClosed)); n != errs || f.metrics.UpstreamRetries.Load() != errs {
				t.Errorf("%d errors and %d retries, want %d", n, f.metrics.UpstreamRetries.Load(), errs)
			}
		})
	}
}

// TestNotHedged shows which requests wait for the first endpoint alone.
func TestNotHedged(t *testing.T) {
	tests := []struct {
		name   string
		method string
		change func(x *l7.Exchange)
		set    func(f *fixture)
		more   func(s *upstream.Spec)
	}{
		{"POST", "POST", nil, nil, nil},
		{"PUT", "PUT", nil, nil, nil},
		{"DELETE", "DELETE", nil, nil, nil},
		{"TRACE", "TRACE", nil, nil, nil},
		{"made a POST by a plugin", "GET", func(x *l7.Exchange) { x.Upstream.Method = "POST" }, nil, nil},
		{"with content", "GET", func(x *l7.Exchange) {
			b := newBody("one")
			close(b.pieces)
			x.Req.Body, x.Req.ContentLength = b, 3
		}, nil, nil},
		{"with an Upgrade", "GET", func(x *l7.Exchange) { x.Req.Upgrade = "websocket" }, nil, nil},
		{"without retries", "GET", nil, func(f *fixture) { f.service.Tries = 1 }, nil},
		{"without a delay", "GET", nil, nil, func(s *upstream.Spec) { s.Resilience.Hedge.Delay = 0 }},
		{"with nothing in the budget", "GET", nil, nil, func(s *upstream.Spec) { s.Resilience.Hedge.Budget.Percent = 1 }},
		{"with nothing in the budget of retries", "GET", nil, func(f *fixture) {
			for f.service.Balancer.MayRetry(1) {
			}
		}, func(s *upstream.Spec) { s.Resilience.Retry.Percent = 1 }},
		{"with the others unhealthy", "GET", nil, func(f *fixture) {
			for _, e := range f.service.Balancer.Endpoints()[1:] {
				e.Report(upstream.Outcome{Kind: upstream.OutcomeConnect}, 1)
			}
		}, nil},
		{"with the others at their bound", "GET", nil, func(f *fixture) {
			other := f.service.Balancer.Endpoints()[1].Addr
			for range 2 {
				e, err := f.service.Balancer.Pick(&upstream.Choice{Tried: func(at netip.AddrPort) bool { return at != other }})
				if err != nil || e.Addr != other {
					f.t.Fatalf("picked %v: %v", e, err)
				}
				f.t.Cleanup(e.End)
			}
		}, func(s *upstream.Spec) { s.Resilience.Connections = 2 }},
		{"with one endpoint", "GET", nil, nil, func(s *upstream.Spec) { s.Targets = s.Targets[:1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proceed := make(chan struct{})
			slow := newOrigin(t, func(_ int, c *client) {
				for c.request() != nil {
					<-proceed
					c.say(ok)
				}
			})
			other := newOrigin(t, always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"))
			f := newFixture(t, nil, slow, other)
			f.balance(func(s *upstream.Spec) {
				hedging(s)
				strict(s)
				s.Resilience.Connections = 1000
				if tt.more != nil {
					tt.more(s)
				}
			})
			f.deposit()
			if tt.set != nil {
				tt.set(f)
			}
			// Long after the delay, and nothing depends on how long.
			timer := time.AfterFunc(100*time.Millisecond, func() { close(proceed) })
			defer timer.Stop()
			w, tries := f.exchange(tt.method, tt.change)
			f.want(w, `200 "ok"`)
			if got := states(tries); got != "ok" {
				t.Errorf("tries: %s, want one", got)
			}
			refused := uint64(0)
			if strings.Contains(tt.name, "budget") {
				refused = 1
			}
			if n := f.metrics.UpstreamHedgesRefused.Load(); n != refused {
				t.Errorf("%d hedges were refused, want %d", n, refused)
			}
		})
	}
}

// TestHedgeClientDeparts shows that both tries end when the client leaves.
func TestHedgeClientDeparts(t *testing.T) {
	ended := make(chan struct{}, 2)
	hang := func(_ int, c *client) {
		c.request()
		c.request() // until the edge closes
		ended <- struct{}{}
	}
	f := newHedgeFixture(t, nil, newOrigin(t, hang), newOrigin(t, hang))
	w, tries := f.exchange("GET", func(x *l7.Exchange) { x.Wire.(*wire).departed.Store(true) })
	if !w.aborted || states(tries) != "client_gone, hedge client_gone" {
		t.Errorf("answered %v after %s", w, states(tries))
	}
	<-ended
	<-ended
	f.idle()
	for _, target := range f.service.Balancer.Health().Targets {
		if target.State != upstream.HealthHealthy {
			t.Errorf("%v is %s", target.Target, target.State)
		}
	}
	if n := f.set.Idle(); n != 0 {
		t.Errorf("%d idle connections", n)
	}
}
