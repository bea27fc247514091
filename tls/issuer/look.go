package issuer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// State is what is going on about a name.
type State string

// The states.
const (
	Waiting  State = "waiting"  // for its turn, or for another node
	Ordering State = "ordering" // an order is under way
	Valid    State = "valid"    // there is a certificate, and it is not due
	Failing  State = "failing"  // the last try went wrong
)

// orderLease is how long an order's lease holds; it is renewed every third of
// that. otherWait is when a name is looked at again that another node orders.
const (
	orderLease = 90 * time.Second
	otherWait  = 2 * time.Second
)

// maxError bounds what is kept and told of an error, in bytes.
const maxError = 500

// look sees to a name once: what is stored, whether it is due, and if so an
// order.
func (i *Issuer) look(ctx context.Context, s *subject) {
	i.mu.Lock()
	terms := s.terms
	i.mu.Unlock()
	set := i.set.Load()
	l := &looking{issuer: i, subject: s, terms: terms, records: set.records}
	var next time.Time
	var err error
	if set.records != nil { // else a reload has just taken all names away
		next, err = l.guarded(ctx)
	}
	now := time.Now()
	i.mu.Lock()
	s.working = false
	if i.set.Load() == set { // else all is looked at anew
		s.next = next
	}
	switch {
	case errors.Is(err, errOther), errors.Is(err, errTurn), ctx.Err() != nil:
		s.state = Waiting
	case err != nil:
		s.state, s.err, s.errAt = Failing, brief(err), now
		s.asked = false
		if h := s.held.Load(); h == nil || now.After(h.leaf.NotAfter) {
			s.used.Store(false) // whoever asks again has it tried again
		}
	default:
		s.state, s.err = Valid, ""
	}
	if s.done != nil && s.state != Waiting {
		close(s.done)
		s.done = nil
	}
	i.mu.Unlock()
	i.nudge()
}

var (
	errOther = errors.New("another node orders it")
	errTurn  = errors.New("too many orders have begun lately")
	errPanic = errors.New("there was a panic, which the log tells of")
)

// brief returns the text of an error, not longer than is told.
func brief(err error) string {
	text := err.Error()
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	return text
}

// looking is one look at a name.
type looking struct {
	issuer  *Issuer
	subject *subject
	terms   *Terms
	records store.Records
}

// guarded is run behind a recover: a broken answer must not end the process.
func (l *looking) guarded(ctx context.Context) (next time.Time, err error) {
	defer func() {
		if v := recover(); v != nil {
			l.issuer.Counts.Panics.Inc()
			l.issuer.log.Error("recovering from a panic in an order", "name", l.subject.name, "panic", v, "stack", string(debug.Stack()))
			next, err = time.Now().Add(longestPause), errPanic
		}
	}()
	return l.run(ctx)
}

// run returns when the name is to be looked at again.
func (l *looking) run(ctx context.Context) (next time.Time, err error) {
	soon := time.Now().Add(l.terms.Backoff)
	if err := l.adopt(ctx); err != nil {
		return soon, err
	}
	if at := l.renewAt(ctx); time.Now().Before(at) {
		return earliest(at, jittered(time.Now(), lookInterval)), nil
	}
	if l.idle() {
		return l.idleUntil(), nil
	}
	if err := l.askAgain(ctx); errors.Is(err, errRefused) {
		l.issuer.log.Info("not renewing a certificate that may not be ordered any more", "name", l.subject.name)
		l.subject.used.Store(false)
		l.idle()
		return l.idleUntil(), nil
	} else if err != nil {
		return soon, err
	}
	if at, ok := l.issuer.mayOrder(time.Now()); !ok {
		return at, errTurn
	}
	lease, err := l.records.Lease(ctx, prefixOrders+l.subject.name, orderLease)
	if errors.Is(err, store.ErrHeld) {
		return jittered(time.Now(), otherWait), errOther
	}
	if err != nil {
		return soon, err
	}
	next, err = l.underLease(ctx, lease)
	if rerr := lease.Release(context.WithoutCancel(ctx)); err == nil && rerr != nil {
		l.issuer.log.Warn("releasing the lease of a name", "name", l.subject.name, "error", rerr.Error())
	}
	return next, err
}

