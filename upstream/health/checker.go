package health

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

const (
	// maxProbes bounds the probes in flight of all upstreams together, whatever
	// the concurrency of each.
	maxProbes = 256

	// firstSpread bounds the time over which the first probes of an upstream's
	// endpoints are spread, so that they do not all go at once.
	firstSpread = 10 * time.Second

	// shortestWait and longestWait bound the time between two looks at which
	// endpoints there are, which of them are healthy, and which are due.
	shortestWait = 10 * time.Millisecond
	longestWait  = time.Second
)

// Spec is how the endpoints of an upstream are checked.
type Spec struct {
	Key         string        // of the upstream; the same after a reload
	Version     string        // of all that is below but the balancer: equal ones mean equal checks
	Name        string        // of the upstream, for the log
	Healthy     time.Duration // between two probes of a healthy endpoint; 0: none
	Unhealthy   time.Duration // between two probes of an unhealthy endpoint; 0: none
	Concurrency int           // probes in flight at once
	Probe       *Probe
	Balancer    *upstream.Balancer
}

// checker checks the endpoints of one upstream. One goroutine decides which are
// due; each probe has one of its own. stop ends and joins them all.
type checker struct {
	spec     Spec // but for the balancer
	balancer atomic.Pointer[upstream.Balancer]
	share    *share // of the probes that all checkers may have in flight
	send     sender
	panics   *telemetry.Counter
	log      *slog.Logger
	short    atomic.Bool // the last probe had no socket, which is logged once

	cancel context.CancelFunc
	end    sync.Once
	work   sync.WaitGroup
	done   chan place // of probes that ended; has room for all in flight
}

// sender is Probe.Send.
type sender func(ctx context.Context, addr netip.AddrPort, host string) (upstream.Outcome, error)

// place is what an endpoint's health belongs to. Endpoints may share one, as
// those of a target that is there twice do.
type place struct {
	addr netip.AddrPort
	host string // of the target
	port uint16 // of the target, which is not the address's if a record has its own
}

// turn is when an endpoint is probed. It belongs to the checker's goroutine.
type turn struct {
	first   time.Time // when it may be probed first
	last    time.Time // when its last probe began; zero: there was none
	running bool
	round   int // in which the endpoint was seen last
}

func startChecker(spec Spec, send sender, all *slots, panics *telemetry.Counter, log *slog.Logger) *checker {
	ctx, cancel := context.WithCancel(context.Background())
	spec.Concurrency = max(1, min(spec.Concurrency, maxProbes))
	c := &checker{
		spec:   spec,
		share:  all.join(),
		send:   send,
		panics: panics,
		log:    log,
		cancel: cancel,
		done:   make(chan place, spec.Concurrency),
	}
	c.balancer.Store(spec.Balancer)
	c.work.Go(func() { c.run(ctx) })
	return c
}

// stop ends the checks, those in flight too, and waits for their end.
func (c *checker) stop() {
	c.cancel()
	c.work.Wait()
	c.end.Do(c.share.leave)
}

func (c *checker) run(ctx context.Context) {
	turns := make(map[place]*turn)
	running := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	soon := true // the timer is about to fire
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case at := <-c.done:
			running--
			if t := turns[at]; t != nil { // always, but not worth the process
				t.running = false
			}
			if !soon {
				soon = true
				timer.Reset(shortestWait)
			}
			continue
		case <-timer.C:
		}
		now := time.Now()
		due, next := c.due(turns, round, now)
		waiting := false
		for _, e := range due {
			if running == c.spec.Concurrency {
				next = now
				break
			}
			if waiting = !c.share.take(); waiting {
				next = now
				break
			}
			at := placeOf(e)
			turns[at].last, turns[at].running = now, true
			running++
			c.work.Go(func() {
				c.check(ctx, e)
				c.share.give()
				c.done <- at
			})
		}
		if !waiting {
			c.share.rest()
		}
		wait := min(longestWait, max(shortestWait, next.Sub(now)))
		soon = wait == shortestWait
		timer.Reset(wait)
	}
}

// due returns the endpoints to be probed now, the longest overdue first, and
// when the next one will be. Turns of endpoints that are gone are dropped.
func (c *checker) due(turns map[place]*turn, round int, now time.Time) (due []*upstream.Endpoint, next time.Time) {
	next = now.Add(longestWait)
	for _, e := range c.balancer.Load().Endpoints() {
		interval := c.spec.Unhealthy
		if e.Healthy() {
			interval = c.spec.Healthy
		}
		at := placeOf(e)
		t := turns[at]
		if t == nil {
			t = &turn{first: now.Add(c.firstDelay())}
			turns[at] = t
		}
		if t.round == round {
			continue // probed by another endpoint: twice would count twice
		}
		t.round = round
		if t.running || interval <= 0 {
			continue
		}
		if when := t.when(interval); when.After(now) {
			if when.Before(next) {
				next = when
			}
			continue
		}
		due = append(due, e)
	}
	for at, t := range turns {
		if t.round != round && !t.running {
			delete(turns, at)
		}
	}
	slices.SortStableFunc(due, func(a, b *upstream.Endpoint) int {
		return turns[placeOf(a)].since().Compare(turns[placeOf(b)].since())
	})
	return due, next
}

func placeOf(e *upstream.Endpoint) place { return place{e.Addr, e.Target.Host, e.Target.Port} }

// when returns when the endpoint is due at the given interval.
func (t *turn) when(interval time.Duration) time.Time {
	if t.last.IsZero() {
		return t.first
	}
	return t.last.Add(interval)
}

// since returns since when the endpoint waits.
func (t *turn) since() time.Time {
	if t.last.IsZero() {
		return t.first
	}
	return t.last
}

// firstDelay returns how long a new endpoint waits for its first probe: a random
// part of the shorter interval.
func (c *checker) firstDelay() time.Duration {
	most := min(cmp.Or(c.spec.Healthy, c.spec.Unhealthy), cmp.Or(c.spec.Unhealthy, c.spec.Healthy), firstSpread)
	return time.Duration(rand.Int64N(int64(most) + 1))
}

// check probes an endpoint and reports what came of it. It is also the border
// at which a broken invariant of the probe stops.
func (c *checker) check(ctx context.Context, e *upstream.Endpoint) {
	defer func() {
		if v := recover(); v != nil {
			c.panics.Inc()
			c.log.Error("BUG: panic while probing an upstream's target", "upstream", c.spec.Name, "target", e.Target.String(), "address", e.Addr.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	before := e.Healthy()
	out, err := c.send(ctx, e.Addr, e.Target.Host)
	if out.Kind == upstream.OutcomeNone {
		if ctx.Err() == nil && !c.short.Swap(true) {
			c.log.Error("probing an upstream's target", "upstream", c.spec.Name, "target", e.Target.String(), "address", e.Addr.String(), "error", err.Error())
		}
		return
	}
	c.short.Store(false)
	e.ReportProbe(out)
	after := e.Healthy()
	if before == after {
		return
	}
	attrs := []any{"upstream", c.spec.Name, "target", e.Target.String(), "address", e.Addr.String(), "status", out.Status}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	if after {
		c.log.Info("target became healthy", attrs...)
	} else {
		c.log.Warn("target became unhealthy", attrs...)
	}
}
