package upstream

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// always is a budget that no test uses up.
var always = Hedge{Delay: time.Second, Budget: RetryBudget{Percent: 100, MinPerSecond: 100_000}}

func triedOnly(e *Endpoint) *Choice {
	return &Choice{Tried: func(at netip.AddrPort) bool { return at == e.Addr }}
}

func TestHedgeDelay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		targets []Target
		hedge   Hedge
		want    time.Duration
	}{
		{"off", targets(1, 1), Hedge{}, 0},
		{"on", targets(1, 1), always, time.Second},
		{"one endpoint", targets(1), always, 0},
		{"the other one without a weight", targets(1, 0), always, 0},
		{"none", nil, always, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBalancer(newSet(t), Spec{Targets: tt.targets, Resilience: Resilience{Hedge: tt.hedge}}, nil)
			if got := b.HedgeDelay(); got != tt.want {
				t.Errorf("delay %v, want %v", got, tt.want)
			}
		})
	}
}

// TestPickHedge shows for every algorithm that another endpoint is chosen, or
// none, and that the bounds of endpoints hold.
func TestPickHedge(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		synctest.Test(t, func(t *testing.T) {
			b := NewBalancer(newSet(t), Spec{
				Targets: targets(5, 5, 5), Algorithm: a, Checks: passive(0),
				Resilience: Resilience{Hedge: always, Connections: 2},
			}, nil)
			time.Sleep(time.Second) // in which the budget fills
			first := mustPick(t, b, choiceOf(1))
			seen := make(map[*Endpoint]bool)
			for i := range 40 {
				c := choiceOf(i)
				c.Tried = triedOnly(first).Tried
				e, err := b.PickHedge(c, sock.Now())
				if err != nil {
					t.Fatal(err)
				}
				if e == first {
					t.Fatal("the endpoint was chosen that is being tried")
				}
				seen[e] = true
				e.End()
			}
			if len(seen) != 2 {
				t.Errorf("%d of 2 others were chosen", len(seen))
			}
			left := b.hedges.tokens.Load()
			var held []*Endpoint
			for range 4 { // both others to their bound
				e, err := b.PickHedge(triedOnly(first), sock.Now())
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, e)
			}
			if e, err := b.PickHedge(triedOnly(first), sock.Now()); !errors.Is(err, ErrOverLimit) {
				t.Errorf("with the others at their bound: %v, %v", e, err)
			}
			if got := left - b.hedges.tokens.Load(); got != 4*retryToken {
				t.Errorf("four hedges and one that found no endpoint cost %d tokens", got)
			}
			for _, e := range held {
				e.End()
			}
			for _, e := range b.Endpoints() {
				if e != first {
					e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
				}
			}
			if e, err := b.PickHedge(triedOnly(first), sock.Now()); err == nil {
				t.Errorf("with the others unhealthy %v was chosen", e.Addr)
			}
		})
	})
}

// TestPickHedgeTakesNoTurn: otherwise of two endpoints the slow one, whose
// requests are hedged, would have every request's first try.
func TestPickHedgeTakesNoTurn(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Resilience: Resilience{Hedge: always}}, nil)
	got := make(map[*Endpoint]int)
	for range 10 {
		e := mustPick(t, b, nil)
		got[e]++
		if _, err := b.PickHedge(triedOnly(e), sock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for e, n := range got {
		if n != 5 {
			t.Errorf("%v had %d of 10 turns", e.Addr, n)
		}
	}
}

// TestHedgeBudget shows that hedges are a share of the requests so far, that
// time adds to it, that it is the budget of retries too, and what a reload keeps.
func TestHedgeBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t)
		spec := Spec{Targets: targets(1, 1), Resilience: Resilience{
			Retry: RetryBudget{Percent: 50},
			Hedge: Hedge{Delay: time.Second, Budget: RetryBudget{Percent: 10, MinPerSecond: 2}},
		}}
		b := NewBalancer(s, spec, nil)
		hedges := func() (n int) {
			for {
				first := b.Endpoints()[0]
				if _, err := b.PickHedge(triedOnly(first), sock.Now()); err != nil {
					if !errors.Is(err, ErrHedgeBudget) {
						t.Fatal(err)
					}
					return n
				}
				n++
			}
		}
		requests := func(n int) {
			for range n {
				mustPick(t, b, nil).End()
			}
		}
		if n := hedges(); n != 0 {
			t.Errorf("%d hedges before any request", n)
		}
		requests(49)
		if n := hedges(); n != 4 {
			t.Errorf("%d hedges after 49 requests, want 4", n)
		}
		requests(1)
		time.Sleep(3 * time.Second)
		if n := hedges(); n != 7 {
			t.Errorf("%d hedges after another request and 3 s, want 7", n)
		}
		requests(100)
		for range 100 {
			b.MayRetry(sock.Now())
		}
		if n := hedges(); n != 0 {
			t.Errorf("%d hedges with nothing left for retries", n)
		}
		requests(4)
		if n := hedges(); n != 2 {
			t.Errorf("%d hedges with two retries left", n)
		}
		requests(20)
		spec.Targets = targets(1, 1, 1)
		b = NewBalancer(s, spec, b)
		if n := hedges(); n != 10 {
			t.Errorf("%d hedges after a reload, want what was left, 10", n)
		}
		requests(100)
		spec.Resilience.Hedge.Budget.Percent = 11
		b = NewBalancer(s, spec, b)
		if n := hedges(); n != 0 {
			t.Errorf("%d hedges after a change of the budget, want none", n)
		}
		spec.Resilience.Hedge = Hedge{}
		if e, err := NewBalancer(s, spec, b).PickHedge(nil, sock.Now()); !errors.Is(err, ErrHedgeBudget) {
			t.Errorf("without hedging: %v, %v", e, err)
		}
	})
}

// TestOvertaken shows that a try which was overtaken makes its endpoint slower
// and not sicker.
func TestOvertaken(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Algorithm: Latency, Checks: passive(0)}, nil)
	e := b.Endpoints()[0]
	now := sock.Now()
	e.Report(Outcome{Kind: OutcomeOvertaken, Latency: 30 * time.Millisecond}, now)
	if got := time.Duration(e.load.ewma.read(now)); got != 30*time.Millisecond {
		t.Errorf("latency %v, want 30ms", got)
	}
	if !e.Healthy() {
		t.Error("the endpoint is unhealthy")
	}
	if changes := b.healths.changes.Load(); changes != 0 {
		t.Errorf("%d changes of health", changes)
	}
}
