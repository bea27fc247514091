package h2

import (
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l7"
)

var _ l7.Wire = (*stream)(nil)

// wire is the answering half of a stream. The exchange's goroutine owns it.
type wire struct {
	headOnly bool  // the request was HEAD
	started  bool  // the final head was written
	bare     bool  // the answer has no content
	left     int64 // announced content still to be written; -1: not announced

	// What is held back: frames of the head, out.B[:head], and content behind
	// them, out.B[head:n].
	out     *buf.Block
	head, n int
}

// flagsAt is where the flags of a frame stand in its header.
const flagsAt = 4

func (w *wire) drop() {
	w.out.Put()
	*w = wire{}
}

// WriteHead writes an interim or the final head.
func (st *stream) WriteHead(status int, h *l7.Header, size int64) error {
	w := &st.wire
	switched := st.connect && status == http.StatusSwitchingProtocols
	if status < 200 && !switched {
		if status == http.StatusSwitchingProtocols {
			return errors.New("BUG: 101 on a stream that asked for no protocol")
		}
		return st.interim(status, h)
	}
	if w.started {
		panic("BUG: second final head")
	}
	if st.connect && status < 300 && !switched {
		return errNoSwitch // nothing is begun, so that the exchange can tell it
	}
	w.started = true
	w.left = size
	w.bare = w.headOnly || status == http.StatusNoContent || status == http.StatusNotModified
	if switched {
		status, size = http.StatusOK, -1
	}
	if w.out == nil {
		w.out = buf.Get(buf.Small)
	}
	b := appendHead(w.out.B[:0], status, h, switched)
	if size >= 0 && status != http.StatusNoContent {
		b = appendLength(b, size)
	}
	st.hold(frameHeaders(b, 0, st.id, 0))
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.headSent = true
	if st.x.Req.Close && st.refused == nil {
		st.c.leave()
		st.c.want()
	}
	if switched {
		return st.sendHead(false)
	}
	return nil
}

// errNoSwitch is an upstream that answered a wish for another protocol with
// success and did not switch: a client of HTTP/2 would take that for a switch.
var errNoSwitch = &l7.Error{Status: http.StatusBadGateway, Message: "An invalid response was received from the upstream server", Reason: l7.ReasonUpstreamProtocol, Side: l7.SideUpstream, Err: errors.New("the upstream did not switch protocols")}

// appendHead appends a header block behind room for a frame's header.
func appendHead(b []byte, status int, h *l7.Header, switched bool) []byte {
	b = appendStatus(b[:len(b)+frameHead], status)
	for _, f := range h.Fields() {
		if forwarded(f.ID) && (!switched || !equalFold(f.Name, "sec-websocket-accept")) {
			b = appendField(b, f.ID, f.Name, f.Value)
		}
	}
	return b
}

// hold takes over b as the frames of the head. A head that outgrew its block
// stays on the heap until it is sent.
func (st *stream) hold(b []byte) {
	w := &st.wire
	if len(b) > len(w.out.B) {
		w.out.Put()
		w.out = &buf.Block{B: b[:cap(b)]}
	}
	w.head, w.n = len(b), len(b)
}

// interim sends an interim head.
func (st *stream) interim(status int, h *l7.Header) error {
	c := st.c
	block := buf.Get(buf.Small)
	defer block.Put()
	b := frameHeaders(appendHead(block.B[:0], status, h, false), 0, st.id, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.makeRoom(st, len(b)); err != nil {
		return err
	}
	c.gatherHead(b)
	c.due = true
	c.flush()
	return st.failure()
}

// sendHead gathers the head that is held back. c.mu is held.
func (st *stream) sendHead(end bool) error {
	w, c := &st.wire, st.c
	if w.head == 0 {
		return nil
	}
	if err := c.makeRoom(st, w.head); err != nil {
		return err
	}
	if end {
		w.out.B[flagsAt] |= byte(http2.FlagHeadersEndStream)
	}
	c.gatherHead(w.out.B[:w.head])
	w.head, w.n = 0, copy(w.out.B, w.out.B[w.head:w.n])
	return nil
}

// errExcess is a broken promise of our own: content beyond the announced size.
var errExcess = errors.New("BUG: more content than announced")

// Write sends content, or holds it back while it is small.
func (st *stream) Write(p []byte) (int, error) {
	w := &st.wire
	if w.bare || len(p) == 0 {
		return len(p), nil
	}
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			return 0, errExcess
		}
		w.left -= int64(len(p))
	}
	if w.out == nil {
		w.out = buf.Get(buf.Small)
	}
	if w.n+len(p) <= len(w.out.B) {
		w.n += copy(w.out.B[w.n:], p)
		return len(p), nil
	}
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := st.sendHeld(false); err != nil {
		return 0, err
	}
	if len(p) < len(w.out.B) {
		w.n = copy(w.out.B, p)
		return len(p), nil
	}
	// An answer of announced length has no trailer, so that its last frame can
	// be told to be that.
	if err := st.sendContent(p, w.left == 0); err != nil {
		return 0, err
	}
	if w.left == 0 {
		st.finished = true
		st.settle()
	}
	return len(p), nil
}

