package upstream

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// choiceOf is the n-th request of a test: with a hash of its own.
func choiceOf(n int) *Choice { return &Choice{Hash: Hash("user " + strconv.Itoa(n)), Hashed: true} }

// passive are checks of traffic that find an endpoint unhealthy at once.
func passive(threshold float64) Checks {
	return Checks{On: true, Threshold: threshold, Passive: CheckRules{
		Successes: 1, HTTPFailures: 1, TCPFailures: 1, Timeouts: 1,
		Healthy: NewStatusSet([]int{200}), Unhealthy: NewStatusSet([]int{500}),
	}}
}

func mustPick(t *testing.T, b *Balancer, c *Choice) *Endpoint {
	t.Helper()
	e, err := b.Pick(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func forAlgorithms(t *testing.T, f func(t *testing.T, a Algorithm)) {
	for a := range algorithmCount {
		t.Run(a.String(), func(t *testing.T) { f(t, a) })
	}
}

func TestParseAlgorithm(t *testing.T) {
	for a := range algorithmCount {
		if got, ok := ParseAlgorithm(a.String()); got != a || !ok {
			t.Errorf("ParseAlgorithm(%q) = %v, %v", a.String(), got, ok)
		}
	}
	if a, ok := ParseAlgorithm("fastest"); ok {
		t.Errorf("ParseAlgorithm of an unknown name = %v", a)
	}
}

// TestAlgorithmWeights sends traffic of the kind that each algorithm evens out:
// requests that stay open, and endpoints that get slower by what they bear.
func TestAlgorithmWeights(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		synctest.Test(t, func(t *testing.T) {
			const requests = 6000
			b := NewBalancer(newSet(t), Spec{Targets: targets(100, 200, 0, 300), Algorithm: a}, nil)
			got := make(map[int]float64)
			for i := range requests {
				e := mustPick(t, b, choiceOf(i))
				w := e.Target.Weight
				got[w]++
				if a == Latency {
					time.Sleep(20 * time.Millisecond)
					slow := got[w] / float64(i+1) * 600 / float64(w) // 1 for a fair share
					e.Report(Outcome{Kind: OutcomeStatus, Status: 200, Latency: time.Duration(float64(w) * slow * slow * float64(time.Millisecond))}, sock.Now())
				}
				if a != LeastConnections {
					e.End()
				}
			}
			for _, w := range []int{100, 200, 300} {
				share, want := got[w]/requests, float64(w)/600
				if math.Abs(share-want) > 0.15*want {
					t.Errorf("weight %d got %.3f of the traffic, want about %.3f", w, share, want)
				}
			}
			if got[0] != 0 {
				t.Errorf("weight 0 got %v requests", got[0])
			}
		})
	})
}

func TestAlgorithmTried(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		for i := range 100 {
			b := NewBalancer(newSet(t), Spec{Targets: targets(7, 2, 1), Algorithm: a}, nil)
			tried := make(map[netip.AddrPort]bool)
			c := choiceOf(i)
			for range 3 {
				e := mustPick(t, b, c)
				e.End()
				if tried[e.Addr] {
					t.Fatalf("%v was picked again while others were left", e.Addr)
				}
				tried[e.Addr] = true
				c.Tried = func(a netip.AddrPort) bool { return tried[a] }
			}
			if e := mustPick(t, b, c); !tried[e.Addr] {
				t.Errorf("with all tried: %v", e.Addr)
			}
		}
	})
}

func TestAlgorithmUnhealthy(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1, 1), Algorithm: a, Checks: passive(0)}, nil)
		all := b.Endpoints()
		all[1].Report(Outcome{Kind: OutcomeConnect}, sock.Now())
		got := make(map[*Endpoint]int)
		for i := range 300 {
			e := mustPick(t, b, choiceOf(i))
			e.End()
			got[e]++
		}
		if got[all[1]] != 0 || got[all[0]] < 30 || got[all[2]] < 30 {
			t.Errorf("with the second unhealthy: %d, %d, %d", got[all[0]], got[all[1]], got[all[2]])
		}
		// The one that was tried is not worse than one that is down.
		all[0].Report(Outcome{Kind: OutcomeConnect}, sock.Now())
		c := &Choice{Tried: func(netip.AddrPort) bool { return true }}
		if e := mustPick(t, b, c); e != all[2] {
			t.Errorf("with the only healthy one tried: %v, want %v", e.Addr, all[2].Addr)
		}
		all[2].Report(Outcome{Kind: OutcomeConnect}, sock.Now())
		if e, err := b.Pick(choiceOf(1)); !errors.Is(err, ErrUnhealthy) || !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("with all unhealthy: %v, %v", e, err)
		}
	})
}

func TestAlgorithmNoEndpoint(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		for name, list := range map[string][]Target{"no targets": nil, "all of weight 0": targets(0, 0)} {
			for _, checks := range []Checks{{}, passive(50)} {
				b := NewBalancer(newSet(t), Spec{Targets: list, Algorithm: a, Checks: checks}, nil)
				if e, err := b.Pick(choiceOf(1)); !errors.Is(err, ErrNoEndpoint) {
					t.Errorf("%s: %v, %v, want ErrNoEndpoint", name, e, err)
				}
			}
		}
	})
}

