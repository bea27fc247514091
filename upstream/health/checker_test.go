package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// fake stands for the endpoints: it notes when each was probed and answers what
// the test says. The time is that of the synctest bubble.
type fake struct {
	mu       sync.Mutex
	began    time.Time
	log      map[string][]time.Duration // since began, by address
	down     map[string]upstream.OutcomeKind
	takes    time.Duration // how long a probe takes
	inFlight int
	most     int // inFlight at the most
	canceled int
}

func newFake() *fake {
	return &fake{began: time.Now(), log: make(map[string][]time.Duration), down: make(map[string]upstream.OutcomeKind)}
}

func (f *fake) send(ctx context.Context, addr netip.AddrPort, _ string) (upstream.Outcome, error) {
	key := addr.Addr().String()
	f.mu.Lock()
	f.log[key] = append(f.log[key], time.Since(f.began))
	kind, down := f.down[key]
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	takes := f.takes
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		f.mu.Lock()
		f.canceled++
		f.mu.Unlock()
		return upstream.Outcome{}, ctx.Err()
	}
	if down {
		return upstream.Outcome{Kind: kind, Status: 500}, errors.New("it is down")
	}
	return upstream.Outcome{Kind: upstream.OutcomeStatus, Status: 200}, nil
}

func (f *fake) set(addr string, kind upstream.OutcomeKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[addr] = kind
}

func (f *fake) heal(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.down, addr)
}

// probes returns how often an address was probed, and forgets it.
func (f *fake) probes(addr string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.log[addr])
	delete(f.log, addr)
	return n
}

// rules are those of the tests: two of anything in a row count.
var rules = upstream.CheckRules{
	Successes: 2, HTTPFailures: 2, TCPFailures: 2, Timeouts: 2,
	Healthy: upstream.NewStatusSet([]int{200}), Unhealthy: upstream.NewStatusSet([]int{500}),
}

// newBalancer returns a balancer of addresses. They have the weight 1, those that
// end in *0 have none.
func newBalancer(t *testing.T, set *upstream.Set, prev *upstream.Balancer, addrs ...string) *upstream.Balancer {
	t.Helper()
	spec := upstream.Spec{Checks: upstream.Checks{On: true, Active: rules, Passive: rules}}
	for _, a := range addrs {
		host, idle := strings.CutSuffix(a, "*0")
		weight := 1
		if idle {
			weight = 0
		}
		spec.Targets = append(spec.Targets, upstream.Target{Host: host, Port: 80, Weight: weight})
	}
	return upstream.NewBalancer(set, spec, prev)
}

func newSet(t *testing.T) *upstream.Set {
	t.Helper()
	s := upstream.NewSet()
	t.Cleanup(s.Close)
	return s
}

// start starts a checker that the bubble's end stops.
func start(t *testing.T, f *fake, spec Spec) *checker {
	t.Helper()
	spec.Concurrency = max(spec.Concurrency, 1)
	c := startChecker(spec, f.send, newSlots(maxProbes), new(telemetry.Counter), slog.New(slog.DiscardHandler))
	t.Cleanup(c.stop)
	return c
}

