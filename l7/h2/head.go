package h2

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/l7"
)

const (
	// tableBytes is HPACK's dynamic table: what a client may use without being
	// told.
	tableBytes = 4096
	// blockShare is how many times Limits.HeadBytes a header block may take on
	// the wire, which is decoded for the table's sake whatever becomes of it; a
	// string of it may be as long.
	blockShare = 2
	// maxPieces bounds the frames of a header block.
	maxPieces = 32
)

// headKind says what becomes of a header block.
type headKind uint8

const (
	headDropped headKind = iota // it is decoded only for the table's sake
	headRefused                 // the same, and the stream is refused
	headLate                    // the same, and the stream is reset, since the client had ended it
	headOpens                   // it is a request
	headTrails                  // it is a request's trailer
)

// headReader takes header blocks. The reader owns it.
type headReader struct {
	c       *conn
	decoder *hpack.Decoder // made for the first block

	open    bool // a block is under way
	kind    headKind
	id      uint32
	end     bool // END_STREAM
	bytes   int  // on the wire
	pieces  int
	message message
	trailer l7.Header
}

// takeHeaders takes the first frame of a header block. It reports false when the
// connection ends.
func (c *conn) takeHeaders(f *http2.HeadersFrame) bool {
	h := &c.head
	h.open, h.id, h.end, h.bytes, h.pieces = true, f.StreamID, f.StreamEnded(), 0, 0
	if !c.classify() {
		return false
	}
	h.message.begin(h.kind, c)
	if f.HasPriority() && f.Priority.StreamDep == f.StreamID {
		h.message.malformed = true
	}
	if h.decoder == nil {
		h.decoder = hpack.NewDecoder(tableBytes, h.take)
		h.decoder.SetMaxStringLength(blockShare * c.settings.Limits.HeadBytes)
	}
	h.decoder.SetEmitEnabled(h.message.wanted())
	return h.add(f.HeaderBlockFragment(), f.HeadersEnded())
}

func (c *conn) takeContinuation(f *http2.ContinuationFrame) bool {
	c.mu.Lock()
	c.glitch(glitchPieces)
	c.mu.Unlock()
	return c.head.add(f.HeaderBlockFragment(), f.HeadersEnded())
}

// classify decides what becomes of the block that begins.
func (c *conn) classify() bool {
	h := &c.head
	c.mu.Lock()
	defer c.mu.Unlock()
	h.kind = headDropped
	st := c.find(h.id)
	switch {
	case h.id%2 == 0:
		c.faultLocked(http2.ErrCodeProtocol, "a stream of a client with an even number")
	case st != nil && st.resetByUs: // it was on its way
		c.spend(glitchStream)
	case st != nil && st.reset: // by the client, which sends on (RFC 9113 section 5.1)
		c.glitch(glitchStream)
		c.tellReset(h.id, http2.ErrCodeStreamClosed)
	case st != nil && st.ended && st.finished: // it is only not taken off the connection yet
		c.faultLocked(http2.ErrCodeStreamClosed, "HEADERS on a stream that has ended")
	case st != nil && st.ended:
		h.kind = headLate
	case st != nil:
		h.kind = headTrails
	case h.id <= c.lastID:
		c.headOfClosed()
	default:
		c.lastID = h.id
		switch {
		case c.away == awayFrom:
			c.closed.add(h.id, closedByUs)
			c.spend(glitchStream)
		case c.open >= c.settings.Streams || len(c.queue) >= c.settings.Streams:
			h.kind = headRefused
		default:
			h.kind = headOpens
		}
	}
	return c.err == nil
}

// headOfClosed acts on a header block of a stream that has come to its end.
func (c *conn) headOfClosed() {
	switch c.closed.find(c.head.id) {
	case closedByUs:
		c.spend(glitchStream)
	case closedByReset:
		c.glitch(glitchStream)
		c.tellReset(c.head.id, http2.ErrCodeStreamClosed)
	case closedByEnd:
		c.faultLocked(http2.ErrCodeStreamClosed, "HEADERS on a stream that has ended")
	default:
		c.faultLocked(http2.ErrCodeProtocol, "a stream with a lower number than the one before")
	}
}

