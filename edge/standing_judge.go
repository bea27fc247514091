package edge

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// judge ends t if it would not be let in today. It reports whether that is known.
// By a snapshot that serves no more nothing is ended: another one is to be looked at
// then, and is.
func (s *standing) judge(ctx context.Context, snapshot *Snapshot, now epoch, t *stand, wait bool) (known bool) {
	until, known, err := s.surely(ctx, snapshot, t, wait)
	switch {
	case ctx.Err() != nil || !known:
		return known
	case err != nil:
		if s.now().applied != now.applied {
			return true
		}
		s.finish(t, err)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.judged, t.until = now, until
	return true
}

// finish ends t, aside if that may have to wait.
func (s *standing) finish(t *stand, why error) {
	if !t.waits {
		s.cut(t, why)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.ending {
		return
	}
	t.ending = true
	s.work.Go(func() {
		defer s.survive(func() {})
		s.cut(t, why)
	})
}

// cut ends t.
func (s *standing) cut(t *stand, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	verify := l4.VerifyFailed + peer.Code(why, l7.NotAllowed)
	if u, ok := errors.AsType[*l7.Uncertified](why); ok {
		u.Verify = verify
	} else if t.stream {
		t.info.TLS.SetClientVerify(verify)
	} else { // others may share the connection
		why = &l7.Uncertified{Verify: verify, Err: why}
	}
	log := s.edge.env.Log
	if log.Enabled(context.Background(), slog.LevelInfo) && s.line() {
		log.Info("ending what its client's certificate has let in", "listener", t.info.Listener, "client", t.info.ClientIP, "server_name", t.info.ServerName(), "error", why.Error())
	}
	t.end(why)
}

// line reports whether one that is ended gets a line of the log.
func (s *standing) line() bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.told) >= time.Second {
		s.told, s.lines = now, 0
	}
	if s.lines >= standingLines {
		s.untold++
		return false
	}
	s.lines++
	return true
}

// tellRest logs how many were ended without a line.
func (s *standing) tellRest() {
	s.mu.Lock()
	n := s.untold
	s.untold = 0
	s.mu.Unlock()
	if n > 0 {
		s.edge.env.Log.Info("ended more of what clients' certificates have let in; the access log tells of each", "count", n)
	}
}

// surely is verdict, but that t is not let in when it panics.
func (s *standing) surely(ctx context.Context, snapshot *Snapshot, t *stand, wait bool) (until time.Time, known bool, err error) {
	defer s.survive(func() { known, err = true, t.blame(errNoVerdict) })
	return s.verdict(ctx, snapshot, t, wait)
}

// verdict says whether t would be let in under a snapshot, and when that is to be
// asked again at the latest.
func (s *standing) verdict(ctx context.Context, snapshot *Snapshot, t *stand, wait bool) (until time.Time, known bool, err error) {
	where := snapshot.site(t.info.Listener)
	if where == snapshot.orphan {
		return until, true, t.blame(errListenerGone)
	}
	if set := t.site(where); t.verified {
		if set == nil {
			return until, true, errListenerGone // another has its name, which has no TLS
		}
		r, err := set.Stands(ctx, t.info.TLS.Client, t.host, wait)
		if err != nil || !r.Known {
			return until, r.Known, err
		}
		until = r.Until
	}
	for i := range t.certified {
		r, err := s.recertify(ctx, snapshot, where, t, &t.certified[i], wait)
		if err != nil || !r.Known {
			return until, r.Known, told(&t.certified[i], err)
		}
		until = sooner(until, r.Until)
	}
	return until, true, nil
}

// blame is the error of what is not of one certificate: it is told of the
// connection's, or else of the first that a plugin has recognised.
func (t *stand) blame(err error) error {
	if t.verified || len(t.certified) == 0 {
		return err
	}
	return told(&t.certified[0], err)
}

// told lets an error be told of the certificate that a plugin has recognised.
func told(c *l7.Certified, err error) error {
	if err == nil || c.LogName == "" {
		return err
	}
	return &l7.Uncertified{LogName: c.LogName, Err: err}
}

// recertify asks the plugins that run for the route today. Without one of the kind
// nothing is asked of clients any more.
func (s *standing) recertify(ctx context.Context, snapshot *Snapshot, where *site, t *stand, c *l7.Certified, wait bool) (l7.Recertified, error) {
	route := snapshot.routeOf(t.route)
	if route == nil {
		return l7.Recertified{Known: true}, errRouteGone
	}
	plan := route.Plan
	if where.RoutePlan != nil {
		plan = where.RoutePlan(route)
	}
	all := l7.Recertified{Known: true}
	asked := false
	for i := range plan.Request {
		p, ok := plan.Request[i].Hook.(l7.Certifier)
		if !ok || plan.Request[i].Kind != c.Kind {
			continue
		}
		r, err := p.Recertify(ctx, snapshot.Config, c, wait)
		if err != nil || !r.Known {
			return l7.Recertified{Known: r.Known}, err
		}
		asked = true
		all.Same = all.Same || r.Same
		all.Until = sooner(all.Until, r.Until)
	}
	if asked && !all.Same {
		return all, policy.ErrNotAllowed
	}
	return all, nil
}

// sooner returns the earlier time, the zero value being never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
