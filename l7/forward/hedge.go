package forward

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// hedgeable reports whether the request may be under way at two endpoints at
// once: its method is safe (RFC 9110 section 9.2.1), and it has neither content
// nor an Upgrade. TRACE is safe too, but tells of the connection it is sent on.
func (l *leg) hedgeable() bool {
	switch l.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return l.x.Req.Body == nil && l.x.BodyToSend() == nil && l.x.Req.Upgrade == ""
	}
	return false
}

// hedged is try for a request that may be hedged. As long as all goes well it
// asks on the exchange's goroutine, as try does. What takes longer becomes a race
// of at most two runners, each a try with a goroutine of its own, all of which
// have ended before anything of the final answer is written.
func (l *leg) hedged() *l7.Error {
	r := new(race)
	defer r.close(l.x)
	first := r.enter(l)
	if first == nil {
		return l.x.Err() // nil: a hook has replied
	}
	if first.askKept(l.now, min(l.hedgeAfter, silence)) {
		r.won = first
	} else if r.cause = r.run(l, first); r.won == nil {
		return r.cause // nil: a hook has replied
	}
	r.leave(l.x)
	return l.deliver(r.won)
}

// deliver takes over the answer of the runner that has won, and brings it to the
// client.
func (l *leg) deliver(a *runner) *l7.Error {
	l.endpoint, l.at, l.reported = a.endpoint, a.at, false
	l.x.Tries[l.at].Latency = a.latency
	conn, answer := a.hand()
	l.conn = conn
	defer l.abandon()
	err := l.part(l.receive(answer))
	if err != nil {
		l.x.Tries[l.at].Err = err
		l.reportError(err)
	}
	return err
}

// race is a request under way at up to two endpoints. It belongs to the
// exchange's goroutine, which alone touches the exchange; close ends whatever
// is left of it.
type race struct {
	runners [2]*runner
	entered int       // runners so far
	won     *runner   // whose answer is taken, or nil
	cause   *l7.Error // why there is none
	replied bool      // a hook has answered in place of a second runner

	events chan event
	work   sync.WaitGroup
}

// event is what a runner tells the race: an interim head, or that it has ended.
type event struct {
	runner  *runner
	interim *l7.Response // nil: the runner has ended
}

// enter begins a try at l.endpoint. It returns nil if a hook has answered.
func (r *race) enter(l *leg) *runner {
	l.begin().Hedge = r.entered > 0
	a := &runner{
		endpoint: l.endpoint, at: l.at, started: l.now, service: l.service, client: l.client, method: l.method,
	}
	r.runners[r.entered] = a
	r.entered++
	if l.x.RunUpstreamHooks() == l7.Done {
		return nil
	}
	a.pool = l.pool()
	a.ask(l.appendHead, l.x.Req.HeadSize)
	return a
}

// start lets a go on, on a goroutine of its own.
func (r *race) start(a *runner) {
	a.events = r.events
	a.ctx, a.cancel = context.WithCancel(context.Background())
	r.work.Go(a.run)
}

// run waits until a runner has a final head, which is won then, or all have
// failed. A second one is started when the time for it has come.
func (r *race) run(l *leg, first *runner) *l7.Error {
	r.events = make(chan event)
	r.start(first)
	hedge := time.NewTimer(l.hedgeAfter - time.Duration(sock.Now()-first.started))
	defer hedge.Stop()
	look := time.NewTicker(silence)
	defer look.Stop()
	for live := 1; ; {
		select {
		case e := <-r.events:
			switch {
			case e.interim != nil:
				if err := l.interim(e.interim); err != nil {
					return err
				}
			case e.runner.err == nil:
				r.won = e.runner
				if r.won != first {
					l.client.Metrics.UpstreamHedgesWon.Inc()
				}
				return nil
			default:
				if live--; live == 0 {
					return r.failed(l, first, e.runner)
				}
				r.note(l.x, e.runner)
				e.runner.release() // not only when the other one has ended
			}
		case <-hedge.C:
			if r.second(l) {
				live++
			}
			if r.replied {
				return l.x.Err()
			}
		case <-look.C:
			if l.x.Wire.Departed() {
				return noAnswer(errDeparted, true, false, false)
			}
		}
	}
}

// failed returns why nobody has won: what the last one to fail says, unless that
// had no place at its endpoint and has asked nobody.
func (r *race) failed(l *leg, first, last *runner) *l7.Error {
	if last.err.Reason == l7.ReasonPending {
		if last != first {
			return first.err
		}
		last.err.Retryable = l.others()
	}
	return last.err
}

// second starts a runner at another endpoint, if there is a fit one and the
// budgets allow it.
func (r *race) second(l *leg) bool {
	choice := l.choice
	choice.Tried = l.tried
	e, err := l.service.Balancer.PickHedge(&choice, sock.Now())
	if err != nil {
		if errors.Is(err, upstream.ErrHedgeBudget) {
			l.client.Metrics.UpstreamHedgesRefused.Inc()
		}
		return false
	}
	l.endpoint, l.hedgeAfter = e, 0
	a := r.enter(l)
	if a == nil {
		r.replied = true
		return false
	}
	l.client.Metrics.UpstreamHedges.Inc()
	r.start(a)
	return true
}

// leave ends all runners but the one that has won, and waits for every
// goroutine. The connections of those that have lost are closed.
func (r *race) leave(x *l7.Exchange) {
	for _, a := range r.runners[:r.entered] {
		if a != r.won {
			a.stop()
		}
	}
	r.work.Wait()
	for _, a := range r.runners[:r.entered] {
		if a != r.won && !a.left {
			r.note(x, a)
			a.release()
		}
	}
}

// note records how a runner that has not won has ended.
func (r *race) note(x *l7.Exchange, a *runner) {
	t := &x.Tries[a.at]
	t.Latency = a.latency
	switch {
	case a.request == nil: // a hook has answered
	case a.err != nil:
		t.Err = a.err
	case r.won != nil || r.replied:
		t.Cancelled = true
		if r.won != nil && a.at < r.won.at {
			// A later one began later, and may have been about to be faster.
			now := sock.Now()
			a.endpoint.Report(upstream.Outcome{Kind: upstream.OutcomeOvertaken, Latency: time.Duration(now - a.started)}, now)
		}
	default:
		t.Err = r.cause
	}
}

// close ends the race, also after a panic.
func (r *race) close(x *l7.Exchange) {
	r.leave(x)
	for _, a := range r.runners[:r.entered] {
		if a.err != nil && a.err != r.cause { // Forward counts that
			a.client.count(a.err)
		}
	}
	if r.won != nil {
		r.won.release()
	}
}