// adopt takes what is stored: another node may have renewed it. One of an
// authority that is not asked any more serves until there is another.
func (l *looking) adopt(ctx context.Context) error {
	h, err := load(ctx, l.records, l.subject.name)
	switch {
	case errors.Is(err, store.ErrDamaged):
		l.issuer.log.Error("ordering a certificate anew", "name", l.subject.name, "error", err.Error())
		return nil
	case err != nil:
		return fmt.Errorf("reading what is stored: %w", err)
	case h == nil:
		// Somebody has removed it, as after a revocation.
		l.subject.held.Store(nil)
		return nil
	}
	if old := l.subject.held.Load(); old == nil || old.version != h.version {
		l.subject.held.Store(h)
		l.subject.used.Store(false)
	}
	return nil
}

// renewAt returns when the certificate is due: now if there is none, or none of
// an authority of ours.
func (l *looking) renewAt(ctx context.Context) time.Time {
	h := l.subject.held.Load()
	if h == nil || l.caOf(h) == nil {
		return time.Time{}
	}
	if l.terms.ARI {
		if told := l.issuer.renewal(ctx, l.subject, l.caOf(h), h); !told.IsZero() {
			if h.Early >= maxEarly {
				told = latest(told, h.settled())
			}
			return earliest(told, l.terms.renewBy(h.leaf, h.Ordered))
		}
	}
	return l.terms.renewAt(h.leaf, h.Ordered)
}

func (l *looking) caOf(h *held) *CA {
	for i := range l.terms.CAs {
		if l.terms.CAs[i].Directory == h.Directory {
			return &l.terms.CAs[i]
		}
	}
	return nil
}

// idle reports whether a name is due that clients asked for once and do not any
// more. It is forgotten if there is no certificate, or that has ended.
func (l *looking) idle() bool {
	i, s := l.issuer, l.subject
	i.mu.Lock()
	defer i.mu.Unlock()
	if !s.demand || s.used.Load() {
		return false
	}
	h := s.held.Load()
	if (h == nil || time.Now().After(h.leaf.NotAfter)) && i.subjects[s.name] == s {
		delete(i.subjects, s.name)
		i.names.Delete(s.name)
		i.demanded--
	}
	return true
}

// idleUntil returns when a name that is idle is looked at: soon after the end of its
// certificate, if that is before long.
func (l *looking) idleUntil() time.Time {
	now, at := time.Now(), time.Now().Add(lookInterval)
	if h := l.subject.held.Load(); h != nil && now.Before(h.leaf.NotAfter) {
		at = earliest(at, h.leaf.NotAfter.Add(time.Second))
	}
	return at
}

// askAgain asks whether a name that clients have asked for may still be ordered,
// unless that was asked just now.
func (l *looking) askAgain(ctx context.Context) error {
	i, s := l.issuer, l.subject
	i.mu.Lock()
	demand := s.demand && !s.asked && l.terms.Demand != nil && l.terms.Demand.Ask != ""
	i.mu.Unlock()
	if !demand {
		return nil
	}
	return i.asking.ask(ctx, l.terms.Demand.Ask, s.name)
}

// underLease orders, if it still is to be done now that nobody else does.
func (l *looking) underLease(ctx context.Context, lease store.Lease) (next time.Time, err error) {
	soon := time.Now().Add(l.terms.Backoff)
	if err := l.adopt(ctx); err != nil {
		return soon, err
	}
	if at := l.renewAt(ctx); time.Now().Before(at) {
		return earliest(at, jittered(time.Now(), lookInterval)), nil
	}
	past, err := loadFailures(ctx, l.records, l.subject.name)
	if err != nil {
		return soon, fmt.Errorf("reading what went wrong before: %w", err)
	}
	ctx, stop := keep(ctx, lease)
	defer stop()
	old := l.subject.held.Load()
	h, next, err := l.ask(ctx, past, lease.Fence())
	if err != nil {
		return next, err
	}
	if old != nil && time.Now().Before(old.settled()) {
		h.Early = min(old.Early+1, maxEarly)
	}
	if err := save(ctx, l.records, l.subject.name, h, lease.Fence()); err != nil {
		return soon, fmt.Errorf("storing a certificate: %w", err)
	}
	l.subject.held.Store(h)
	l.subject.used.Store(false)
	l.issuer.madeNew(l.subject)
	if err := remove(ctx, l.records, prefixFailures+l.subject.name); err != nil {
		l.issuer.log.Warn("forgetting failures", "name", l.subject.name, "error", err.Error())
	}
	next = l.renewAt(ctx)
	if l.doubt(ctx, h, lease.Fence()) != h {
		next = l.renewAt(ctx)
	}
	return earliest(next, jittered(time.Now(), lookInterval)), nil
}

