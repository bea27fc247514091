package h2

import (
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l7"
)

var _ l7.Call = (*call)(nil)

// call is a request and its answer. Whoever sends and whoever reads wait on
// channels of their own; the reader of the connection touches it, under c.mu, as
// long as it stands in clientConn.calls.
type call struct {
	c        *clientConn
	readable chan struct{} // holds one when there may be something to read
	writable chan struct{}
	timer    *time.Timer // of who reads
	marked   bool        // it stands in c.woken

	// What follows is guarded by c.mu.

	id       uint32 // 0: nothing was sent
	headOnly bool   // the request is HEAD
	finished bool   // our END_STREAM or RST_STREAM was gathered, or theirs makes it moot
	stopped  bool
	sending  bool // somebody waits on writable
	window   int64

	receive      int64 // what the upstream may still send
	length       int64 // of the content, if announced; -1: not
	received     int64
	untold       int // content that was taken, and that the upstream is not told of yet
	heads        []*l7.Response
	interimBytes int // of the interim heads that came since there was none in heads
	content      content
	trailer      l7.Header
	began        bool // something of an answer came
	answered     bool // the final head came
	bare         bool // the answer has no content
	ended        bool // the answer is complete
	err          error
}

func newCall(c *clientConn) *call {
	return &call{
		c: c, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
		receive: callWindow, length: -1,
	}
}

// wanted reports whether more of an answer may come. c.mu is held.
func (ca *call) wanted() bool { return !ca.ended && ca.err == nil }

// wake lets the goroutine that reads look again, before the connection's reader
// waits. c.mu is held.
func (ca *call) wake() {
	if !ca.marked {
		ca.marked = true
		ca.c.woken = append(ca.c.woken, ca)
	}
}

// end lets everything fail from now on but for reading what has come. c.mu is
// held.
func (ca *call) end(err error) {
	if ca.err == nil {
		ca.err = err
	}
	poke(ca.readable)
	poke(ca.writable)
}

// complete takes note of the answer's end. c.mu is held.
func (ca *call) complete() {
	if ca.length >= 0 && ca.received != ca.length && !ca.bare {
		ca.c.refuse(ca, http2.ErrCodeProtocol, errShort.Error())
		return
	}
	ca.ended = true
	ca.wake()
}

// takeFinal takes the final head. c.mu is held.
func (ca *call) takeFinal(resp *l7.Response, length int64, end bool) {
	ca.began, ca.answered = true, true
	ca.length = length
	ca.bare = ca.headOnly || resp.Status == http.StatusNoContent || resp.Status == http.StatusNotModified
	resp.Size = -1
	if ca.bare {
		resp.Size = length
	}
	ca.heads = append(ca.heads, resp)
	if end {
		ca.complete()
		return
	}
	ca.wake()
}

// takeData takes in a DATA frame of which size bytes count. c.mu is held.
func (ca *call) takeData(data []byte, size int, end bool) {
	c := ca.c
	if !ca.wanted() {
		return
	}
	ca.received += int64(len(data))
	switch {
	case !ca.answered:
		c.refuse(ca, http2.ErrCodeProtocol, errEarlyData.Error())
		return
	case int64(size) > ca.receive:
		c.refuse(ca, http2.ErrCodeFlowControl, "more content than the call's window")
		return
	case ca.bare && len(data) > 0 || ca.length >= 0 && ca.received > ca.length:
		c.refuse(ca, http2.ErrCodeProtocol, errLong.Error())
		return
	}
	ca.receive -= int64(size)
	ca.content.add(data)
	if pad := size - len(data); pad > 0 && !end {
		ca.took(pad)
	}
	if end {
		ca.complete()
		return
	}
	if len(data) > 0 {
		ca.wake()
	}
}