// sendHeld gathers all that is held back. c.mu is held.
func (st *stream) sendHeld(end bool) error {
	w := &st.wire
	if err := st.sendHead(end && w.n == w.head); err != nil {
		return err
	}
	if w.n == 0 {
		return nil
	}
	n := w.n
	w.n = 0
	return st.sendContent(w.out.B[:n], end)
}

// sendContent gathers content as frames, as the windows let it. c.mu is held, but
// not while it waits.
func (st *stream) sendContent(p []byte, end bool) error {
	c := st.c
	for len(p) > 0 {
		n, err := c.take(st, len(p))
		if err != nil {
			return err
		}
		var flags http2.Flags
		if end && n == len(p) {
			flags = http2.FlagDataEndStream
		}
		b := appendFrame(c.gathered(), http2.FrameData, flags, st.id, n)
		c.setGathered(append(b, p[:n]...))
		c.earnData(n, n == len(p))
		if p = p[n:]; c.room() == 0 {
			c.due = true
			c.flush()
		}
	}
	return nil
}

// Flush sends what is held back.
func (st *stream) Flush() error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	err := st.sendHeld(false)
	c.due = true
	c.flush()
	return err
}

// Finish ends the answer. It is sent at once unless other streams are about to
// add to what is gathered.
func (st *stream) Finish(trailer *l7.Header) error {
	w, c := &st.wire, st.c
	if !w.bare && w.left > 0 {
		return fmt.Errorf("BUG: %d bytes of announced content missing", w.left)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	bare := trailer == nil || trailer.Len() == 0 || w.bare
	held := w.n > 0
	if held {
		if err := st.sendHeld(bare); err != nil {
			return err
		}
	}
	if err := st.failure(); err != nil {
		return err
	}
	switch {
	case st.finished: // the last frame of content said so
	case !bare:
		block := buf.Get(buf.Small)
		defer block.Put()
		b := block.B[:frameHead]
		for _, f := range trailer.Fields() {
			if forwarded(f.ID) {
				b = appendField(b, f.ID, f.Name, f.Value)
			}
		}
		b = frameHeaders(b, 0, st.id, http2.FlagHeadersEndStream)
		if err := c.makeRoom(st, len(b)); err != nil {
			return err
		}
		c.gatherHead(b)
	case !held:
		c.setGathered(appendFrame(c.gathered(), http2.FrameData, http2.FlagDataEndStream, st.id, 0))
	}
	st.finished = true
	st.settle()
	w.out.Put()
	w.out = nil
	if c.running <= 1 || c.n >= gatherEnough || c.writing {
		c.due = true
		c.flush()
	}
	return nil
}

// Abort breaks the answer off by RST_STREAM.
func (st *stream) Abort(r l7.Reason) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	st.resetBy(resetCode(r), &l7.Error{Status: l7.StatusClientGone, Reason: r, Side: l7.SideClient})
	c.flush()
}

// resetCode returns what the client is told of an answer that is broken off.
func resetCode(r l7.Reason) http2.ErrCode {
	switch r {
	case l7.ReasonBadRequest:
		return http2.ErrCodeProtocol
	case l7.ReasonClientGone, l7.ReasonWriteStall, l7.ReasonDraining, l7.ReasonBodyTimeout:
		return http2.ErrCodeCancel
	}
	return http2.ErrCodeInternal
}

// Departed reports whether the client has reset the stream, or left.
func (st *stream) Departed() bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return st.failure() != nil
}