// ask orders from the first authority that may be asked and does it.
func (l *looking) ask(ctx context.Context, past *failures, fence store.Fence) (h *held, next time.Time, err error) {
	i, name := l.issuer, l.subject.name
	if len(l.terms.challenges(name)) == 0 {
		return nil, time.Now().Add(longestPause), errNoChallenge
	}
	i.mu.Lock()
	l.subject.state = Ordering
	i.mu.Unlock()
	tried := false
	for c := range l.terms.CAs {
		ca := i.ca(l.terms.CAs[c])
		quiet, why := ca.quietUntil()
		if at := latest(past.until(ca.id()), quiet); time.Now().Before(at) {
			next, err = first(next, at), past.error(why)
			continue
		}
		tried = true
		i.log.Info("ordering a certificate", "name", name, "ca", ca.Directory)
		var s *session
		h, s, err = l.orderFrom(ctx, ca)
		if err == nil {
			i.Counts.order(ca.host(), true)
			i.log.Info("a certificate was issued", "name", name, "ca", ca.Directory, "until", h.leaf.NotAfter)
			return h, time.Time{}, nil
		}
		if ctx.Err() != nil {
			return nil, time.Now(), err
		}
		i.Counts.order(ca.host(), false)
		ca.forget()
		s.givenUp(l.terms.Backoff)
		at := past.add(ca.id(), err, l.terms, s.retryAt())
		next = first(next, at)
		i.log.Warn("ordering a certificate", "name", name, "ca", ca.Directory, "error", brief(err), "again", at)
	}
	if tried {
		if serr := past.save(ctx, l.records, name, fence); serr != nil {
			i.log.Warn("storing what went wrong", "name", name, "error", serr.Error())
		}
	}
	return nil, next, err
}

var errNoChallenge = errors.New("none of the challenges that are allowed can prove control over it")

func (l *looking) orderFrom(ctx context.Context, ca *authority) (*held, *session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.terms.Timeout)
	defer cancel()
	s, err := ca.open(ctx, l.terms.Timeout)
	if err != nil {
		return nil, s, err
	}
	o := &order{name: l.subject.name, terms: l.terms, records: l.records, proofs: l.issuer.proofs, replaces: l.subject.held.Load()}
	h, err := o.from(ctx, s)
	return h, s, err
}

// ca returns how a CA is reached.
func (i *Issuer) ca(ca CA) *authority {
	i.mu.Lock()
	defer i.mu.Unlock()
	if a := i.cas[caKey(ca)]; a != nil {
		return a
	}
	return newAuthority(ca, i.product) // of terms that do not hold any more
}

// keep renews a lease until stop is called. The context ends when it is lost.
func keep(ctx context.Context, lease store.Lease) (kept context.Context, stop func()) {
	kept, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(orderLease / 3)
		defer tick.Stop()
		for {
			select {
			case <-kept.Done():
				return
			case <-tick.C:
			}
			if err := lease.Renew(kept, orderLease); errors.Is(err, store.ErrFenced) {
				cancel(err)
				return
			}
		}
	}()
	return kept, func() {
		cancel(nil)
		<-done
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// first is earliest for times of which the zero value is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return earliest(a, b)
}

// jittered returns a time after about d, so that nodes do not act in step.
func jittered(now time.Time, d time.Duration) time.Time {
	return now.Add(d - d/10 + rand.N(d/5))
}
