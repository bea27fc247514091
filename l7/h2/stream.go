package h2

import (
	"math"
	"os"
	"slices"
	"sync"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// stream is a request and its answer. The connection keeps it for later streams
// once its exchange has ended, so that only the exchange's goroutines, and the
// reader under conn.mu while the stream stands in conn.streams, touch it.
type stream struct {
	c       *conn
	id      uint32
	x       *l7.Exchange
	held    *held
	refused *l7.Error // why it is not served, but only answered; nil: it is
	connect bool      // CONNECT with a protocol (RFC 8441)

	body   body
	wire   wire
	tunnel tunnel

	// What follows is guarded by c.mu.

	live       bool // it counts towards Settings.Streams
	ended      bool // the client's END_STREAM came
	finished   bool // ours, or RST_STREAM, was gathered
	reset      bool // by either side
	resetByUs  bool
	headSent   bool  // the final head
	waits100   bool  // the client waits for 100 (Continue)
	failed     error // why the answer cannot be sent; nil: it can
	readable   sync.Cond
	writable   sync.Cond
	readSince  int64 // sock.Now since when content is waited for; 0: it is not
	writeSince int64 // sock.Now since when the answer makes no progress; 0: it does

	window        int64 // what may be sent
	widest        int64 // the largest window so far
	want          int   // what is to be sent next
	late          bool  // it is sent although it is little
	shut          int64 // sock.Now since when the window lets through too little; 0: it does not
	trickled      int   // bytes it has let through since
	needsNoWindow bool  // what is waited for is room alone
	queued        bool  // it stands in c.waiting
	ticket        uint64
	urgency       uint8
	incremental   bool

	receive  int64 // what the client may still send
	length   int64 // of the content, if announced; -1: not
	received int64 // content so far
	untold   int   // content that was taken, and that the client is not told of yet
	lingers  int64 // sock.Now since when only the rest of the content is waited for; 0: it is served
	spare    int   // bytes that it may still bring then
	content  content
	bodyErr  *l7.Error // why there is no more content
	stopped  bool
	trailer  l7.Header
}

// newStream returns an empty stream. c.mu is held.
func (c *conn) newStream(id uint32) *stream {
	var st *stream
	if n := len(c.free); n > 0 {
		st = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		st = &stream{c: c}
		st.readable.L, st.writable.L = &c.mu, &c.mu
	}
	st.id = id
	st.window, st.widest, st.receive = c.firstWindow, c.firstWindow, int64(c.settings.StreamWindow)
	st.urgency = defaultUrgency
	st.ticket = math.MaxUint64
	return st
}

// recycle empties a stream. c.mu is held.
func (c *conn) recycle(st *stream) {
	st.content.drop()
	st.wire.drop()
	trailer := st.trailer
	trailer.Reset()
	*st = stream{c: c, readable: sync.Cond{L: &c.mu}, writable: sync.Cond{L: &c.mu}, trailer: trailer}
	if len(c.free) < c.settings.Streams {
		c.free = append(c.free, st)
	}
}

// find returns the stream id, if it is open or being served. c.mu is held.
func (c *conn) find(id uint32) *stream {
	i, ok := slices.BinarySearchFunc(c.streams, id, func(st *stream, id uint32) int { return int(int64(st.id) - int64(id)) })
	if !ok {
		return nil
	}
	return c.streams[i]
}

func (c *conn) remove(st *stream) {
	i, ok := slices.BinarySearchFunc(c.streams, st.id, func(st *stream, id uint32) int { return int(int64(st.id) - int64(id)) })
	if ok {
		c.streams = slices.Delete(c.streams, i, i+1)
	}
}

// settle takes note of how far both sides have come. c.mu is held.
func (st *stream) settle() {
	if st.live && (st.reset || st.ended && st.finished) {
		st.live = false
		st.c.open--
	}
}

// failure returns why the answer cannot go on, or nil. c.mu is held.
func (st *stream) failure() error {
	switch {
	case st.failed != nil:
		return st.failed
	case st.c.err != nil:
		return errGone
	case st.tunnel.writeLate:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wakeAll lets everybody who waits on the stream look again. c.mu is held.
func (st *stream) wakeAll() {
	st.readable.Broadcast()
	st.writable.Broadcast()
}

// stop lets the answer and the content fail from now on. c.mu is held.
func (st *stream) stop(err *l7.Error) {
	if st.failed == nil {
		st.failed = err
	}
	if st.bodyErr == nil && !st.ended {
		st.bodyErr = err
	}
	st.wakeAll()
}

// resetBy gathers an RST_STREAM and ends the stream. It is a no-op if either
// side has done that. c.mu is held.
func (st *stream) resetBy(code http2.ErrCode, err *l7.Error) {
	c := st.c
	if st.reset || st.finished && st.ended || c.err != nil {
		st.stop(err)
		return
	}
	st.reset, st.resetByUs, st.finished = true, true, true
	c.setGathered(appendReset(c.gathered(), st.id, code))
	c.due = true
	st.stop(err)
	st.settle()
}

// stall ends a stream whose client takes nothing. c.mu is held.
func (st *stream) stall() { st.resetBy(http2.ErrCodeCancel, errWriteStall) }

// resetStream is resetBy for the client's fault. A stream that waits for a worker
// is not served any more. c.mu is held.
func (c *conn) resetStream(st *stream, code http2.ErrCode) {
	c.glitch(glitchStream)
	if st.ended && st.finished && !st.reset { // it is only not taken off the connection yet
		c.tellReset(st.id, code)
		return
	}
	st.resetBy(code, errMalformed)
	c.dropUnserved(st)
}

// awaitTurn waits for something that may let the stream send. c.mu is held, but
// not while it waits.
func (st *stream) awaitTurn() {
	c := st.c
	if !st.queued {
		st.queued = true
		c.tickets++
		st.ticket = c.tickets
		c.waiting = append(c.waiting, st)
	}
	if st.writeSince == 0 {
		st.writeSince = sock.Now()
	}
	if least := st.least(); !st.needsNoWindow && st.shut == 0 && st.window < least {
		st.shut, st.trickled = sock.Now(), 0
	} else if !st.needsNoWindow && c.shut == 0 && c.window < least {
		c.shut, c.trickled = sock.Now(), 0
	}
	st.writable.Wait()
}

// leaveTurn gives the turn to the next stream.
func (st *stream) leaveTurn() {
	c := st.c
	if st.queued {
		i := slices.Index(c.waiting, st)
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	st.queued, st.ticket, st.writeSince, st.needsNoWindow, st.late = false, math.MaxUint64, 0, false, false
	c.wakeNext()
}

// closedStream says how a stream came to its end.
type closedStream uint8

const (
	neverOpened   closedStream = iota // or so long ago that it is not known any more
	closedByEnd                       // both sides have ended it
	closedByReset                     // the client has reset it
	closedByUs                        // we have; frames may have been on their way
)

// closedRing remembers how the last streams ended.
type closedRing struct {
	ids [64]uint32
	how [64]closedStream
	at  int
}

func (r *closedRing) add(id uint32, how closedStream) {
	r.ids[r.at], r.how[r.at] = id, how
	r.at = (r.at + 1) % len(r.ids)
}

func (r *closedRing) find(id uint32) closedStream {
	for i, v := range r.ids {
		if v == id {
			return r.how[i]
		}
	}
	return neverOpened
}

// content is what came of a request's content and was not taken yet.
type content struct {
	pieces []piece
	size   int
}

// piece is a part of content: block.B[from:to].
type piece struct {
	block    *buf.Block
	from, to int
}

// add copies p behind what is there.
func (q *content) add(p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		if n := len(q.pieces); n > 0 {
			last := &q.pieces[n-1]
			k := copy(last.block.B[last.to:], p)
			last.to += k
			p = p[k:]
		}
		if len(p) > 0 {
			q.pieces = append(q.pieces, piece{block: buf.Get(min(len(p), buf.Medium))})
		}
	}
}

// read moves content to p.
func (q *content) read(p []byte) (n int) {
	for n < len(p) && len(q.pieces) > 0 {
		first := &q.pieces[0]
		k := copy(p[n:], first.block.B[first.from:first.to])
		first.from += k
		n += k
		if first.from == first.to {
			first.block.Put()
			q.pieces = slices.Delete(q.pieces, 0, 1)
		}
	}
	q.size -= n
	return n
}

func (q *content) drop() {
	for i := range q.pieces {
		q.pieces[i].block.Put()
	}
	*q = content{}
}
