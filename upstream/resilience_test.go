package upstream

import (
	"errors"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

func TestRetryBudget(t *testing.T) {
	b := newRetryBudget(RetryBudget{Percent: 20, MinPerSecond: 2})
	const second = int64(time.Second)
	now := int64(1) << 40
	spend := func() (n int) {
		for b.withdraw(now) {
			n++
		}
		return n
	}
	if n := spend(); n != retryCredit+2*retryBurst {
		t.Errorf("%d retries of a full budget, want %d", n, retryCredit+2*retryBurst)
	}
	now += 3 * second / 2
	if n := spend(); n != 3 {
		t.Errorf("%d retries after 1.5 s of 2 a second, want 3", n)
	}
	for range 100 {
		b.deposit()
	}
	if n := spend(); n != 20 { // time stands still
		t.Errorf("%d retries after 100 requests of which 20%% may be retried", n)
	}
	now += 3600 * second
	if n := spend(); n != retryCredit+2*retryBurst {
		t.Errorf("%d retries after an hour, want no more than a full budget", n)
	}
	for range retryBurst {
		now += 3600 * second // it is full again each time
		if !b.withdraw(now) {
			t.Fatal("a full budget allows no retry")
		}
	}
	now += 3600 * second
	if n := spend(); n != retryCredit+2*retryBurst {
		t.Errorf("%d retries after hours with some of them spent, want no more than a full budget", n)
	}
	for range 3 {
		now += second / 4 // half a retry
		if n := spend(); n > 1 {
			t.Errorf("%d retries after a quarter of a second", n)
		}
	}
}

func TestRetryBudgetWithoutMinimum(t *testing.T) {
	b := newRetryBudget(RetryBudget{Percent: 1})
	for range retryCredit {
		if !b.withdraw(1) {
			t.Fatal("a full budget allows no retry")
		}
	}
	for range 99 {
		b.deposit()
	}
	if b.withdraw(int64(time.Hour)) {
		t.Error("99 requests of which 1% may be retried allow a retry")
	}
	b.deposit()
	if !b.withdraw(int64(time.Hour)) {
		t.Error("100 requests of which 1% may be retried allow none")
	}
}

// TestRetryBudgetConcurrent shows that nothing is spent twice.
func TestRetryBudgetConcurrent(t *testing.T) {
	b := newRetryBudget(RetryBudget{Percent: 50, MinPerSecond: 10})
	now := int64(1) << 40
	for b.withdraw(now) {
	}
	var spent atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 100 {
				b.deposit()
				if b.withdraw(now) {
					spent.Add(1)
				}
			}
		})
	}
	work.Wait()
	for b.withdraw(now) {
		spent.Add(1)
	}
	if n := spent.Load(); n != 400 {
		t.Errorf("%d retries after 800 requests of which 50%% may be retried", n)
	}
}

func TestBalancerRetryBudget(t *testing.T) {
	s := newSet(t)
	free := NewBalancer(s, Spec{Targets: targets(1)}, nil)
	spec := Spec{Targets: targets(1), Resilience: Resilience{Retry: RetryBudget{Percent: 10}}}
	b := NewBalancer(s, spec, nil)
	for range retryCredit {
		if !b.MayRetry(sock.Now()) {
			t.Fatal("a full budget allows no retry")
		}
	}
	if b.MayRetry(sock.Now()) || !free.MayRetry(sock.Now()) {
		t.Error("an empty budget allows a retry, or one that is not bounded allows none")
	}
	for range 10 {
		mustPick(t, b, nil).End()
	}
	spec.Targets = targets(1, 2)
	next := NewBalancer(s, spec, b)
	if !next.MayRetry(sock.Now()) || next.MayRetry(sock.Now()) {
		t.Error("after ten requests and a reload: want one retry")
	}
}

