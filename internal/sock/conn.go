package sock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
)

// ErrStale says that a kept-alive connection was closed by its peer, or spoke
// without being asked, before anything was sent on it. Nothing was sent.
var ErrStale = errors.New("stale connection")

// ErrUnsent says that the peer did not take all that was to be sent. It wraps
// the write's error.
var ErrUnsent = errors.New("sending the rest")

// Conn is a TCP socket. At most one goroutine reads and one writes at a time;
// Close, Cut, Interrupt and Departed may be called by any.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn

	closed atomic.Bool // Close was called
	cut    atomic.Bool // Cut was called

	sourceMu sync.Mutex
	source   *Conn // of the splice to here that is under way; nil: there is none

	// Owned by the reader.
	readDue int64 // the armed read deadline in Now's time; 0: none armed
	size    int   // block size of the wait under way
	block   *buf.Block
	n       int
	err     error
	fill    func(fd uintptr) bool // c.tryFill, made once
	noWait  bool                  // Read does not wait
	ended   bool                  // Read has told the end of the stream

	// Owned by Loop.
	turn func() (stop bool)
	step func(fd uintptr) bool // c.takeTurn, made once
	fd   int                   // of the turn under way; -1: none is, and Read may wait
	dry  bool                  // this turn has read all there was

	// Owned by the goroutine that sends and then receives.
	out     []byte
	held    *buf.Block // what out lies in
	sending sending
	send    func(fd uintptr) bool // c.trySend, made once

	// Owned by the writer.
	writeTimeout time.Duration // of a write that waits; 0: none
	writeDue     int64         // the armed write deadline in Now's time; 0: none armed
}

// sending is how far SendReadBlock has come.
type sending uint8

const (
	toProbe sending = iota // the socket must be silent
	toSend
	sent    // all of out is with the kernel
	partial // the kernel took a part of out
)

// New wraps a connected TCP socket and takes it over.
func New(c *net.TCPConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Conn{TCPConn: c, raw: raw, fd: -1}
	s.fill, s.send, s.step = s.tryFill, s.trySend, s.takeTurn
	return s, nil
}

// ArmRead lets reads fail with os.ErrDeadlineExceeded after d, or at most a
// sixteenth of d sooner. A deadline that is armed within that slack already is
// left alone, so a busy connection arms rarely.
func (c *Conn) ArmRead(now int64, d time.Duration) { c.ArmReadWithin(now, d-d/16, d) }

// ArmReadWithin is ArmRead for a deadline that may be anywhere between least
// and most.
func (c *Conn) ArmReadWithin(now int64, least, most time.Duration) {
	if c.readDue >= now+int64(least) && c.readDue <= now+int64(most) {
		return
	}
	c.readDue = now + int64(most)
	_ = c.TCPConn.SetReadDeadline(time.Now().Add(most))
}

// SetWriteTimeout lets every write that has to wait fail with
// os.ErrDeadlineExceeded after d, or at most a sixteenth of d sooner. Zero
// leaves deadlines alone.
func (c *Conn) SetWriteTimeout(d time.Duration) { c.writeTimeout = d }

// armWrite is ArmRead for the write timeout.
func (c *Conn) armWrite() {
	d := c.writeTimeout
	if d == 0 {
		return
	}
	now := Now()
	if c.writeDue >= now+int64(d-d/16) && c.writeDue <= now+int64(d) {
		return
	}
	c.writeDue = now + int64(d)
	_ = c.TCPConn.SetWriteDeadline(time.Now().Add(d))
	if c.cut.Load() { // before the deadline was set, perhaps
		_ = c.TCPConn.SetWriteDeadline(past)
	}
}

// ReadBlock waits for bytes and returns them in a block of the given size,
// taken once the bytes are there. The caller owns the block. At the end of the
// stream the error is io.EOF; with an error there is no block.
func (c *Conn) ReadBlock(size int) (*buf.Block, int, error) {
	c.size = size
	if err := c.raw.Read(c.fill); err != nil {
		return nil, 0, err
	}
	return c.take()
}

