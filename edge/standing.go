package edge

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

const (
	// standingPause is what lies between two looks at what goes on by clients'
	// certificates, at least, and standingInterval at most.
	standingPause, standingInterval = time.Second, time.Minute
	// standingSlice is how many are judged in a row, and slicePause what lies before
	// the next ones, so that others have their turn.
	standingSlice, slicePause = 128, 2 * time.Millisecond
	// lastingAge is how long an exchange has been under way that is looked after.
	lastingAge = 2 * time.Second
	// standingLines is how many that are ended get a line of the log each, within a
	// second. The others are told in one.
	standingLines = 10
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

// standing judges again what goes on by a client's certificate, or because it had to
// show none, long after its beginning: exchanges that last, tunnels, and streams that
// are terminated here. What would not be let in today is ended. It is done by one goroutine, when something has changed by
// which they were judged, or the time of a verdict is over. Safe for concurrent
// use.
type standing struct {
	edge *Edge
	life context.Context // ends by end: no server is asked any more, and nothing held
	end  context.CancelFunc
	wake chan struct{} // holds one when there is something new to look at
	asks chan struct{} // holds one for each question to servers under way
	work sync.WaitGroup

	lasting l7.Lasting // exchanges, until they have lasted

	mu     sync.Mutex
	all    map[*stand]struct{}
	told   time.Time // since when lines are counted
	lines  int
	untold int // that were ended without a line

	list []*stand // the goroutine's that looks
}

// stand is an exchange, tunnel or stream that is looked after.
type stand struct {
	info      *l4.Info
	site      func(*site) *policy.Set // of its kind
	host      string
	verified  bool           // the connection's certificate, or that there is none, is a policy's to judge
	certified []l7.Certified // what plugins have said
	route     config.ID      // that those stand on

	// Guarded by standing.mu.
	judged epoch
	until  time.Time          // zero: when anything changes
	asking context.CancelFunc // ends the question under way; nil: there is none
	ending bool               // by a goroutine of its own

	waits  bool // end may wait for the client
	stream bool // it is all that its connection is for

	mu   sync.Mutex // held while end runs
	over bool
	end  func(why error)
}

// epoch tells apart what verdicts may depend on. The zero value is before all.
type epoch struct{ applied, generation uint64 }

func newStanding(e *Edge) *standing {
	life, end := context.WithCancel(context.Background())
	s := &standing{
		edge: e, life: life, end: end, wake: make(chan struct{}, 1), asks: make(chan struct{}, standingAsks), all: make(map[*stand]struct{}),
	}
	s.lasting.Wake = s.poke
	return s
}

// Watch looks after a tunnel.
func (s *standing) Watch(x *l7.Exchange, end func(why error)) (unwatch func()) {
	t := standOf(x, end)
	defer s.poke() // what it was let in by may have changed since
	return s.add(t)
}

// takeOver looks after an exchange that lasts.
func (s *standing) takeOver(x *l7.Exchange, end func(why error)) (leave func()) {
	t := standOf(x, end)
	t.waits = true
	return s.add(t)
}

func standOf(x *l7.Exchange, end func(why error)) *stand {
	return &stand{
		info: x.Conn, site: func(t *site) *policy.Set { return t.tls }, host: x.Host, verified: x.Conn.TLS.Judged(),
		certified: x.Certified(), route: x.Route.Entity.ID, end: end,
	}
}

// watchStream looks after a stream whose client was asked for a certificate.
func (s *standing) watchStream(c *l4.Conn) (unwatch func()) {
	defer s.poke()
	return s.add(&stand{
		info: &c.Info, site: func(t *site) *policy.Set { return t.stream.tls }, host: c.TLS.ServerName, verified: true, stream: true,
		end: func(error) { c.CutFor(l4.ReasonCertificate) },
	})
}

// add takes a stand in, which the next walk judges.
func (s *standing) add(t *stand) (remove func()) {
	s.mu.Lock()
	s.all[t] = struct{}{}
	s.mu.Unlock()
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
	defer s.tellRest()
	now := s.now() // before the verdicts, so that a change meanwhile is seen
	young := s.lasting.Take(sock.Now()-int64(lastingAge), s.takeOver)
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
	next = s.next(time.Now())
	if young {
		next = 1 // after standingPause
	}
	return next
}

// findDue fills list with what is to be judged.
func (s *standing) findDue(now epoch) {
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.all {
		if t.ending {
			continue
		}
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
