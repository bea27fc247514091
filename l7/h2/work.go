package h2

import (
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// worker is a goroutine that serves one stream after the other.
type worker struct {
	next chan *stream // nil: there is none any more
}

// dispatch gives a stream to a worker that has nothing to do, or to a new one, or
// lets it wait for one. c.mu is held.
func (c *conn) dispatch(st *stream) {
	if c.running >= c.settings.Streams {
		c.queue = append(c.queue, st)
		return
	}
	c.running++
	if n := len(c.idle); n > 0 {
		w := c.idle[n-1]
		c.idle = c.idle[:n-1]
		w.next <- st // there is room for it
		return
	}
	w := &worker{next: make(chan *stream, 1)}
	c.workers.Go(func() { c.work(w, st) })
}

// dropUnserved ends a stream that still waits for a worker, or was served and has
// lingered. c.mu is held.
func (c *conn) dropUnserved(st *stream) {
	if st.lingers != 0 {
		c.retire(st)
		return
	}
	i := slices.Index(c.queue, st)
	if i < 0 {
		return
	}
	c.queue = slices.Delete(c.queue, i, i+1)
	x := st.x
	c.retire(st)
	x.Release()
}

// dismiss ends the workers that have nothing to do. c.mu is held.
func (c *conn) dismiss() {
	for _, w := range c.idle {
		w.next <- nil
	}
	c.idle = nil
}

func (c *conn) work(w *worker, st *stream) {
	defer c.survive()
	for st != nil {
		c.exchange(st)
		st = c.after(w)
	}
}

// exchange serves a stream and takes it off the connection.
func (c *conn) exchange(st *stream) {
	defer func() {
		if v := recover(); v != nil {
			c.server.Metrics.Panics.Inc()
			c.server.Log.Error("recovering from a panic in a stream", "listener", c.Listener, "panic", v, "stack", string(debug.Stack()))
		}
		x := st.x
		c.endExchange(st)
		x.Release()
	}()
	if st.refused != nil {
		st.held.Reject(st.x, st.refused)
	} else {
		st.held.Serve(st.x)
	}
}

// endExchange takes a stream off the connection that has been served.
func (c *conn) endExchange(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.finished:
	case st.tunnel.open:
		st.resetBy(http2.ErrCodeCancel, errReset)
	default:
		st.resetBy(http2.ErrCodeInternal, errReset)
	}
	c.running--
	if st.ended || st.reset || st.tunnel.open || c.err != nil {
		c.retire(st)
		return
	}
	st.linger()
}

// retire takes a stream off the connection. A client that has not ended its
// request is told that the rest is not wanted (RFC 9113 section 8.1). c.mu is
// held.
func (c *conn) retire(st *stream) {
	if !st.ended && !st.reset && c.err == nil {
		st.reset, st.resetByUs = true, true
		c.setGathered(appendReset(c.gathered(), st.id, http2.ErrCodeNo))
		st.settle()
	}
	how := closedByEnd
	if st.reset {
		how = closedByReset
	}
	if st.resetByUs {
		how = closedByUs
	}
	c.closed.add(st.id, how)
	c.unbuffer(st.content.size)
	if st.live {
		st.live = false
		c.open--
	}
	c.remove(st)
	if st.held != nil {
		st.held.release()
	}
	c.recycle(st)
	if len(c.streams) == 0 {
		c.idleSince = sock.Now()
	}
}

// after sees to it that what the stream before has left behind is sent, and
// returns the next stream, which it may wait for.
func (c *conn) after(w *worker) *stream {
	st, wait := c.next(w)
	if wait {
		st = <-w.next
	}
	return st
}

// next returns the next stream, or nil for an end, or says that the worker is to
// wait for one.
func (c *conn) next(w *worker) (st *stream, wait bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settleOut()
	if c.err == nil && len(c.queue) > 0 && c.running < c.settings.Streams {
		st := c.queue[0]
		c.queue = slices.Delete(c.queue, 0, 1)
		c.running++
		return st, false
	}
	if c.away == awayFrom && len(c.streams) == 0 {
		c.want()
	}
	if c.err != nil {
		c.dropQueue()
		return nil, false
	}
	c.idle = append(c.idle, w)
	return nil, true
}

// dropQueue gives up the streams that no worker has begun. c.mu is held.
func (c *conn) dropQueue() {
	for len(c.queue) > 0 {
		c.dropUnserved(c.queue[len(c.queue)-1])
	}
}

// settleOut sends what is gathered: at once if no other stream is under way,
// else as soon as those that can go on now had their turn, so that their answers
// go with it. c.mu is held, but not while that is waited for.
func (c *conn) settleOut() {
	switch {
	case c.n == 0 || c.err != nil:
	case c.running == 0 || c.n >= gatherEnough || c.due:
		c.due = true
		c.flush()
	case !c.gathering && !c.writing:
		c.gathering = true
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
		c.gathering = false
		c.due = true
		c.flush()
	case c.writing: // who does sends this too, and does not wait for a stream that may take long
		c.due = true
	}
}