// endpoint returns the endpoint of an address.
func endpoint(t *testing.T, b *upstream.Balancer, addr string) *upstream.Endpoint {
	t.Helper()
	all := b.Endpoints()
	i := slices.IndexFunc(all, func(e *upstream.Endpoint) bool { return e.Addr.Addr().String() == addr })
	if i < 0 {
		t.Fatalf("no endpoint %s", addr)
	}
	return all[i]
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestCheckerIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, two = "192.0.2.1", "192.0.2.2"
		f := newFake()
		b := newBalancer(t, newSet(t), nil, one, two)
		start(t, f, Spec{Healthy: 10 * time.Second, Unhealthy: 2 * time.Second, Concurrency: 10, Balancer: b})
		healthy := func(want bool) {
			t.Helper()
			if !endpoint(t, b, one).Healthy() || endpoint(t, b, two).Healthy() != want {
				t.Errorf("at %v the endpoints' health is %v and %v, want true and %v", time.Since(f.began), endpoint(t, b, one).Healthy(), endpoint(t, b, two).Healthy(), want)
			}
		}
		count := func(addr string, least, most int) {
			t.Helper()
			if n := f.probes(addr); n < least || n > most {
				t.Errorf("at %v %s was probed %d times since the last look, want %d to %d", time.Since(f.began), addr, n, least, most)
			}
		}
		// The first comes within the shorter interval, the others at the longer.
		pass(2*time.Second + shortestWait)
		count(one, 1, 1)
		count(two, 1, 1)
		pass(20 * time.Second)
		count(one, 2, 2)
		count(two, 2, 2)
		healthy(true)

		// Two failures at the longer interval, further ones at the shorter.
		f.set(two, upstream.OutcomeConnect)
		pass(20 * time.Second)
		healthy(false)
		f.probes(one)
		f.probes(two)
		pass(20 * time.Second)
		count(one, 2, 2)
		count(two, 9, 10)

		// Two successes bring it back, at the longer interval again.
		f.heal(two)
		pass(4*time.Second + shortestWait)
		healthy(true)
		f.probes(two)
		pass(20 * time.Second)
		count(two, 2, 2)
	})
}

// TestCheckerShortIntervals has intervals far below the time between two looks.
func TestCheckerShortIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, interval, span = "192.0.2.1", 50 * time.Millisecond, 10 * time.Second
		f := newFake()
		f.takes = 10 * time.Millisecond
		start(t, f, Spec{Healthy: interval, Balancer: newBalancer(t, newSet(t), nil, one)})
		pass(span)
		if n, most := f.probes(one), int(span/interval); n > most+1 || n < most*8/10 {
			t.Errorf("%d probes, want about %d", n, most)
		}
	})
}

func TestCheckerOutcomes(t *testing.T) {
	for name, kind := range map[string]upstream.OutcomeKind{"status": upstream.OutcomeStatus, "connect": upstream.OutcomeConnect, "timeout": upstream.OutcomeTimeout} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const one = "192.0.2.1"
				f := newFake()
				f.set(one, kind)
				b := newBalancer(t, newSet(t), nil, one)
				start(t, f, Spec{Healthy: time.Second, Balancer: b})
				pass(time.Minute)
				if endpoint(t, b, one).Healthy() {
					t.Error("the endpoint is healthy")
				}
				if n := f.probes(one); n != 2 {
					t.Errorf("%d probes, want 2: unhealthy endpoints have no interval", n)
				}
			})
		})
	}
}

// TestCheckerTellsWhatChanged reads the log.
func TestCheckerTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one = "192.0.2.1"
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		f := newFake()
		b := newBalancer(t, newSet(t), nil, one)
		spec := Spec{Name: "api", Healthy: time.Second, Unhealthy: time.Second, Concurrency: 1, Balancer: b}
		c := startChecker(spec, f.send, newSlots(maxProbes), new(telemetry.Counter), log)
		f.set(one, upstream.OutcomeNone) // no sockets
		pass(5 * time.Second)
		f.set(one, upstream.OutcomeConnect)
		pass(5 * time.Second)
		f.heal(one)
		pass(5 * time.Second)
		c.stop()
		want := `level=ERROR msg="probing an upstream's target" upstream=api target=192.0.2.1:80 address=192.0.2.1:80 error="it is down"
level=WARN msg="target became unhealthy" upstream=api target=192.0.2.1:80 address=192.0.2.1:80 status=500 error="it is down"
level=INFO msg="target became healthy" upstream=api target=192.0.2.1:80 address=192.0.2.1:80 status=200
`
		if diff := cmp.Diff(want, text.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// TestCheckerOfUnhealthyOnly probes only what the traffic has found unhealthy,
// and soon after it did.
func TestCheckerOfUnhealthyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, two = "192.0.2.1", "192.0.2.2"
		f := newFake()
		f.set(two, upstream.OutcomeConnect)
		b := newBalancer(t, newSet(t), nil, one, two)
		start(t, f, Spec{Unhealthy: 5 * time.Second, Concurrency: 10, Balancer: b})
		pass(time.Minute)
		if n := f.probes(one) + f.probes(two); n != 0 {
			t.Fatalf("%d probes of healthy endpoints, want none", n)
		}
		for range 2 {
			endpoint(t, b, two).Report(upstream.Outcome{Kind: upstream.OutcomeConnect}, 1)
		}
		pass(longestWait + shortestWait)
		if n, m := f.probes(one), f.probes(two); n != 0 || m != 1 {
			t.Errorf("%d and %d probes after the failure, want 0 and 1", n, m)
		}
		f.heal(two)
		pass(10*time.Second + shortestWait)
		if !endpoint(t, b, two).Healthy() {
			t.Error("the endpoint did not return")
		}
		f.probes(two)
		pass(time.Minute)
		if n := f.probes(two); n != 0 {
			t.Errorf("%d probes after it returned, want none", n)
		}
	})
}

func TestCheckerLeavesWeightZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		start(t, f, Spec{Healthy: time.Second, Unhealthy: time.Second, Balancer: newBalancer(t, newSet(t), nil, "192.0.2.1*0", "192.0.2.2")})
		pass(10 * time.Second)
		if n, m := f.probes("192.0.2.1"), f.probes("192.0.2.2"); n != 0 || m < 9 {
			t.Errorf("%d and %d probes, want 0 and about 10", n, m)
		}
	})
}

// TestCheckerSpreadsFirstProbes starts with a thousand endpoints.
func TestCheckerSpreadsFirstProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const endpoints = 1000
		f := newFake()
		var addrs []string
		for i := range endpoints {
			addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).String())
		}
		c := start(t, f, Spec{Healthy: time.Hour, Unhealthy: time.Hour, Concurrency: maxProbes, Balancer: newBalancer(t, newSet(t), nil, addrs...)})
		pass(firstSpread + 10*shortestWait)
		c.stop()
		perSecond := make([]int, firstSpread/time.Second+1)
		for _, a := range addrs {
			if len(f.log[a]) != 1 {
				t.Fatalf("%s was probed %d times, want once", a, len(f.log[a]))
			}
			perSecond[f.log[a][0]/time.Second]++
		}
		// A hundred on average, with a standard deviation below ten.
		for s, n := range perSecond[:len(perSecond)-1] {
			if n < 30 || n > 170 {
				t.Errorf("%d probes in second %d, want about 100", n, s)
			}
		}
	})
}

func TestCheckerConcurrency(t *testing.T) {
	tests := []struct {
		name                                   string
		endpoints, concurrency, checkers, most int
	}{
		{"of one upstream", 30, 4, 1, 4},
		{"one at a time", 5, 1, 1, 1},
		{"of all upstreams", maxProbes, 1 << 30, 3, maxProbes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.takes = 2 * time.Second
				set, slots := newSet(t), newSlots(maxProbes)
				total := 0
				for k := range tt.checkers {
					var addrs []string
					for i := range tt.endpoints {
						addrs = append(addrs, netip.AddrFrom4([4]byte{192, byte(k), byte(i >> 8), byte(i)}).String())
					}
					spec := Spec{Healthy: time.Second, Unhealthy: time.Second, Concurrency: tt.concurrency, Balancer: newBalancer(t, set, nil, addrs...)}
					c := startChecker(spec, f.send, slots, new(telemetry.Counter), slog.New(slog.DiscardHandler))
					t.Cleanup(c.stop)
					total += tt.endpoints
				}
				pass(time.Duration(3*total/tt.most+10) * f.takes)
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.most != tt.most {
					t.Errorf("%d probes were in flight at once, want %d", f.most, tt.most)
				}
				if len(f.log) != total {
					t.Errorf("%d of %d endpoints were probed", len(f.log), total)
				}
			})
		})
	}
}

func TestCheckerStopEndsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = time.Hour
		c := start(t, f, Spec{Healthy: time.Second, Unhealthy: time.Second, Concurrency: 2, Balancer: newBalancer(t, newSet(t), nil, "192.0.2.1", "192.0.2.2", "192.0.2.3")})
		pass(5 * time.Second)
		before := time.Now()
		c.stop()
		if f.canceled != 2 || f.inFlight != 0 || !time.Now().Equal(before) {
			t.Errorf("%d probes were ended and %d go on after %v, want 2 and 0 at once", f.canceled, f.inFlight, time.Since(before))
		}
	})
}

func TestSetAdoptsCheckers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		balancers := newSet(t)
		s := NewSet(slog.New(slog.DiscardHandler), new(telemetry.Counter))
		defer s.Close()
		dead := &Probe{Timeout: time.Millisecond} // connects to nothing
		spec := func(key, version string, b *upstream.Balancer) Spec {
			return Spec{Key: key, Version: version, Healthy: time.Hour, Unhealthy: time.Hour, Concurrency: 1, Probe: dead, Balancer: b}
		}
		b1 := newBalancer(t, balancers, nil)
		b2 := newBalancer(t, balancers, b1, "192.0.2.1*0")
		s.Use([]Spec{spec("a", "1", b1), spec("b", "1", b1), spec("c", "1", b1)})
		a, b, c := s.checkers["a"], s.checkers["b"], s.checkers["c"]
		s.Use([]Spec{spec("a", "1", b2), spec("b", "2", b1), spec("d", "1", b1)})
		if s.checkers["a"] != a || a.balancer.Load() != b2 {
			t.Error("a checker that did not change was not adopted, or has the old balancer")
		}
		if s.checkers["b"] == b || s.checkers["c"] != nil || s.checkers["d"] == nil || len(s.checkers) != 3 {
			t.Errorf("the checkers are %v", s.checkers)
		}
		for name, old := range map[string]*checker{"changed": b, "gone": c} {
			stopped := make(chan struct{})
			go func() { old.work.Wait(); close(stopped) }()
			synctest.Wait()
			select {
			case <-stopped:
			default:
				t.Errorf("the %s checker still runs", name)
			}
		}
		s.Close()
		s.Use([]Spec{spec("a", "1", b1)})
		if len(s.checkers) != 0 {
			t.Error("a closed set has started a checker")
		}
	})
}

// TestCheckerFollowsItsBalancer changes the targets under a running checker.
func TestCheckerFollowsItsBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, two, three = "192.0.2.1", "192.0.2.2", "192.0.2.3"
		f, set := newFake(), newSet(t)
		f.set(two, upstream.OutcomeConnect)
		b := newBalancer(t, set, nil, one, two)
		c := start(t, f, Spec{Healthy: 10 * time.Second, Unhealthy: 10 * time.Second, Concurrency: 5, Balancer: b})
		pass(30 * time.Second)
		f.probes(one)
		f.probes(three)
		last := f.log[two][len(f.log[two])-1]

		next := newBalancer(t, set, b, two, three)
		if endpoint(t, next, two).Healthy() {
			t.Fatal("the health was not adopted")
		}
		c.balancer.Store(next)
		f.heal(two)
		pass(30 * time.Second)
		if n, m := f.probes(one), f.probes(three); n != 0 || m < 2 || m > 4 {
			t.Errorf("%d probes of the endpoint that is gone, %d of the new one", n, m)
		}
		again := f.log[two][slices.Index(f.log[two], last)+1]
		if gap := again - last; gap < 10*time.Second || gap > 10*time.Second+2*shortestWait {
			t.Errorf("the next probe of an old endpoint came after %v, want 10s", gap)
		}
		if !endpoint(t, next, two).Healthy() {
			t.Error("the endpoint did not return")
		}
	})
}

// TestCheckerSharedPlace has two endpoints with one health, which one failure
// must not count against twice.
func TestCheckerSharedPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, interval = "192.0.2.1", 20 * time.Second
		b := newBalancer(t, newSet(t), nil, one, one)
		if n := len(b.Endpoints()); n != 2 {
			t.Fatalf("%d endpoints, want 2 of one address", n)
		}
		f := newFake()
		f.set(one, upstream.OutcomeConnect)
		start(t, f, Spec{Healthy: interval, Unhealthy: interval, Concurrency: 10, Balancer: b})
		pass(firstSpread + longestWait)
		if n := f.probes(one); n != 1 || !endpoint(t, b, one).Healthy() {
			t.Errorf("%d probes, healthy %v; want one failure, of two that make it unhealthy", n, endpoint(t, b, one).Healthy())
		}
	})
}