// Head waits for the next head.
func (ca *call) Head(resp *l7.Response, wait time.Duration) error {
	return ca.await(wait, func() (bool, error) {
		if len(ca.heads) == 0 {
			return false, ca.err
		}
		next := ca.heads[0]
		if ca.heads = ca.heads[1:]; len(ca.heads) == 0 {
			ca.interimBytes = 0
		}
		resp.Status, resp.Proto, resp.Size = next.Status, l7.HTTP2, next.Size
		resp.Header.CopyFrom(&next.Header)
		return true, nil
	})
}

// Content waits for content.
func (ca *call) Content(wait time.Duration) (p []byte, err error) {
	err = ca.await(wait, func() (bool, error) {
		switch {
		case len(ca.content.pieces) > 0:
			first := &ca.content.pieces[0]
			p = first.block.B[first.from:first.to]
			return true, nil
		case ca.ended:
			return false, io.EOF
		}
		return false, ca.err
	})
	return p, err
}

// await waits until ready says that it is done, or why it never will be.
func (ca *call) await(wait time.Duration, ready func() (bool, error)) error {
	for waited := false; ; {
		ca.c.mu.Lock()
		done, err := ready()
		if !done && err == nil && ca.stopped {
			err = l7.ErrStopped
		}
		ca.c.mu.Unlock()
		switch {
		case done || err != nil:
			return err
		case wait <= 0:
			return os.ErrDeadlineExceeded
		}
		if !waited {
			waited = true
			if ca.timer == nil {
				ca.timer = time.NewTimer(wait)
			} else {
				ca.timer.Reset(wait)
			}
			defer ca.timer.Stop()
		}
		select {
		case <-ca.readable:
		case <-ca.timer.C:
			wait = 0 // a last look
		}
	}
}

// Took tells that n bytes of content are done with.
func (ca *call) Took(n int) {
	c := ca.c
	c.mu.Lock()
	defer c.mu.Unlock()
	ca.content.skip(n)
	ca.took(n)
	c.flush()
}

// took returns n bytes of the window, from time to time. c.mu is held.
func (ca *call) took(n int) {
	ca.untold += n
	if ca.untold >= callWindow/2 && ca.wanted() && ca.c.err == nil {
		ca.c.answer(appendWindow(ca.c.out, ca.id, ca.untold))
		ca.receive += int64(ca.untold)
		ca.untold = 0
	}
}

// skip drops the first n bytes, all of one piece.
func (q *content) skip(n int) {
	first := &q.pieces[0]
	first.from += n
	q.size -= n
	if first.from == first.to {
		first.block.Put()
		q.pieces = append(q.pieces[:0], q.pieces[1:]...)
	}
}

// Trailer returns the answer's trailer.
func (ca *call) Trailer() *l7.Header { return &ca.trailer }

// Stop lets all waits fail.
func (ca *call) Stop() {
	ca.c.mu.Lock()
	defer ca.c.mu.Unlock()
	ca.stopped = true
	poke(ca.readable)
	poke(ca.writable)
}

// Close ends the call.
func (ca *call) Close(late bool) {
	c := ca.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ca.id == 0 || c.err != nil:
	case !ca.ended:
		ca.reset(http2.ErrCodeCancel)
	case !ca.finished:
		ca.reset(http2.ErrCodeNo) // what is left of the request is moot
	}
	if late {
		c.suspect()
	}
	delete(c.calls, ca.id)
	ca.content.drop()
	ca.end(l7.ErrStopped) // also for who waits to send
	c.left()
	c.flushAside()
}

// reset gathers an RST_STREAM, unless nothing is to be said any more. c.mu is
// held.
func (ca *call) reset(code http2.ErrCode) {
	if ca.finished && (ca.ended || ca.err != nil) || ca.c.err != nil {
		return
	}
	ca.finished = true
	ca.c.answer(appendReset(ca.c.out, ca.id, code))
}

// gatherHead gathers the frames of a header block that stands in b behind room
// for a frame's header. c.mu is held.
func (c *clientConn) gatherHead(b []byte, id uint32, end bool) {
	var flags http2.Flags
	if end {
		flags = http2.FlagHeadersEndStream
	}
	c.out = append(c.out, frameHeaders(b, 0, id, flags)...)
}