func TestDialBound(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Resilience: Resilience{Pending: 2}}, nil)
	e := b.Endpoints()[0]
	for i := range 3 {
		if got := e.BeginDial(); got != (i < 2) {
			t.Fatalf("connection %d being opened: allowed %v, want two at once", i+1, got)
		}
	}
	for range 10 {
		if picked := mustPick(t, b, nil); picked == e {
			t.Fatal("an endpoint that is opening too many connections was picked")
		}
	}
	e.EndDial()
	if !e.BeginDial() {
		t.Error("after one is open no other may be opened")
	}
	free := NewBalancer(newSet(t), Spec{Targets: targets(1)}, nil).Endpoints()[0]
	for range 100 {
		if !free.BeginDial() {
			t.Fatal("without a bound a connection was refused")
		}
		free.EndDial()
	}
}

// TestDialBoundRefusesNoPick shows that an endpoint which is opening as many
// connections as it may is picked where no other is left: it may have idle ones.
func TestDialBoundRefusesNoPick(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Algorithm: a, Checks: passive(0), Resilience: Resilience{Connections: 20, Pending: 1}}, nil)
		all := b.Endpoints()
		all[0].BeginDial()
		for i := range 10 {
			if e := mustPick(t, b, choiceOf(i)); e != all[1] {
				t.Fatal("an endpoint at its bound was picked, though another is below it")
			}
		}
		failed := func(at netip.AddrPort) bool { return at == all[1].Addr }
		if e := mustPick(t, b, &Choice{Tried: failed}); e != all[0] {
			t.Error("what has failed was picked again, and not the other one at its bound")
		}
		all[1].BeginDial()
		failed = func(netip.AddrPort) bool { return true }
		mustPick(t, b, &Choice{Tried: failed})
		all[0].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
		if e := mustPick(t, b, choiceOf(1)); e != all[1] {
			t.Error("an unhealthy endpoint was picked")
		}
		for range 9 {
			if _, err := b.Pick(nil); err != nil && !errors.Is(err, ErrOverLimit) {
				t.Errorf("error %v, want ErrOverLimit", err)
			}
		}
		if _, err := b.Pick(nil); !errors.Is(err, ErrOverLimit) {
			t.Errorf("error %v, want ErrOverLimit: the bound of requests holds", err)
		}
	})
}

// TestSlowStart shows for every algorithm that the share of an endpoint that is
// healthy again grows with time.
func TestSlowStart(t *testing.T) {
	forAlgorithms(t, func(t *testing.T, a Algorithm) {
		synctest.Test(t, func(t *testing.T) {
			const span = 100 * time.Second
			b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Algorithm: a, Checks: passive(0), Resilience: Resilience{SlowStart: span}}, nil)
			e := b.Endpoints()[0]
			if a == Latency {
				for _, e := range b.Endpoints() {
					e.Report(Outcome{Kind: OutcomeStatus, Status: 200, Latency: time.Millisecond}, sock.Now())
				}
			}
			share := func() float64 {
				const picks = 4000
				var picked []*Endpoint
				n := 0
				for i := range picks {
					p := mustPick(t, b, choiceOf(i))
					if p == e {
						n++
					}
					picked = append(picked, p)
				}
				for _, p := range picked {
					p.End()
				}
				return float64(n) / picks
			}
			whole := share()
			e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
			e.Report(Outcome{Kind: OutcomeStatus, Status: 200, Latency: time.Millisecond}, sock.Now())
			var shares []float64
			for range 3 {
				shares = append(shares, share())
				time.Sleep(span / 2)
			}
			if a == Latency {
				// Of two of equal latency the one of more weight is taken.
				if shares[0] != 0 {
					t.Errorf("shares %.2f, want none at first", shares)
				}
				return
			}
			if !(shares[0] < 0.2 && shares[0] < shares[1] && shares[1] < 0.8*whole && math.Abs(shares[2]-whole) < 0.05) {
				t.Errorf("shares %.2f, want a tenth or so, more, and %.2f", shares, whole)
			}
		})
	})
}