// TestCheckerSharedPlaceLeaves takes the address of two endpoints away while it
// is probed: there is one probe to end, not two of one turn.
func TestCheckerSharedPlaceLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, two = "192.0.2.1", "192.0.2.2"
		f, set := newFake(), newSet(t)
		var probes atomic.Int32 // of one
		send := func(ctx context.Context, addr netip.AddrPort, host string) (upstream.Outcome, error) {
			if host == one && probes.Add(1) == 2 {
				<-time.After(20 * time.Second)
			}
			return f.send(ctx, addr, host)
		}
		b := newBalancer(t, set, nil, one, one)
		spec := Spec{Healthy: time.Minute, Unhealthy: time.Minute, Concurrency: 10, Balancer: b}
		c := startChecker(spec, send, newSlots(maxProbes), new(telemetry.Counter), slog.New(slog.DiscardHandler))
		t.Cleanup(c.stop)
		pass(firstSpread + longestWait)
		c.balancer.Store(newBalancer(t, set, b, two))
		pass(40 * time.Second)
		if n, m := probes.Load(), f.probes(two); n != 1 || m != 1 {
			t.Errorf("%d and %d probes, want 1 of each address", n, m)
		}
	})
}

// TestCheckerTargetsShareAddress has two targets that differ in a port which
// their records replace: each has a health of its own, so both are probed.
func TestCheckerTargetsShareAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one = "192.0.2.1"
		set := newSet(t)
		set.SetResolver(records{{Addr: netip.MustParseAddr(one), Port: 8080, Weight: 1}})
		b := upstream.NewBalancer(set, upstream.Spec{
			Targets: []upstream.Target{{Host: "web.test", Port: 80, Weight: 1}, {Host: "web.test", Port: 81, Weight: 1}},
			Checks:  upstream.Checks{On: true, Active: rules, Passive: rules},
		}, nil)
		f := newFake()
		f.set(one, upstream.OutcomeConnect)
		start(t, f, Spec{Healthy: time.Second, Concurrency: 10, Balancer: b})
		pass(10 * time.Second)
		all := b.Endpoints()
		if len(all) != 2 {
			t.Fatalf("%d endpoints, want 2", len(all))
		}
		for _, e := range all {
			if e.Healthy() {
				t.Errorf("the endpoint of %s is healthy", e.Target)
			}
		}
		if n := f.probes(one); n != 4 {
			t.Errorf("%d probes, want 2 for each target", n)
		}
	})
}

// TestCheckerPanic shows that a panic in a probe is logged, gives back what the
// probe had taken, and ends nothing else.
func TestCheckerPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one = "192.0.2.1"
		var text bytes.Buffer
		f := newFake()
		broken := true
		send := func(ctx context.Context, addr netip.AddrPort, host string) (upstream.Outcome, error) {
			if broken {
				broken = false
				panic("BUG: a test's")
			}
			return f.send(ctx, addr, host)
		}
		slots, panics := newSlots(1), new(telemetry.Counter)
		spec := Spec{Name: "api", Healthy: time.Second, Concurrency: 1, Balancer: newBalancer(t, newSet(t), nil, one)}
		c := startChecker(spec, send, slots, panics, slog.New(slog.NewTextHandler(&text, nil)))
		pass(5 * time.Second)
		c.stop()
		if n := f.probes(one); n < 3 || c.share.held != 0 || panics.Load() == 0 {
			t.Errorf("%d probes after the panic, %d places taken and %d panics counted, want at least 3, 0 and 1", n, c.share.held, panics.Load())
		}
		if got := text.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, `panic="BUG: a test's"`) || !strings.Contains(got, "upstream=api") {
			t.Errorf("the log is %q", got)
		}
	})
}
