package h2

import (
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// buffer takes note of n bytes of content that wait to be taken. A stream whose
// content nobody takes must not use up the window that others need: what waits
// beyond half of the connection's window is returned to it at once, as long as
// the server's budget for that lasts. c.mu is held.
func (c *conn) buffer(n int) {
	c.unread += n
	more := c.unread - c.advanced - c.settings.Window/2
	if more <= 0 || c.err != nil || !c.server.advance(int64(more), c.settings.Unread) {
		return
	}
	c.advanced += more
	c.returnWindow(more)
}

// unbuffer takes note of n bytes of content that wait no more: what was drawn
// from the budget goes back there first. c.mu is held.
func (c *conn) unbuffer(n int) {
	c.unread -= n
	back := min(n, c.advanced)
	c.advanced -= back
	c.server.advanced.Add(-int64(back))
	c.returnWindow(n - back)
}

// advance draws n bytes from the budget, and reports false if it has no more.
func (s *Server) advance(n, most int64) bool {
	if s.advanced.Add(n) <= most {
		return true
	}
	s.advanced.Add(-n)
	return false
}

// linger keeps a stream whose answer is complete while its client has not sent
// its request to the end: what comes is dropped, so that a client that cannot
// read the answer before it has sent all gets it. Bytes and time for that are
// bounded; then the client is told that the rest is not wanted. c.mu is held.
func (st *stream) linger() {
	c := st.c
	st.lingers, st.spare = sock.Now(), lingerBytes
	c.unbuffer(st.content.size)
	st.content.drop()
	st.wire.drop()
	st.held.release()
	st.x, st.held = nil, nil
	st.discard(0)
}

// discard drops n bytes that came on a stream that lingers, and lets as many
// follow, up to its bound. c.mu is held.
func (st *stream) discard(n int) {
	c := st.c
	least := min(c.settings.StreamWindow, lingerBytes) / 2
	if st.spare -= n; st.spare < least {
		c.retire(st)
		c.due = true
		return
	}
	if room := int(min(int64(c.settings.StreamWindow), int64(st.spare)) - st.receive); room >= least {
		c.setGathered(appendWindow(c.gathered(), st.id, room))
		st.receive += int64(room)
		st.untold = 0
		c.due = true
	}
}

// widen changes what may be sent on the stream. c.mu is held.
func (st *stream) widen(n int64) {
	st.window += n
	st.widest = max(st.widest, st.window)
	if st.window >= st.least() {
		st.shut = 0
	}
}

// least is how much a window must let through, of what is to be sent next, to be
// open. c.mu is held.
func (st *stream) least() int64 { return int64(min(st.want, leastPiece)) }

// worth reports whether a window of n bytes lets something be sent that is worth
// a frame: a client that opens its windows by single bytes (CVE-2019-9511, and
// RFC 1122 section 4.2.3.4 for what does so by mistake) gets nothing for each of
// them. c.mu is held.
func (st *stream) worth(n int64) bool {
	return n > 0 && (st.late || n >= min(st.least(), st.widest/2))
}

// progress takes note of n bytes that are sent. Less than leastPiece is no
// progress by itself, unless it is all there was. c.mu is held.
func (st *stream) progress(n int) {
	c := st.c
	if c.trickled += n; c.trickled >= leastPiece {
		c.shut, c.trickled = 0, 0
	}
	if st.trickled += n; n == st.want || st.trickled >= leastPiece {
		st.shut, st.trickled = 0, 0
	}
}

// stalls reports whether the client has not let the stream send for too long. A
// stream whose windows are open, and that only waits for others, does not stall:
// if the socket takes nothing the connection ends by that. c.mu is held.
func (st *stream) stalls(now int64) bool {
	c := st.c
	most := int64(c.settings.WriteTimeout)
	switch {
	case st.writeSince == 0 || st.needsNoWindow || st.tunnel.open:
		return false
	case st.shut != 0 && now-st.shut >= most, c.shut != 0 && now-max(c.shut, st.writeSince) >= most:
		return true
	}
	// What there is goes out, little as it is: the client may wait for it.
	if !st.late && min(st.window, c.window) > 0 && now-st.writeSince >= int64(c.interval())/2 {
		st.late = true
		c.wakeNext()
	}
	return false
}
