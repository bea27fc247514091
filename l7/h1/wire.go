package h1

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

var (
	_ l7.Wire    = (*conn)(nil)
	_ l7.Splicer = (*conn)(nil)
)

// wire is the answering half of a connection, for one exchange after the other.
type wire struct {
	keep     bool // the connection is kept after the answer
	headOnly bool // the request was HEAD
	proto    l7.Proto
	trailers bool // the client takes trailer fields

	started bool // the final head is written
	bare    bool // the answer has no content
	chunked bool
	left    int64 // announced content still to be written; -1: not announced
	taken   bool  // the stream was handed over as a tunnel

	out *buf.Block // what is held back: out.B[:n]
	n   int
}

// begin makes the wire ready for the answer to r.
func (w *wire) begin(r *l7.Request, keep bool) {
	w.drop()
	*w = wire{keep: keep, headOnly: r.Method == http.MethodHead, proto: r.Proto, trailers: r.TETrailers}
}

func (w *wire) drop() {
	w.out.Put()
	w.out, w.n = nil, 0
}

// WriteHead writes an interim or the final head.
func (c *conn) WriteHead(status int, h *l7.Header, size int64) error {
	w := &c.wire
	if status < 200 && status != http.StatusSwitchingProtocols {
		c.appendHead(status, h)
		c.append("\r\n")
		c.expectMu.Lock() // the body's reader may be sending 100 (Continue)
		defer c.expectMu.Unlock()
		return c.Flush()
	}
	if w.started {
		panic("BUG: second final head")
	}
	if c.body.c != nil {
		c.mootContinue()
	}
	w.started = true
	w.keep = w.keep && !c.Draining() && !c.x.Req.Close
	c.settleFraming(status, size)
	c.appendHead(status, h)
	c.appendFraming(status, size)
	if status == http.StatusSwitchingProtocols {
		return c.Flush()
	}
	return nil
}

// settleFraming chooses how the content of the final answer is delimited
// (RFC 9112 section 6).
func (c *conn) settleFraming(status int, size int64) {
	w := &c.wire
	w.left = size
	switch {
	case w.headOnly || status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusSwitchingProtocols:
		w.bare = true
	case size >= 0:
	case w.proto == l7.HTTP10:
		w.keep = false
	default:
		w.chunked = true
	}
	if c.expect == expectMoot {
		w.keep = false // whether the content follows is the client's choice
	}
}

// appendHead appends the status line and the fields that are not the engine's.
func (c *conn) appendHead(status int, h *l7.Header) {
	w := &c.wire
	if w.out == nil {
		w.out = buf.Get(buf.Medium)
	}
	b := syntax.AppendStatusLine(w.out.B[:w.n], status)
	for _, f := range h.Fields() {
		switch f.ID {
		case l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxyConnection, l7.FieldTransferEncoding,
			l7.FieldContentLength, l7.FieldTE, l7.FieldHTTP2Settings, l7.FieldTrailer:
			continue
		case l7.FieldUpgrade:
			if status != http.StatusSwitchingProtocols && status != http.StatusUpgradeRequired {
				continue
			}
		}
		b = syntax.AppendField(b, f.Name, f.Value)
	}
	c.setOut(b)
}

// appendFraming appends the engine's own fields and ends the head.
func (c *conn) appendFraming(status int, size int64) {
	w := &c.wire
	b := w.out.B[:w.n]
	switch {
	case w.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case size >= 0 && status != http.StatusNoContent && status != http.StatusSwitchingProtocols:
		b = syntax.AppendContentLength(b, size)
	}
	upgrade := status == http.StatusSwitchingProtocols || status == http.StatusUpgradeRequired
	switch {
	case status == http.StatusSwitchingProtocols:
		b = append(b, "Connection: Upgrade\r\n"...)
	case upgrade && w.keep:
		b = append(b, "Connection: Upgrade\r\n"...)
	case upgrade:
		b = append(b, "Connection: Upgrade, close\r\n"...)
	case !w.keep:
		b = append(b, "Connection: close\r\n"...)
	default:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	c.setOut(append(b, "\r\n"...))
}

// setOut takes over b, which was appended to what is held back. A head that
// outgrew its block stays on the heap until it is flushed.
func (c *conn) setOut(b []byte) {
	w := &c.wire
	if len(b) > len(w.out.B) {
		w.out.Put()
		w.out = &buf.Block{B: b[:cap(b)]}
	}
	w.n = len(b)
}

func (c *conn) append(s string) { c.setOut(append(c.wire.out.B[:c.wire.n], s...)) }

// errExcess is a broken promise of our own: content beyond the announced size.
var errExcess = errors.New("BUG: more content than announced")

// Write sends content, or holds it back while it is small.
func (c *conn) Write(p []byte) (int, error) {
	w := &c.wire
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
		w.out = buf.Get(buf.Medium)
	}
	if w.chunked {
		var line [20]byte
		size := syntax.AppendChunkSize(line[:0], len(p))
		if err := c.hold(size); err != nil {
			return 0, err
		}
		if err := c.hold(p); err != nil {
			return 0, err
		}
		return len(p), c.hold([]byte("\r\n"))
	}
	return len(p), c.hold(p)
}

