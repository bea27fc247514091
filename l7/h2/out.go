package h2

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l7"
)

const (
	// gatherBytes is what is gathered of several streams before it is sent: a
	// record of TLS, so that each write is one.
	gatherBytes = buf.Medium
	// gatherEnough is from when on it is sent although streams are under way
	// that may add to it.
	gatherEnough = 12 << 10
	// leastPiece is the smallest part of content that is put behind what is
	// gathered, rather than to be sent with the next.
	leastPiece = 1 << 10
	// mostControl is what is gathered of answers to the client's own frames. One
	// that asks for more without reading is no client.
	mostControl = 64 << 10
	// firstWindow is what may be sent before the first WINDOW_UPDATE (RFC 9113
	// section 6.9.2), and mostWindow what a window may be.
	firstWindow = 65535
	mostWindow  = 1<<31 - 1
)

var (
	errEnded = errors.New("the connection has ended")
	errGone  = &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: os.ErrClosed}
)

// gathered returns what is gathered, to be appended to. c.mu is held.
func (c *conn) gathered() []byte {
	if c.out == nil {
		c.out = buf.Get(gatherBytes)
	}
	return c.out.B[:c.n]
}

// setGathered takes over b, which was appended to what is gathered. What outgrew
// its block stays on the heap until it is sent. c.mu is held.
func (c *conn) setGathered(b []byte) {
	if len(b) > len(c.out.B) {
		c.out.Put()
		c.out = &buf.Block{B: b[:cap(b)]}
	}
	c.n = len(b)
}

// firstTable is the size of HPACK's table that a connection begins with (RFC
// 9113 section 6.5.2).
const firstTable = 4096

// gatherHead gathers frames of a header block. The first one behind the answer
// to a SETTINGS that makes HPACK's table smaller begins with its new size (RFC
// 7541 section 4.2): 0, as no field is put there. c.mu is held.
func (c *conn) gatherHead(frames []byte) {
	b := c.gathered()
	if c.shrunk {
		c.shrunk = false
		n := int(frames[0])<<16 | int(frames[1])<<8 | int(frames[2])
		flags, id := http2.Flags(frames[flagsAt]), binary.BigEndian.Uint32(frames[flagsAt+1:])
		frames = frames[frameHead:]
		if n < maxFrame {
			b = append(appendFrame(b, http2.FrameHeaders, flags, id, n+1), emptyTable)
		} else {
			b = append(appendFrame(b, http2.FrameHeaders, flags&http2.FlagHeadersEndStream, id, 1), emptyTable)
			b = appendFrame(b, http2.FrameContinuation, flags&http2.FlagHeadersEndHeaders, id, n)
		}
	}
	c.setGathered(append(b, frames...))
}

// emptyTable is a dynamic table size update to 0 (RFC 7541 section 6.3).
const emptyTable = 0x20

// flush sends what is gathered, and goes on while others want more to be sent.
// While somebody else is sending it leaves it to that one. c.mu is held, but not
// while anything is sent.
func (c *conn) flush() {
	if c.writing {
		return
	}
	for c.due && c.n > 0 && c.err == nil {
		if err := c.send(); err != nil {
			c.fail(goneError(err))
		}
		c.wakeNext()
	}
}

// send sends what is gathered. Nobody else may be sending. c.mu is held, but not
// while it sends.
func (c *conn) send() error {
	b, n := c.out, c.n
	c.out, c.n, c.control = nil, 0, 0
	c.due, c.writing = false, true
	c.mu.Unlock()
	defer func() { // after a panic too
		c.mu.Lock()
		c.writing = false
		c.written.Broadcast()
	}()
	_, err := c.Conn.Write(b.B[:n])
	b.Put()
	return err
}

// flushAside is flush for the reader, which must not wait for a client that
// waits for it. c.mu is held.
func (c *conn) flushAside() {
	if c.n == 0 || c.err != nil {
		return
	}
	if c.due = true; c.writing {
		return
	}
	c.workers.Go(func() {
		defer c.survive()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
	})
}

// fail ends all that is under way on the connection. c.mu is held.
func (c *conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, st := range c.streams {
		st.wakeAll()
	}
	c.written.Broadcast()
}

func goneError(err error) *l7.Error {
	e := &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: err}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.Reason = l7.ReasonWriteStall
	}
	return e
}

// room returns how much of content may be gathered now, with its frame's header;
// 0: what is gathered must be sent first.
func (c *conn) room() int {
	left := gatherBytes - c.n - frameHead
	if left < leastPiece {
		return 0
	}
	return left
}

// take waits until st may send content and takes up to want bytes off the
// windows. c.mu is held, but not while it waits.
func (c *conn) take(st *stream, want int) (n int, err error) {
	defer st.leaveTurn()
	for {
		if err := st.failure(); err != nil {
			return 0, err
		}
		st.want = want
		switch {
		case !c.sendable(st) || c.betterWaits(st):
		case c.room() > 0:
			n := int(min(int64(want), st.window, c.window, maxFrame-frameHead, int64(c.room())))
			st.window -= int64(n)
			c.window -= int64(n)
			st.progress(n)
			return n, nil
		case !c.writing:
			c.due = true
			c.flush()
			continue
		}
		// What is gathered must not wait with it.
		if c.n > 0 {
			if c.due = true; !c.writing {
				c.flush()
				continue
			}
		}
		st.awaitTurn()
	}
}

// makeRoom waits until n bytes that need no window can be gathered. c.mu is
// held, but not while it waits.
func (c *conn) makeRoom(st *stream, n int) error {
	st.needsNoWindow = true
	defer st.leaveTurn()
	for {
		if err := st.failure(); err != nil {
			return err
		}
		if c.n == 0 || c.n+n <= gatherBytes {
			return nil
		}
		if c.due = true; !c.writing {
			c.flush()
			continue
		}
		st.awaitTurn()
	}
}

// sendable reports whether a stream can go on, as far as windows go. c.mu is held.
func (c *conn) sendable(st *stream) bool {
	return st.needsNoWindow || st.worth(min(st.window, c.window))
}

// betterWaits reports whether another stream is to have its turn before st. c.mu
// is held.
func (c *conn) betterWaits(st *stream) bool {
	for _, o := range c.waiting {
		if o != st && c.sendable(o) && c.before(o, st) {
			return true
		}
	}
	return false
}

// before reports whether a waiting stream goes before one that asks for its
// turn, by their priorities (RFC 9218 section 10). Content that is of use only
// when it is complete goes first, one after the other; the rest by turns, as is
// all content of a client that tells no priorities.
func (c *conn) before(waits, asks *stream) bool {
	if waits.urgency != asks.urgency {
		return waits.urgency < asks.urgency
	}
	if c.aware && waits.incremental != asks.incremental {
		return !waits.incremental
	}
	if c.aware && !waits.incremental {
		return waits.id < asks.id
	}
	return waits.ticket < asks.ticket
}

// wakeNext lets the next waiting stream go on, if it can. c.mu is held.
func (c *conn) wakeNext() {
	if len(c.waiting) == 0 || c.room() == 0 && c.writing {
		return
	}
	var best *stream
	for _, st := range c.waiting {
		if c.sendable(st) && (best == nil || !c.before(best, st)) {
			best = st
		}
	}
	if best != nil {
		best.writable.Broadcast()
	}
}