// Send sends the head, and content that is all here.
func (ca *call) Send(h *l7.CallHead, content []byte, end bool) error {
	c := ca.c
	block := buf.Get(len(h.Fields) + len(h.Path) + len(h.Authority) + frameHead + headSlack)
	defer block.Put()
	const at = frameHead + 1 // with room for a change of the table's size
	b := appendRequest(block.B[:at], h)
	c.mu.Lock()
	if c.err != nil || ca.err != nil || c.nextID > c.lastTaken { // it has said GOAWAY meanwhile
		c.mu.Unlock()
		return l7.ErrUnprocessed
	}
	from := 1
	if c.shrunk {
		c.shrunk, from = false, 0
		b[frameHead] = 0x20 // RFC 7541 section 6.3: the table holds nothing
	}
	ca.id = c.nextID
	c.nextID += 2
	c.calls[ca.id] = ca
	ca.window, ca.headOnly = c.firstWindow, h.Method == http.MethodHead
	ca.finished = end && len(content) == 0
	c.gatherHead(b[from:], ca.id, ca.finished)
	if len(content) == 0 {
		c.flush()
		err := ca.err
		c.mu.Unlock()
		return err
	}
	c.mu.Unlock()
	return ca.Write(content, end, h.Timeout)
}

// headSlack is room for the names of a head's pseudo-header fields and for the
// lengths of what stands in it.
const headSlack = 512

// Write sends content as the windows let it.
func (ca *call) Write(p []byte, end bool, stall time.Duration) error {
	c := ca.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := ca.failure(); err != nil {
			return err
		}
		n := min(len(p), int(max(min(ca.window, c.window), 0)), maxFrame)
		if len(c.out) >= gatherMost {
			n = 0
		}
		if n > 0 || len(p) == 0 {
			ca.window -= int64(n)
			c.window -= int64(n)
			var flags http2.Flags
			if end && n == len(p) {
				flags, ca.finished = http2.FlagDataEndStream, true
			}
			c.out = append(appendFrame(c.out, http2.FrameData, flags, ca.id, n), p[:n]...)
			if p = p[n:]; len(p) == 0 {
				c.flush()
				return nil
			}
			continue
		}
		c.flush()
		if err := ca.awaitWindow(stall); err != nil {
			return err
		}
	}
}

// failure returns why nothing can be sent, or nil. c.mu is held.
func (ca *call) failure() error {
	switch {
	case ca.err != nil:
		return ca.err
	case ca.stopped || ca.finished:
		return l7.ErrStopped
	}
	return nil
}

// awaitWindow waits until something may be sent. c.mu is held, but not while it
// waits.
func (ca *call) awaitWindow(stall time.Duration) error {
	c := ca.c
	t := time.NewTimer(stall)
	defer t.Stop()
	defer func() { ca.sending = false }()
	ca.sending = true
	for {
		if err := ca.failure(); err != nil {
			return err
		}
		if min(ca.window, c.window) > 0 && len(c.out) < gatherMost {
			return nil
		}
		late := false
		c.mu.Unlock()
		select {
		case <-ca.writable:
		case <-t.C:
			late = true
		}
		c.mu.Lock()
		if late {
			return os.ErrDeadlineExceeded
		}
	}
}

// Finish ends the request.
func (ca *call) Finish(trailer *l7.Header) error {
	c := ca.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ca.failure(); err != nil {
		return err
	}
	ca.finished = true
	if trailer == nil || trailer.Len() == 0 {
		c.out = appendFrame(c.out, http2.FrameData, http2.FlagDataEndStream, ca.id, 0)
	} else {
		b := make([]byte, frameHead, buf.Tiny)
		for _, f := range trailer.Fields() {
			if forwarded(f.ID) {
				b = appendField(b, f.ID, f.Name, f.Value)
			}
		}
		c.gatherHead(b, ca.id, true)
	}
	c.flush()
	return nil
}
