package h2

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

var (
	_ l7.RequestBody = (*body)(nil)
	_ l7.WholeBody   = (*body)(nil)
)

// body reads a request's content. One goroutine reads; Stop may be called by
// any.
type body struct {
	st   *stream
	most int64 // 0: no bound
	read int64
	err  error // final, if not nil
}

// noTrailer is never written to.
var noTrailer l7.Header

var (
	errTooLarge  = &l7.Error{Status: http.StatusRequestEntityTooLarge, Message: "Payload too large", Reason: l7.ReasonBodyTooLarge, Side: l7.SideClient}
	errStall     = &l7.Error{Status: http.StatusRequestTimeout, Message: "Request timeout", Reason: l7.ReasonBodyTimeout, Side: l7.SideClient, Err: errors.New("the body stalled")}
	errMalformed = &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: errors.New("the stream broke a rule")}
	errReset     = &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: errors.New("the client reset the stream")}

	errWriteStall = &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonWriteStall, Side: l7.SideClient, Err: errors.New("the client took nothing")}
)

// Read returns content as it arrives.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.st.readContent(p)
	b.read += int64(n)
	if b.most > 0 && b.read > b.most {
		n, err = 0, errTooLarge
	}
	b.err = err
	return n, err
}

// Trailer returns the trailer fields once a Read has returned io.EOF. Before, the
// connection's reader may be writing them, and there are none.
func (b *body) Trailer() *l7.Header {
	if b.err != io.EOF {
		return &noTrailer
	}
	return &b.st.trailer
}

// Whole returns the content if it is all here, in one piece.
func (b *body) Whole() ([]byte, bool) {
	st := b.st
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	q := &st.content
	if !st.ended || st.bodyErr != nil || b.read > 0 || st.trailer.Len() > 0 || len(q.pieces) > 1 || st.waits100 {
		return nil, false
	}
	if b.most > 0 && int64(q.size) > b.most {
		return nil, false
	}
	b.err = io.EOF
	if q.size == 0 {
		return []byte{}, true
	}
	st.takeContent(q.size)
	q.size = 0
	return q.pieces[0].block.B[q.pieces[0].from:q.pieces[0].to], true // given back with the stream
}

// Stop lets a Read under way and all later ones fail.
func (b *body) Stop() {
	st := b.st
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.stopped = true
	st.readable.Broadcast()
}

// readContent waits for content and moves it to p.
func (st *stream) readContent(p []byte) (n int, err error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.waits100 {
		st.waits100 = false
		if !st.headSent && st.failure() == nil {
			var room [frameHead + 8]byte
			c.gatherHead(frameHeaders(appendStatus(room[:frameHead], http.StatusContinue), 0, st.id, 0))
			c.due = true
			c.flush()
		}
	}
	defer func() { st.readSince = 0 }()
	for {
		switch {
		case st.stopped:
			return 0, l7.ErrStopped
		case st.content.size > 0:
			n = st.content.read(p)
			st.takeContent(n)
			c.flush()
			if st.ended && st.content.size == 0 {
				err = io.EOF
			}
			return n, err
		case st.ended:
			return 0, io.EOF
		case st.bodyErr != nil:
			return 0, st.bodyErr
		case c.err != nil:
			return 0, errGone
		}
		if st.readSince == 0 {
			st.readSince = sock.Now()
		}
		st.readable.Wait()
	}
}

// takeContent tells the client, from time to time, that n bytes of content were
// taken and as many may follow. c.mu is held.
func (st *stream) takeContent(n int) {
	c := st.c
	st.untold += n
	if st.untold >= c.settings.StreamWindow/2 && !st.ended && !st.reset {
		c.setGathered(appendWindow(c.gathered(), st.id, st.untold))
		st.receive += int64(st.untold)
		st.untold = 0
		c.due = true
	}
	c.unbuffer(n)
}

// returnWindow is takeContent for the connection's window, of content that was
// not kept. c.mu is held.
func (c *conn) returnWindow(n int) {
	c.taken += n
	if c.taken > 0 && (c.taken >= c.settings.Window/4 || int64(c.taken) >= c.receive) && c.err == nil {
		c.setGathered(appendWindow(c.gathered(), 0, c.taken))
		c.receive += int64(c.taken)
		c.taken = 0
		c.due = true
	}
}

// takeData takes in a DATA frame of which size bytes count, and data is the
// content. c.mu is held.
func (st *stream) takeData(data []byte, size int, end bool) {
	c := st.c
	switch {
	case st.ended:
		c.returnWindow(size)
		c.resetStream(st, http2.ErrCodeStreamClosed)
		return
	case int64(size) > st.receive:
		c.returnWindow(size)
		c.resetStream(st, http2.ErrCodeFlowControl)
		return
	}
	st.receive -= int64(size)
	st.received += int64(len(data))
	if st.length >= 0 && (st.received > st.length || end && st.received < st.length) {
		c.returnWindow(size)
		c.resetStream(st, http2.ErrCodeProtocol)
		return
	}
	if st.lingers != 0 {
		c.returnWindow(size)
		if end {
			st.endContent()
		} else {
			st.discard(size)
		}
		return
	}
	if st.bodyErr != nil || st.stopped {
		c.returnWindow(size)
	} else {
		st.content.add(data)
		c.buffer(len(data))
		if pad := size - len(data); pad > 0 {
			st.untold += pad
			c.returnWindow(pad)
		}
	}
	if end {
		st.endContent()
		return
	}
	st.readable.Broadcast()
}

// endContent takes note of the client's END_STREAM. c.mu is held.
func (st *stream) endContent() {
	st.ended = true
	st.settle()
	st.readable.Broadcast()
	if st.lingers != 0 {
		st.c.retire(st)
	}
}
