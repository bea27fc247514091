package l7

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// lastingShards is how many lists the exchanges are spread over, so that they
// seldom wait for each other.
const lastingShards = 16

// Lasting holds the exchanges under way whose client was asked for a certificate,
// or was recognised by one, so that who looks after what lasts finds those that
// do. One that is short costs two locks that nobody else holds, and no memory.
// Safe for concurrent use.
type Lasting struct {
	// Wake tells that there is one where there was none. It must not wait.
	Wake func()

	awake  atomic.Bool // Take is to be called, and who does so knows it
	shards [lastingShards]lastingShard
}

// lastingShard is a list of exchanges in the order they came in.
type lastingShard struct {
	mu             sync.Mutex
	oldest, newest *Exchange

	_ [40]byte // so that no two stand in one line of a processor's cache
}

// lasting is an exchange's place among others.
type lasting struct {
	// Owned by the exchange's goroutine.
	in *lastingShard // nil: it has none

	// Set before it comes in.
	since int64 // sock.Now
	wire  Wire  // the engine's

	// Guarded by in.mu.
	older, newer *Exchange
	leave        func() // of who has taken the exchange over; nil: it stands in the list

	why error // of its end from outside; set before leave returns
}

// Taker takes an exchange that lasts over. It copies what it wants to know and
// keeps nothing else of the exchange: a lock is held that keeps it from ending. From
// then until leave has returned end may be called, once and by any goroutine; it
// breaks the exchange off, and may wait for the client.
type Taker func(x *Exchange, end func(why error)) (leave func())

// Take hands those over that came in at a time of sock.Now's or before, and reports
// whether there are others. Only one goroutine calls it, when it is woken and then
// until nothing is left.
func (l *Lasting) Take(at int64, take Taker) (left bool) {
	l.awake.Store(false) // before looking, so that none that comes meanwhile is missed
	for i := range l.shards {
		if l.shards[i].take(at, take) {
			left = true
		}
	}
	if left {
		l.awake.Store(true)
	}
	return left
}

func (s *lastingShard) take(at int64, take Taker) (left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.oldest != nil && s.oldest.lasting.since <= at {
		x := s.oldest
		leave := take(x, x.cut)
		s.unlink(x)
		x.lasting.leave = leave
	}
	return s.oldest != nil
}

// cut is what ends an exchange from outside.
func (x *Exchange) cut(why error) {
	x.lasting.why = why
	x.lasting.wire.Abort(ReasonCertificate)
}

// unlink takes x out of the list. s.mu is held.
func (s *lastingShard) unlink(x *Exchange) {
	at := &x.lasting
	if at.older != nil {
		at.older.lasting.newer = at.newer
	} else {
		s.oldest = at.newer
	}
	if at.newer != nil {
		at.newer.lasting.older = at.older
	} else {
		s.newest = at.older
	}
	at.older, at.newer = nil, nil
}

// enter brings x in, whose route is known.
func (l *Lasting) enter(x *Exchange) {
	s := &l.shards[l.shard(x)]
	at := &x.lasting
	at.in, at.since = s, sock.Now()
	if at.wire == nil {
		at.wire = x.Wire // nothing stands in front of the engine's yet
	}
	s.mu.Lock()
	at.older = s.newest
	if s.newest != nil {
		s.newest.lasting.newer = x
	} else {
		s.oldest = x
	}
	s.newest = x
	s.mu.Unlock()
	if !l.awake.Load() && l.awake.CompareAndSwap(false, true) {
		l.Wake()
	}
}

// shard spreads exchanges by their ids, which are random.
func (l *Lasting) shard(x *Exchange) int {
	if x.ID == "" {
		return 0
	}
	return int(x.ID[0]) % lastingShards
}

// leaveLasting takes the exchange out. When it has returned nobody ends it from
// outside any more.
func (x *Exchange) leaveLasting() {
	s := x.lasting.in
	if s == nil {
		return
	}
	x.lasting.in = nil
	s.mu.Lock()
	leave := x.lasting.leave
	x.lasting.leave = nil
	if leave == nil {
		s.unlink(x)
	}
	s.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// stands reports whether the exchange stands on a certificate, or on that none had
// to be shown.
func (x *Exchange) stands() bool { return x.Conn.TLS.Judged() || len(x.certified) > 0 }

// enterLasting brings the exchange in if it is to be looked after. Its route is known.
func (x *Exchange) enterLasting() {
	if l := x.pipeline.Lasting; l != nil && x.lasting.in == nil && x.Route != nil && x.stands() {
		l.enter(x)
	}
}

// brokenOff takes the exchange out, and returns why it was ended from outside; nil
// if it was not.
func (x *Exchange) brokenOff() *Error {
	x.leaveLasting()
	if x.lasting.why == nil {
		return nil
	}
	return Decertified(x.lasting.why)
}

// Decertified is the error of an exchange that was ended because its client would
// not be let in any more.
func Decertified(why error) *Error {
	return &Error{Status: http.StatusUnauthorized, Reason: ReasonCertificate, Side: SideClient, Err: why}
}