// SendReadBlock sends out and then reads as ReadBlock does, in one wait. held is
// the block that out lies in, or nil; it is given back as soon as the kernel has
// out, so that the wait holds no buffer. It is for a kept-alive connection: with
// probe it first looks whether the peer has spoken or closed, which is ErrStale.
// wrote tells whether any byte of out may have reached the peer. An error of the
// write, such as that of its deadline, is ErrUnsent too.
func (c *Conn) SendReadBlock(out []byte, held *buf.Block, size int, probe bool) (b *buf.Block, n int, wrote bool, err error) {
	c.out, c.held, c.size, c.sending = out, held, size, toSend
	if probe {
		c.sending = toProbe
	}
	err = c.raw.Read(c.send)
	wrote = c.sending >= sent
	if err == nil && c.sending == partial {
		if _, err = c.Write(c.out); err == nil {
			c.dropOut()
			b, n, err = c.ReadBlock(size)
		} else {
			err = fmt.Errorf("%w: %w", ErrUnsent, err)
		}
	} else if err == nil {
		b, n, err = c.take()
	}
	c.dropOut()
	return b, n, wrote, err
}

// dropOut gives the block of what was sent back.
func (c *Conn) dropOut() {
	c.held.Put()
	c.out, c.held = nil, nil
}

func (c *Conn) take() (*buf.Block, int, error) {
	b, n, err := c.block, c.n, c.err
	c.block, c.n, c.err = nil, 0, nil
	return b, n, err
}

// tryFill is the reader's turn: one non-blocking read. False means wait.
func (c *Conn) tryFill(fd uintptr) bool {
	b := buf.Get(c.size)
	n, err := read(int(fd), b.B)
	if n > 0 {
		c.block, c.n = b, n
		return true
	}
	b.Put()
	switch {
	case err == syscall.EAGAIN:
		return false
	case err == nil:
		c.err = io.EOF
	default:
		c.err = os.NewSyscallError("read", err)
	}
	return true
}

// trySend probes, sends, and from then on reads.
func (c *Conn) trySend(fd uintptr) bool {
	if c.sending == sent {
		return c.tryFill(fd)
	}
	if c.sending == toProbe {
		var one [1]byte
		if _, err := read(int(fd), one[:]); err != syscall.EAGAIN {
			c.err = ErrStale
			return true
		}
	}
	n, err := write(int(fd), c.out)
	switch {
	case n == len(c.out):
		// The wait began before this write, so that no answer to it can be
		// missed.
		c.sending = sent
		c.dropOut()
		return false
	case err == nil || err == syscall.EAGAIN:
		c.out, c.sending = c.out[max(n, 0):], partial
	default:
		c.err = ErrStale // a reset had arrived; the kernel took nothing
	}
	return true
}

// Close closes the connection. Within a turn reads and writes fail from now on;
// Close itself waits for the end of the turn.
func (c *Conn) Close() error {
	c.closed.Store(true)
	return c.TCPConn.Close()
}

// Departed reports whether the peer has closed its side, or the connection is
// broken. It consumes nothing and does not wait.
func (c *Conn) Departed() bool {
	gone := false
	err := c.raw.Control(func(fd uintptr) {
		gone = ended(int(fd))
	})
	return gone || err != nil
}

// Interrupt ends the read under way and fails later ones, until a read
// deadline is set anew. Nothing already received is lost.
func (c *Conn) Interrupt() { _ = c.TCPConn.SetReadDeadline(past) }

// Cut ends what is under way: the read as Interrupt does, the write, and the splice
// to here also while its source is silent. No write that has to wait succeeds any
// more, until a write deadline is set. The connection is still to be closed.
func (c *Conn) Cut() {
	c.cut.Store(true)
	c.Interrupt()
	_ = c.TCPConn.SetWriteDeadline(past)
	c.sourceMu.Lock()
	defer c.sourceMu.Unlock()
	if c.source != nil {
		c.source.Interrupt()
	}
}

// setSource lets Cut interrupt src, or nobody if it is nil.
func (c *Conn) setSource(src *Conn) {
	c.sourceMu.Lock()
	defer c.sourceMu.Unlock()
	c.source = src
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// SetReadDeadline sets the deadline and forgets what ArmRead had armed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readDue = 0
	return c.TCPConn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline and forgets what was armed for the write timeout.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeDue = 0
	return c.TCPConn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readDue, c.writeDue = 0, 0
	return c.TCPConn.SetDeadline(t)
}
