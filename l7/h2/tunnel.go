package h2

import (
	"io"
	"os"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// tunnel is a stream as a stream of bytes, once protocols were switched. Its
// deadlines are guarded by c.mu.
type tunnel struct {
	open                bool
	readDue, writeDue   int64 // in sock.Now's time; 0: none
	readLate, writeLate bool
}

// tunnelEnd is what the goroutines that relay bytes are given.
type tunnelEnd struct{ *stream }

// Tunnel hands the stream over once the switch was told.
func (st *stream) Tunnel() (l7.Tunnel, error) {
	if err := st.Flush(); err != nil {
		return nil, err
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.tunnel.open = true
	return &tunnelEnd{st}, nil
}

// look ends the waits whose deadline has passed. c.mu is held.
func (t *tunnel) look(st *stream, now int64) {
	if t.readDue != 0 && now >= t.readDue && !t.readLate {
		t.readLate = true
		st.readable.Broadcast()
	}
	if t.writeDue != 0 && now >= t.writeDue && !t.writeLate {
		t.writeLate = true
		st.writable.Broadcast()
	}
}

// Read returns what the client has sent; at the end of its direction io.EOF.
func (t *tunnelEnd) Read(p []byte) (int, error) {
	st := t.stream
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.content.size > 0:
			n := st.content.read(p)
			st.takeContent(n)
			c.flush()
			return n, nil
		case st.ended:
			return 0, io.EOF
		case st.bodyErr != nil:
			return 0, st.bodyErr
		case c.err != nil:
			return 0, errGone
		case st.tunnel.readLate:
			return 0, os.ErrDeadlineExceeded
		}
		st.readable.Wait()
	}
}

// Write sends p.
func (t *tunnelEnd) Write(p []byte) (int, error) {
	st := t.stream
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := st.sendContent(p, false); err != nil {
		return 0, err
	}
	c.due = true
	c.flush()
	return len(p), st.failure()
}

// CloseWrite ends our direction.
func (t *tunnelEnd) CloseWrite() error {
	st := t.stream
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := st.failure(); err != nil {
		return err
	}
	if !st.finished {
		st.finished = true
		c.setGathered(appendFrame(c.gathered(), http2.FrameData, http2.FlagDataEndStream, st.id, 0))
		st.settle()
		c.due = true
		c.flush()
	}
	return nil
}

// Close ends both directions.
func (t *tunnelEnd) Close() error {
	t.Abort(l7.ReasonClientGone)
	return nil
}

// SetReadDeadline sets when a Read under way, and later ones, fail.
func (t *tunnelEnd) SetReadDeadline(at time.Time) error {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.tunnel.readDue, t.tunnel.readLate = t.due(at)
	if t.tunnel.readLate {
		t.readable.Broadcast()
	}
	return nil
}

// SetWriteDeadline sets when a Write under way, and later ones, fail.
func (t *tunnelEnd) SetWriteDeadline(at time.Time) error {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.tunnel.writeDue, t.tunnel.writeLate = t.due(at)
	if t.tunnel.writeLate {
		t.writable.Broadcast()
	}
	return nil
}

// due returns a deadline in sock.Now's time, and whether it has passed.
func (t *tunnelEnd) due(at time.Time) (due int64, late bool) {
	if at.IsZero() {
		return 0, false
	}
	left := time.Until(at)
	return sock.Now() + int64(left), left <= 0
}