// add decodes a part of the block, and acts on the block at its end.
func (h *headReader) add(fragment []byte, last bool) bool {
	c := h.c
	h.bytes += len(fragment)
	if h.pieces++; h.pieces > maxPieces || h.bytes > blockShare*c.settings.Limits.HeadBytes {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.server.Metrics.Terminations.Inc(int(l7.ReasonHeadTooLarge))
		c.end(http2.ErrCodeEnhanceYourCalm, "a header block is too large")
		return false
	}
	if len(fragment) == 0 {
		c.mu.Lock()
		c.glitch(glitchEmpty)
		c.mu.Unlock()
	}
	_, err := h.decoder.Write(fragment)
	if err == nil && last {
		err = h.decoder.Close()
	}
	if err != nil {
		h.drop()
		c.fault(http2.ErrCodeCompression, err.Error())
		return false
	}
	if !last {
		return c.alive()
	}
	h.open = false
	if c.from == c.to {
		c.partial = 0
	} else {
		c.partial = c.heard
	}
	return h.finish()
}

// take takes one field that was decoded.
func (h *headReader) take(f hpack.HeaderField) {
	m := &h.message
	m.add(f.Name, f.Value)
	if !m.wanted() {
		h.decoder.SetEmitEnabled(false)
	}
}

// drop gives up what was begun.
func (h *headReader) drop() {
	if x := h.message.x; x != nil {
		h.message.x = nil
		x.Release()
	}
}

// finish acts on a block that is complete.
func (h *headReader) finish() bool {
	c, m := h.c, &h.message
	var refusal *l7.Error
	if h.kind == headOpens {
		refusal = m.request(h.end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		h.drop()
	case h.kind == headOpens:
		c.openStream(refusal)
	case h.kind == headTrails:
		c.takeTrailer()
	case h.kind == headRefused:
		c.closed.add(h.id, closedByUs)
		c.glitch(glitchRefused)
		c.tellReset(h.id, http2.ErrCodeRefusedStream)
	case h.kind == headLate:
		if st := c.find(h.id); st != nil {
			c.resetStream(st, http2.ErrCodeStreamClosed)
		} else {
			c.faultLocked(http2.ErrCodeStreamClosed, "HEADERS on a stream that has ended")
		}
	}
	return c.err == nil
}

// openStream makes the request a stream. c.mu is held.
func (c *conn) openStream(refusal *l7.Error) {
	h, m := &c.head, &c.head.message
	x := m.x
	m.x = nil
	st := c.newStream(h.id)
	st.x, st.refused, st.connect = x, refusal, m.connect
	x.Conn, x.Wire, x.ID = &c.Info, st, l7.NewID()
	x.Req.Proto = l7.HTTP2
	st.held = c.currentSite()
	st.live = true
	c.open++
	c.earn(frameCreditStream)
	if m.hasPriority {
		c.aware = true
		st.urgency, st.incremental = m.urgency, m.incremental
	}
	st.length = m.length
	st.ended = h.end
	st.wire.headOnly = x.Req.Method == "HEAD"
	if !h.end && !m.connect && x.Req.ContentLength != 0 && refusal == nil {
		st.body = body{st: st, most: st.held.settings.BodyBytes}
		x.Req.Body = &st.body
		st.waits100 = x.Req.Expect100
	}
	if refusal != nil {
		switch refusal.Reason {
		case l7.ReasonBadRequest:
			c.glitch(glitchStream)
		case l7.ReasonHeadTooLarge:
			c.glitch(glitchHead)
		}
	}
	c.streams = append(c.streams, st)
	if c.requests++; c.requests == c.settings.Requests {
		c.leave()
		c.nextLook = 0
	}
	if c.err != nil {
		c.queue = append(c.queue, st)
		c.dropUnserved(st)
		return
	}
	c.dispatch(st)
}

// takeTrailer ends a request's content. c.mu is held.
func (c *conn) takeTrailer() {
	h, m := &c.head, &c.head.message
	st := c.find(h.id)
	switch {
	case st == nil: // its exchange has ended meanwhile
	case m.malformed || m.tooLarge || !h.end || st.length >= 0 && st.received != st.length:
		c.resetStream(st, http2.ErrCodeProtocol)
	default:
		st.trailer.CopyFrom(&h.trailer)
		st.endContent()
	}
	h.trailer.Reset()
}