func TestAlgorithmLimit(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		b := NewBalancer(newSet(t), Spec{Targets: targets(1, 5, 9), Algorithm: a, Resilience: Resilience{Connections: 2}}, nil)
		open := make(map[*Endpoint]int)
		var last *Endpoint
		for i := range 6 {
			last = mustPick(t, b, choiceOf(i))
			open[last]++
		}
		for e, n := range open {
			if n != 2 {
				t.Errorf("%v has %d requests open, want 2", e.Addr, n)
			}
		}
		if e, err := b.Pick(choiceOf(7)); !errors.Is(err, ErrOverLimit) {
			t.Errorf("over the limit: %v, %v", e, err)
		}
		last.End()
		if e := mustPick(t, b, choiceOf(8)); e != last {
			t.Errorf("%v was picked, want %v, the only one below its limit", e.Addr, last.Addr)
		}
	})
}

// TestAlgorithmOne shows that a single endpoint is counted and checked too.
func TestAlgorithmOne(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		b := NewBalancer(newSet(t), Spec{Targets: targets(1), Algorithm: a, Checks: passive(0), Resilience: Resilience{Connections: 1}}, nil)
		e := mustPick(t, b, nil)
		if _, err := b.Pick(nil); !errors.Is(err, ErrOverLimit) {
			t.Errorf("over the limit: %v", err)
		}
		e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
		e.End()
		if _, err := b.Pick(nil); !errors.Is(err, ErrUnhealthy) {
			t.Errorf("unhealthy: %v", err)
		}
		e.Report(Outcome{Kind: OutcomeStatus, Status: 200}, sock.Now())
		if again := mustPick(t, b, nil); again != e {
			t.Errorf("healthy again: %v", again.Addr)
		}
	})
}

// TestAlgorithmConcurrent shows under the race detector that picks, reports and
// looks may run at the same time, that no bound is passed, and that every try
// counted in is counted out.
func TestAlgorithmConcurrent(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		const most = 3
		b := NewBalancer(newSet(t), Spec{Targets: targets(1, 2, 3), Algorithm: a, Checks: passive(0), Resilience: Resilience{Connections: most, SlowStart: time.Millisecond}}, nil)
		var work sync.WaitGroup
		for g := range 8 {
			work.Go(func() {
				for i := range 500 {
					e, err := b.Pick(choiceOf(i))
					if err != nil {
						if !errors.Is(err, ErrOverLimit) && !errors.Is(err, ErrUnhealthy) {
							t.Error(err)
						}
						for _, e := range b.Endpoints() {
							e.Report(Outcome{Kind: OutcomeStatus, Status: 200}, sock.Now())
						}
						continue
					}
					o := Outcome{Kind: OutcomeStatus, Status: 200, Latency: time.Millisecond}
					if (i+g)%20 == 0 {
						o.Kind = OutcomeConnect
					}
					e.Report(o, sock.Now())
					for _, target := range b.Health().Targets {
						// Who is about to be refused counts for a moment.
						if n := target.Addresses[0].Open; n < 1 && target.Target == e.Target || n > most+8 {
							t.Errorf("%v: %d tries are under way", target.Target, n)
						}
					}
					e.End()
				}
			})
		}
		work.Wait()
		for _, e := range b.Endpoints() {
			if n := e.load.open.Load(); n != 0 {
				t.Errorf("%v: %d tries are still counted", e.Addr, n)
			}
		}
	})
}

func TestAlgorithmDoesNotAllocate(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		for name, r := range map[string]Resilience{
			"plain":   {},
			"bounded": {Retry: RetryBudget{Percent: 20, MinPerSecond: 1}, Connections: 10, Pending: 10, SlowStart: time.Second},
		} {
			b := NewBalancer(newSet(t), Spec{Targets: targets(1, 2, 7), Algorithm: a, Checks: passive(0), Resilience: r}, nil)
			c := choiceOf(1)
			n := testing.AllocsPerRun(1000, func() {
				e, err := b.Pick(c)
				if err != nil {
					t.Fatal(err)
				}
				e.Report(Outcome{Kind: OutcomeStatus, Status: 200, Latency: time.Millisecond}, sock.Now())
				e.End()
			})
			if n != 0 {
				t.Errorf("%s: %v allocations for a try, want none", name, n)
			}
		}
	})
}

// TestAlgorithmMostlyDown picks where nearly all endpoints are unhealthy, so
// that a walk over the wheel or the ring finds nothing soon.
func TestAlgorithmMostlyDown(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		weights := make([]int, 250)
		for i := range weights {
			weights[i] = 200
		}
		weights[77], weights[178] = 1, 3
		b := NewBalancer(newSet(t), Spec{Targets: targets(weights...), Algorithm: a, Checks: passive(0)}, nil)
		for _, e := range b.Endpoints() {
			if e.Target.Weight == 200 {
				e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
			}
		}
		got := make(map[int]int)
		for i := range 1000 {
			e := mustPick(t, b, choiceOf(i))
			got[e.Target.Weight]++
			if a != LeastConnections {
				e.End()
			}
			if a == ConsistentHashing && mustPick(t, b, choiceOf(i)) != e {
				t.Fatalf("request %d moved while nothing changed", i)
			}
		}
		if got[200] != 0 || got[1] == 0 && a != Latency || got[3] <= got[1] {
			t.Errorf("requests by weight: %v", got)
		}
	})
}