// hold keeps p back if there is room behind what is kept already, and else
// sends both.
func (c *conn) hold(p []byte) error {
	w := &c.wire
	if w.n+len(p) <= len(w.out.B) {
		w.n += copy(w.out.B[w.n:], p)
		return nil
	}
	if len(p) < len(w.out.B)/2 || w.n == 0 {
		// Fill the block, so that writes are few and full.
		k := copy(w.out.B[w.n:], p)
		w.n += k
		if err := c.Flush(); err != nil {
			return err
		}
		p = p[k:]
		if len(p) <= len(w.out.B) {
			w.n = copy(w.out.B, p)
			return nil
		}
		return c.send(p)
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return c.send(p)
}

// Flush sends what is held back.
func (c *conn) Flush() error {
	w := &c.wire
	if w.n == 0 {
		return nil
	}
	n := w.n
	w.n = 0
	return c.send(w.out.B[:n])
}

func (c *conn) send(p []byte) error {
	if c.aborted.Load() {
		return errGone(os.ErrClosed)
	}
	if _, err := c.Conn.Write(p); err != nil {
		c.wire.keep = false // part of it may be on the wire
		return errGone(err)
	}
	return nil
}

func errGone(err error) *l7.Error {
	e := &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: err}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.Reason = l7.ReasonWriteStall
	}
	return e
}

// Finish ends the answer.
func (c *conn) Finish(trailer *l7.Header) error {
	w := &c.wire
	if !w.bare && w.left > 0 {
		return fmt.Errorf("BUG: %d bytes of announced content missing", w.left)
	}
	if w.chunked {
		if w.out == nil {
			w.out = buf.Get(buf.Medium)
		}
		b := append(w.out.B[:w.n], "0\r\n"...)
		if trailer != nil && w.trailers {
			for _, f := range trailer.Fields() {
				b = syntax.AppendField(b, f.Name, f.Value)
			}
		}
		c.setOut(append(b, "\r\n"...))
	}
	err := c.Flush()
	w.drop()
	return err
}

// Abort breaks the answer off. The connection is closed with a reset then, since a
// mere close could pass for the answer's end.
func (c *conn) Abort(l7.Reason) {
	if c.aborted.Swap(true) {
		return
	}
	c.socket.Cut()
}

// Departed reports whether the client has closed its side, or the answer was
// broken off.
func (c *conn) Departed() bool { return c.aborted.Load() || c.socket.Departed() }

// Splice moves announced content from src to a plaintext client within the
// kernel, and copies it where that cannot be.
func (c *conn) Splice(src *sock.Conn, n int64, progress func()) (moved int64, fromSource bool, err error) {
	w := &c.wire
	if w.bare || w.left < n {
		return 0, false, errExcess
	}
	if err := c.Flush(); err != nil {
		return 0, false, err
	}
	moved, fromSource, err = sock.Splice(c.socket, src, n, progress)
	w.left -= moved
	if err != nil && !fromSource && !errors.Is(err, sock.ErrNoPipe) {
		err = errGone(err)
	}
	return moved, fromSource, err
}

// CanSplice reports whether Splice can be used on this answer.
func (c *conn) CanSplice() bool { return c.TLS == nil && !c.wire.bare && !c.wire.chunked }
