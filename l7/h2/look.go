package h2

import (
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// lookShare is how many looks there are within the shortest timeout, if that is
// short: what takes too long is noticed late by as much.
const lookShare = 8

// interval returns the time between two looks.
func (c *conn) interval() time.Duration {
	s := c.settings
	least := min(s.HeaderTimeout, s.IdleTimeout, s.ReadTimeout, s.WriteTimeout)
	return max(min(least/lookShare, longestLook), time.Millisecond)
}

// want lets the reader look at once.
func (c *conn) want() {
	c.wanted.Store(true)
	c.socket.Interrupt()
}

// look sees to what takes too long and to the end of a connection that is to
// end. It reports false when that has come.
func (c *conn) look(now int64) bool {
	c.wanted.Store(false)
	if late := c.lateHead(now); late {
		c.server.Metrics.Terminations.Inc(int(l7.ReasonHeaderTimeout))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.end(http2.ErrCodeNo, "a head, or the start of the connection, took too long")
		return false
	}
	if c.idles(now) {
		c.rest()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.lookAtStreams(now)
	c.nextLook = now + int64(c.interval())
	if c.Draining() && c.drained == 0 {
		c.leave()
	}
	quiet := len(c.streams) == 0
	switch {
	case c.away == leaving:
		if c.drained == 0 {
			c.drained = now
		}
		if now-c.drained >= int64(drainGrace) {
			c.nameLast()
		}
		c.nextLook = min(c.nextLook, now+int64(drainGrace))
	case !quiet:
	case now-c.idleSince >= int64(c.settings.IdleTimeout):
		c.end(http2.ErrCodeNo, "")
		return false
	case c.resting:
		c.nextLook = c.idleSince + int64(c.settings.IdleTimeout)
	}
	if c.away == awayFrom && quiet {
		c.end(http2.ErrCodeNo, "")
		return false
	}
	c.slack = time.Duration(c.nextLook-now) / 4
	c.flushAside()
	return true
}

// lateHead reports whether the connection's start, or a frame that is under way,
// takes too long.
func (c *conn) lateHead(now int64) bool {
	s := c.settings
	switch {
	case !c.settled:
		return now-c.began >= int64(s.HeaderTimeout)
	case c.partial == 0:
		return false
	case c.head.open || c.inHead():
		return now-c.partial >= int64(s.HeaderTimeout)
	}
	return now-c.heard >= int64(s.ReadTimeout)
}

// inHead reports whether the frame that is under way belongs to a head.
func (c *conn) inHead() bool {
	if c.to-c.from < frameHead {
		return true // it is not known yet, and nine bytes do not take long
	}
	kind := http2.FrameType(c.block.B[c.from+3])
	return kind == http2.FrameHeaders || kind == http2.FrameContinuation
}

// idles reports whether the connection is without a stream for long enough to
// rest.
func (c *conn) idles(now int64) bool {
	if c.resting || !c.settled || c.from < c.to || c.head.open {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) == 0 && now-c.idleSince >= int64(firstWait)
}

// lookAtStreams ends the waits that take too long. c.mu is held.
func (c *conn) lookAtStreams(now int64) {
	for i := len(c.streams) - 1; i >= 0; i-- { // some may go
		st := c.streams[i]
		if st.lingers != 0 {
			if now-st.lingers >= int64(lingerTime) {
				c.retire(st)
			}
			continue
		}
		if at := st.readSince; at != 0 && now-at >= int64(c.settings.ReadTimeout) && !st.tunnel.open {
			st.bodyErr = errStall
			st.readable.Broadcast()
		}
		if st.stalls(now) {
			c.glitch(glitchStall)
			st.stall()
		}
		if st.tunnel.open {
			st.tunnel.look(st, now)
		}
	}
}

// leave begins the end of the connection: streams that are on their way are
// still taken. c.mu is held.
func (c *conn) leave() {
	if c.away == here && c.err == nil {
		c.away = leaving
		c.setGathered(appendGoAway(c.gathered(), 1<<31-1, http2.ErrCodeNo))
		c.due = true
	}
}

// nameLast says which stream is the last one that is taken. c.mu is held.
func (c *conn) nameLast() {
	c.away, c.lastTaken = awayFrom, c.lastID
	c.setGathered(appendGoAway(c.gathered(), c.lastTaken, http2.ErrCodeNo))
	c.due = true
}

// end says the last word on the connection. why is for the log, "" for an end
// that is as it should be. c.mu is held.
func (c *conn) end(code http2.ErrCode, why string) {
	if c.err != nil {
		return
	}
	if c.away != awayFrom || code != http2.ErrCodeNo {
		last := c.lastID
		if c.away == awayFrom {
			last = min(last, c.lastTaken) // RFC 9113 section 6.8: it never grows
		}
		c.setGathered(appendGoAway(c.gathered(), last, code))
	}
	if why != "" {
		c.explain(why)
	}
	c.fail(errEnded)
}
