package edge

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

const (
	// standingPause is what lies between two looks at what goes on by clients'
	// certificates, at least, and standingInterval at most.
	standingPause, standingInterval = time.Second, time.Minute
	// standingSlice is how many are judged in a row, and slicePause what lies before
	// the next ones, so that others have their turn.
	standingSlice, slicePause = 128, 2 * time.Millisecond
	// standingAsks bounds those for which servers are being asked. The others wait,
	// and keep none waiting of which all is known.
	standingAsks = 16
)

var (
	errListenerGone = errors.New("its listener has gone, so nobody says what is asked of its clients")
	errNoVerdict    = errors.New("nobody can say whether it would be let in")
	errRouteGone    = errors.New("its route has gone, so nobody says who is let in")
)

var _ l7.Standing = (*standing)(nil)

// standing judges again what goes on by a client's certificate long after its
// beginning: tunnels, and streams that are terminated here. What would not be let
// in today is ended. It is done by one goroutine, when something has changed by
// which they were judged, or the time of a verdict is over. Safe for concurrent
// use.
type standing struct {
	edge *Edge
	life context.Context // ends by end: no server is asked any more, and nothing held
	end  context.CancelFunc
	wake chan struct{} // holds one when there is something new to look at
	asks chan struct{} // holds one for each question to servers under way
	work sync.WaitGroup

	mu  sync.Mutex
	all map[*stand]struct{}

	list []*stand // the goroutine's that looks
}

// stand is a tunnel or stream that is looked after.
type stand struct {
	info      *l4.Info
	site      func(*site) *policy.Set // of its kind
	host      string
	verified  bool           // the connection's certificate is a policy's to verify
	certified []l7.Certified // what plugins have said
	route     config.ID      // that those stand on

	// Guarded by standing.mu.
	judged epoch
	until  time.Time          // zero: when anything changes
	asking context.CancelFunc // ends the question under way; nil: there is none

	mu   sync.Mutex // held while end runs
	over bool
	end  func(why error)
}

// epoch tells apart what verdicts may depend on. The zero value is before all.
type epoch struct{ applied, generation uint64 }

func newStanding(e *Edge) *standing {
	life, end := context.WithCancel(context.Background())
	return &standing{
		edge: e, life: life, end: end, wake: make(chan struct{}, 1), asks: make(chan struct{}, standingAsks), all: make(map[*stand]struct{}),
	}
}

// Watch looks after an exchange that lasts.
func (s *standing) Watch(x *l7.Exchange, end func(why error)) (unwatch func()) {
	return s.add(&stand{
		info: x.Conn, site: func(t *site) *policy.Set { return t.tls }, host: x.Host, verified: x.Conn.TLS != nil && x.Conn.TLS.Shown(),
		certified: x.Certified(), route: x.Route.Entity.ID, end: end,
	})
}

// watchStream looks after a stream whose client has shown a certificate.
func (s *standing) watchStream(c *l4.Conn) (unwatch func()) {
	return s.add(&stand{
		info: &c.Info, site: func(t *site) *policy.Set { return t.stream.tls }, host: c.TLS.ServerName, verified: true,
		end: func(error) { c.CutFor(l4.ReasonCertificate) },
	})
}

// add takes a stand in. It is judged soon: what it was let in by may have changed
// since.
func (s *standing) add(t *stand) (remove func()) {
	s.mu.Lock()
	s.all[t] = struct{}{}
	s.mu.Unlock()
	s.poke()
	return func() {
		t.mu.Lock()
		t.over = true
		t.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, t)
		if t.asking != nil {
			t.asking()
		}
	}
}

func (s *standing) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run looks until the end. While there is nothing to look after it sleeps.
func (s *standing) run(swapped <-chan struct{}) {
	ctx := s.life
	defer s.work.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-swapped:
		case <-s.edge.env.Peers.Changed():
		case <-timer.C:
		}
		next := s.walk(ctx)
		if !pause(ctx, standingPause) {
			return
		}
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// walk judges what is to be judged, and returns in which time it is to be done
// again; 0: when something changes.
func (s *standing) walk(ctx context.Context) (next time.Duration) {
	defer s.survive(func() { next = standingInterval })
	now := s.now() // before the verdicts, so that a change meanwhile is seen
	s.findDue(now)
	defer func() {
		clear(s.list) // what has ended is not to be kept
		s.list = s.list[:0]
	}()
	if len(s.list) > 0 {
		snapshot := s.edge.hold()
		if snapshot == nil {
			return 0
		}
		defer snapshot.release()
		for i, t := range s.list {
			if i%standingSlice == standingSlice-1 && !pause(ctx, slicePause) {
				return 0
			}
			if !s.judge(ctx, snapshot, now, t, false) {
				s.ask(ctx, t)
			}
		}
	}
	return s.next(time.Now())
}

// findDue fills list with what is to be judged.
func (s *standing) findDue(now epoch) {
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.all {
		if t.judged != now || !t.until.IsZero() && !at.Before(t.until) {
			s.list = append(s.list, t)
		}
	}
}

// next returns in which time the next verdict ends, as walk does.
func (s *standing) next(at time.Time) (next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.all {
		left := standingInterval
		if !t.until.IsZero() {
			left = min(left, max(t.until.Sub(at), 1))
		}
		if next == 0 || left < next {
			next = left
		}
	}
	return next
}

// ask judges on a goroutine of its own, which may wait for servers, unless there
// are too many: then it is for a walk when one of them has ended.
func (s *standing) ask(ctx context.Context, t *stand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.asking != nil {
		return
	}
	select {
	case s.asks <- struct{}{}:
	default:
		return
	}
	ctx, t.asking = context.WithCancel(ctx)
	if _, in := s.all[t]; !in {
		t.asking() // it has ended meanwhile
	}
	s.work.Go(func() {
		defer s.survive(func() {})
		defer func() {
			s.mu.Lock()
			t.asking()
			t.asking = nil
			s.mu.Unlock()
			<-s.asks
			s.poke()
		}()
		now := s.now()
		if snapshot := s.edge.hold(); snapshot != nil {
			defer snapshot.release()
			s.judge(ctx, snapshot, now, t, true)
		}
	})
}

func (s *standing) now() epoch {
	return epoch{s.edge.applied.Load(), s.edge.env.Peers.Generation()}
}

// survive is deferred, and calls then after a panic.
func (s *standing) survive(then func()) {
	if v := recover(); v != nil {
		s.edge.env.Metrics.Panics.Inc()
		s.edge.env.Log.Error("recovering from a panic while judging what stands on a certificate", "panic", v, "stack", string(debug.Stack()))
		then()
	}
}

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
		s.cut(t, err)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.judged, t.until = now, until
	return true
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
	} else if t.info.TLS != nil {
		t.info.TLS.SetClientVerify(verify)
	}
	log := s.edge.env.Log
	if log.Enabled(context.Background(), slog.LevelInfo) {
		log.Info("ending what its client's certificate has let in", "listener", t.info.Listener, "client", t.info.ClientIP, "server_name", t.info.ServerName(), "error", why.Error())
	}
	t.end(why)
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

// hold returns the current snapshot, held once; nil after the end of the edge.
func (e *Edge) hold() *Snapshot {
	for {
		s := e.current.Load()
		if s.acquire() {
			return s
		}
		if e.current.Load() == s {
			return nil
		}
	}
}
