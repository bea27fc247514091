package upstream

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// Resilience bounds what is asked of endpoints in trouble (node.resilience).
// The zero value bounds nothing.
type Resilience struct {
	Retry       RetryBudget
	Connections int           // tries under way at one endpoint; 0: no bound
	Pending     int           // connections being opened to one endpoint; 0: no bound
	SlowStart   time.Duration // in which an endpoint that became healthy again gets its full share
	Hedge       Hedge
}

// RetryBudget bounds the retries of a balancer by its requests.
type RetryBudget struct {
	Percent      int // of the requests; 0: no bound
	MinPerSecond int // retries that are allowed besides
}

// Hedge lets a safe request that has no answer yet be sent to another endpoint
// too. The zero value never does.
type Hedge struct {
	Delay  time.Duration // without a head, from the first try's start; 0: no hedges
	Budget RetryBudget   // of hedges by requests
}

func (r *Resilience) bounds() bool { return r.Connections > 0 || r.Pending > 0 }

// leastRamp is the part of its weight that an endpoint has when it becomes
// healthy again.
const leastRamp = 0.1

// ramp returns the part of its weight that an endpoint has at present.
func (p *picking) ramp(e *Endpoint) float64 {
	span := p.b.spec.Resilience.SlowStart
	if span == 0 || e.health == nil {
		return 1
	}
	since := e.health.recovered.Load()
	if since == 0 {
		return 1
	}
	part := float64(p.now-since) / float64(span)
	if part >= 1 {
		e.health.recovered.CompareAndSwap(since, 0)
		return 1
	}
	return max(part, leastRamp)
}

// ready reports whether an endpoint takes its turn, of which one that has become
// healthy just now leaves out some.
func (p *picking) ready(e *Endpoint) bool {
	part := p.ramp(e)
	return part >= 1 || part > rand.Float64()
}

// BeginDial counts in a connection that is about to be opened for a try. If
// there are too many already it returns false, and no connection is opened;
// otherwise EndDial counts it out.
func (e *Endpoint) BeginDial() bool {
	most := e.balancer.spec.Resilience.Pending
	if most == 0 {
		return true
	}
	if e.load.pending.Add(1) > int64(most) {
		e.load.pending.Add(-1)
		return false
	}
	return true
}

// Others reports whether there is a healthy endpoint, not tried yet and below its
// bounds, to which a connection may be opened, or has idle ones as idle tells.
func (b *Balancer) Others(tried func(netip.AddrPort) bool, idle func(*Endpoint) bool) bool {
	r := &b.spec.Resilience
	for _, e := range b.Endpoints() {
		if !e.Healthy() || tried(e.Addr) || r.Connections > 0 && e.load.open.Load() >= int64(r.Connections) {
			continue
		}
		if e.load.pending.Load() < int64(r.Pending) || idle(e) {
			return true
		}
	}
	return false
}

// EndDial counts a connection out that is open now, or has failed to.
func (e *Endpoint) EndDial() {
	if e.balancer.spec.Resilience.Pending > 0 {
		e.load.pending.Add(-1)
	}
}

// MayRetry reports whether the budget allows another try, and spends it. now is
// sock.Now.
func (b *Balancer) MayRetry(now int64) bool { return b.budget == nil || b.budget.withdraw(now) }

// HedgeDelay returns how long a safe request waits for a head before it is sent
// to another endpoint too; 0 means that it is not, or that there is no other.
func (b *Balancer) HedgeDelay() time.Duration {
	d := b.spec.Resilience.Hedge.Delay
	if d > 0 {
		if w := b.wheel.Load(); w == nil || len(w.endpoints) < 2 {
			return 0
		}
	}
	return d
}

// ErrHedgeBudget says that no hedge is allowed now.
var ErrHedgeBudget = errors.New("the budget allows no hedge")

// PickHedge chooses, as Pick does, an endpoint for a try beside one that is
// under way, and takes the try out of the budgets of hedges and of retries, which
// it adds to the load as retries do. Unlike Pick it never waits and never
// chooses an endpoint that c.Tried tells of. The error is ErrHedgeBudget or one
// of Pick's. now is sock.Now.
func (b *Balancer) PickHedge(c *Choice, now int64) (*Endpoint, error) {
	if b.hedges == nil || !b.hedges.withdraw(now) {
		return nil, ErrHedgeBudget
	}
	if !b.MayRetry(now) {
		b.hedges.put(retryToken)
		return nil, ErrHedgeBudget
	}
	e, err := b.pick(b.wheel.Load(), c, true)
	if err != nil {
		b.hedges.put(retryToken)
		if b.budget != nil {
			b.budget.put(retryToken)
		}
	}
	return e, err
}

// deposit counts a request into the budgets.
func (b *Balancer) deposit() {
	if b.budget != nil {
		b.budget.deposit()
	}
	if b.hedges != nil {
		b.hedges.deposit()
	}
}

// newHedgeBudget returns the budget of hedges, nil if there are none. It begins
// empty: nothing is saved up that requests, or time, have not put in.
func newHedgeBudget(h Hedge, now int64) *retryBudget {
	if h.Delay == 0 {
		return nil
	}
	b := newRetryBudget(h.Budget)
	if b != nil {
		b.tokens.Store(0)
		b.filled.Store(now)
	}
	return b
}

// The retry budget is a bucket of tokens of a thousandth of a retry.
const (
	retryToken  = 1000
	retryBurst  = 10 // seconds of MinPerSecond that can be saved up
	retryCredit = 20 // retries that can be saved up besides
)

// retryBudget is a token bucket. Each request puts a part of a retry in, and so
// does time. While it is full, which it is as long as nothing fails, it is only
// read. Safe for concurrent use.
type retryBudget struct {
	share     int64 // tokens for each request
	perSecond int64 // retries for each second
	most      int64 // tokens

	tokens atomic.Int64
	filled atomic.Int64 // now up to which time has put its part in; 0: it has not begun
}

func newRetryBudget(r RetryBudget) *retryBudget {
	if r.Percent == 0 {
		return nil
	}
	b := &retryBudget{
		share:     int64(r.Percent) * retryToken / 100,
		perSecond: int64(r.MinPerSecond),
		most:      (int64(r.MinPerSecond)*retryBurst + retryCredit) * retryToken,
	}
	b.tokens.Store(b.most)
	return b
}

// deposit counts a request.
func (b *retryBudget) deposit() { b.put(b.share) }

func (b *retryBudget) put(n int64) {
	for {
		t := b.tokens.Load()
		if t >= b.most || b.tokens.CompareAndSwap(t, min(t+n, b.most)) {
			return
		}
	}
}

// withdraw takes a retry out, if there is one.
func (b *retryBudget) withdraw(now int64) bool {
	b.pass(now)
	for {
		t := b.tokens.Load()
		if t < retryToken {
			return false
		}
		if b.tokens.CompareAndSwap(t, t-retryToken) {
			return true
		}
	}
}

// pass puts in what is due for the time since it did so last.
func (b *retryBudget) pass(now int64) {
	if b.perSecond == 0 {
		return
	}
	last := b.filled.Load()
	token := int64(time.Second) / (b.perSecond * retryToken) // nanoseconds
	due := (now - last) / max(token, 1)
	if due <= 0 || !b.filled.CompareAndSwap(last, last+due*max(token, 1)) {
		return
	}
	b.put(min(due, b.most))
}
