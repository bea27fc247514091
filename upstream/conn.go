package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Conn is a connection to an endpoint. Whoever got it from a pool gives it
// back by Keep, or closes it by Close; both take it away from the caller.
type Conn struct {
	net.Conn // the socket, or the TLS connection over it

	socket *sock.Conn
	pool   *Pool
	secure bool
	reused bool
	served int   // requests sent on it so far
	since  int64 // sock.Now when it became idle
	rested int64 // nanoseconds it was idle before this use

	delimited bool // see Keep
}

// Socket returns the socket beneath, for deadlines, and for splicing when the
// connection is plaintext.
func (c *Conn) Socket() *sock.Conn { return c.socket }

// Secure reports whether the connection is TLS.
func (c *Conn) Secure() bool { return c.secure }

// Reused reports whether an earlier exchange used the connection, so that the
// peer may have closed it meanwhile.
func (c *Conn) Reused() bool { return c.reused }

// ReadBlock waits for bytes and returns them in a block that the caller owns;
// see sock.Conn.ReadBlock. A TLS connection fills at most size bytes and holds
// the block while it waits.
func (c *Conn) ReadBlock(size int) (*buf.Block, int, error) {
	if !c.secure {
		return c.socket.ReadBlock(size)
	}
	b := buf.Get(size)
	n, err := c.Conn.Read(b.B)
	if n > 0 {
		return b, n, nil
	}
	b.Put()
	return nil, 0, err
}

// trustIdle is how long a connection may have been idle to be used again
// without a look at it. A peer that closes or speaks within that time could as
// well have done so just after the look.
const trustIdle = time.Millisecond

// SendReadBlock sends out and waits for the first bytes of the answer; see
// sock.Conn.SendReadBlock. It takes over held, the block that out lies in.
// wrote tells whether any byte of out may have reached the peer; without it the
// error is sock.ErrStale or a deadline. replayable says that the request may be
// sent again elsewhere if the peer turns out to have closed; without it the
// connection is always looked at first.
func (c *Conn) SendReadBlock(out []byte, held *buf.Block, size int, replayable bool) (b *buf.Block, n int, wrote bool, err error) {
	if !c.secure {
		probe := c.reused && !(replayable && c.delimited && c.rested < int64(trustIdle))
		return c.socket.SendReadBlock(out, held, size, probe)
	}
	defer held.Put()
	if !c.Silent() {
		return nil, 0, false, sock.ErrStale
	}
	if _, err := c.Conn.Write(out); err != nil {
		return nil, 0, true, fmt.Errorf("%w: %w", sock.ErrUnsent, err)
	}
	b, n, err = c.ReadBlock(size)
	return b, n, true, err
}

// Silent reports whether the peer of a kept-alive connection has neither spoken
// nor closed since its last answer. What it says unasked must never pass for
// the answer to the next request. It does not wait.
func (c *Conn) Silent() bool {
	if !c.reused {
		return true
	}
	var one [1]byte
	silent := false
	err := c.socket.Loop(func() (stop bool) {
		// Through TLS, so that session tickets and alerts are taken in.
		_, err := c.Conn.Read(one[:])
		silent = errors.Is(err, sock.ErrWouldBlock)
		return true
	})
	return err == nil && silent
}

// Keep gives the connection back to its pool. The caller vouches that the last
// exchange on it is complete and that nothing more is to be read. delimited says
// that the last answer had content whose end was announced: an answer that may
// have none is the one that servers wrongly send content after. now is sock.Now.
func (c *Conn) Keep(now int64, delimited bool) {
	c.delimited = delimited
	if p := c.pool; p.closed.Load() { // the exchange took so long that nobody seemed to use the pool
		c.pool = p.set.pool(p.key.addr, p.identity, p.key.serverName)
	}
	c.pool.keep(c, now)
}

// CloseWrite ends our direction of the stream.
func (c *Conn) CloseWrite() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.CloseWrite()
	}
	return c.socket.CloseWrite()
}

// Close ends the connection.
func (c *Conn) Close() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		// No close_notify: it could block, and HTTP/1 messages are delimited.
		return t.NetConn().Close()
	}
	return c.Conn.Close()
}
