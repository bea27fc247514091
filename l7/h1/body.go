package h1

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

var (
	_ l7.RequestBody = (*body)(nil)
	_ l7.WholeBody   = (*body)(nil)
)

// body reads a request's content off its connection. It is part of the
// connection and serves one exchange after the other. One goroutine reads;
// Stop may be called by any.
type body struct {
	c       *conn
	length  int64         // announced; -1: chunked
	left    int64         // of an announced length
	read    int64         // content so far
	ended   bool          // the content was read to its end
	err     error         // final, if not nil
	wait    time.Duration // bound of one read
	stopped atomic.Bool
	chunks  *syntax.ChunkDecoder
}

func (b *body) begin(c *conn, length int64) {
	b.wait = c.settings.ReadTimeout
	b.c, b.length, b.left, b.read, b.ended, b.err = c, length, length, 0, false, nil
	b.stopped.Store(false)
	if length < 0 {
		if b.chunks == nil {
			b.chunks = new(syntax.ChunkDecoder)
		}
		b.chunks.Reset(l7.SideClient, &c.settings.Limits)
	}
}

// Read returns content as it arrives.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.next(p)
	b.read += int64(n)
	if most := b.c.settings.BodyBytes; most > 0 && b.read > most {
		n, err = 0, errTooLarge
	}
	b.err = err
	if err == io.EOF {
		b.ended = true
	}
	return n, err
}

// Trailer returns the trailer fields once the content has ended.
func (b *body) Trailer() *l7.Header {
	if b.length < 0 {
		return b.chunks.Trailer()
	}
	return &noTrailer
}

// noTrailer is never written to.
var noTrailer l7.Header

// Whole returns the content if it has an announced length and is all here.
func (b *body) Whole() ([]byte, bool) {
	c := b.c
	if b.length < 0 || b.read > 0 || int64(c.to-c.from) < b.length || c.expect == expectPending {
		return nil, false
	}
	content := c.block.B[c.from : c.from+int(b.length)]
	c.from += int(b.length)
	b.left, b.read, b.ended, b.err = 0, b.length, true, io.EOF
	return content, true
}

// Stop lets a Read under way and all later ones fail.
func (b *body) Stop() {
	b.stopped.Store(true)
	b.c.socket.Interrupt()
}

var (
	errTooLarge = &l7.Error{Status: http.StatusRequestEntityTooLarge, Message: "Payload too large", Reason: l7.ReasonBodyTooLarge, Side: l7.SideClient}
	errStall    = &l7.Error{Status: http.StatusRequestTimeout, Message: "Request timeout", Reason: l7.ReasonBodyTimeout, Side: l7.SideClient, Err: errors.New("the body stalled")}
	errCut      = &l7.Error{Status: l7.StatusClientGone, Message: "Bad request", Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: errors.New("the connection ended within a body")}
)

func (b *body) next(p []byte) (int, error) {
	if err := b.c.sendContinue(); err != nil {
		return 0, err
	}
	if b.length >= 0 {
		return b.nextOfLength(p)
	}
	return b.nextChunked(p)
}

func (b *body) nextOfLength(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	c := b.c
	if c.from < c.to {
		n = copy(p, c.block.B[c.from:c.to])
		c.from += n
	} else if n, err = b.fill(p); err != nil {
		return 0, err
	}
	b.left -= int64(n)
	if b.left == 0 {
		err = io.EOF
	}
	return n, err
}

func (b *body) nextChunked(p []byte) (n int, err error) {
	c := b.c
	for {
		for c.from < c.to && n < len(p) {
			// No more than fits is shown to the decoder as data: what it
			// consumes is copied at once.
			view := c.block.B[c.from:c.to]
			data, used, err := b.chunks.Next(view[:min(len(view), len(p)-n)])
			if err != nil {
				return 0, err
			}
			c.from += used
			n += copy(p[n:], data)
			if b.chunks.Done() {
				return n, io.EOF
			}
		}
		if n > 0 {
			return n, nil
		}
		if c.block == nil {
			c.block = buf.Get(buf.Medium)
		}
		c.from = 0
		if c.to, err = b.fill(c.block.B); err != nil {
			c.to = 0
			return 0, err
		}
	}
}

// fill reads from the connection.
func (b *body) fill(p []byte) (int, error) {
	c := b.c
	began := sock.Now()
	c.socket.ArmRead(began, b.wait)
	if b.stopped.Load() {
		return 0, l7.ErrStopped
	}
	if c.aborted.Load() {
		return 0, errCut // its interrupt may have come before the deadline was armed
	}
	n, err := c.Conn.Read(p)
	if n == 0 && c.early(err, began, b.wait) && !b.stopped.Load() && !c.aborted.Load() {
		_ = c.socket.SetReadDeadline(time.Now().Add(b.wait))
		n, err = c.Conn.Read(p)
	}
	switch {
	case n > 0:
		return n, nil
	case b.stopped.Load():
		return 0, l7.ErrStopped
	case c.aborted.Load():
		return 0, errCut
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, errStall
	}
	return 0, errCut
}

// settleBytes is how much unread content is read and dropped after an answer,
// so that the connection can be kept.
const settleBytes = 64 << 10

// settleTime bounds the wait for that content.
const settleTime = time.Second

// settle brings the connection to the end of the content and reports whether it
// is there.
func (b *body) settle() bool {
	c := b.c
	if b.ended {
		if b.stopped.Load() {
			// Stop came too late to stop anything, but has interrupted reads.
			_ = c.socket.SetReadDeadline(time.Time{})
		}
		return true
	}
	if b.err != nil || b.stopped.Load() || c.expect == expectMoot || !c.wire.keep || b.left > settleBytes {
		return false
	}
	b.wait = settleTime
	scratch := buf.Get(buf.Small)
	defer scratch.Put()
	began := sock.Now()
	for dropped := 0; dropped <= settleBytes && sock.Now()-began < int64(settleTime); {
		n, err := b.Read(scratch.B)
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		dropped += n
	}
	return false
}

// continueLine is the interim head that asks for the content.
const continueLine = "HTTP/1.1 100 Continue\r\n\r\n"

// sendContinue asks the client for the content if it waits to be asked.
func (c *conn) sendContinue() error {
	c.expectMu.Lock()
	defer c.expectMu.Unlock()
	if c.expect != expectPending {
		return nil
	}
	c.expect = expectSent
	if _, err := io.WriteString(c.Conn, continueLine); err != nil {
		return errCut
	}
	return nil
}

// mootContinue makes sure that no 100 follows what is written next.
func (c *conn) mootContinue() {
	c.expectMu.Lock()
	if c.expect == expectPending {
		c.expect = expectMoot
	}
	c.expectMu.Unlock()
}
