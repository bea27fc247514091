package l4

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Acceptor serves what the listeners let in.
type Acceptor interface {
	// ServeConn serves a connection to its end, on the caller's goroutine, and
	// closes it.
	ServeConn(ctx context.Context, c *Conn)
}

// Conn is a client's connection: a TCP socket, or TLS over one. At most one
// goroutine reads and one writes at a time. Whoever serves it closes it.
type Conn struct {
	net.Conn // the socket, or the TLS connection over it
	Info

	sock *sock.Conn

	// The drain's view of the connection, for any goroutine.
	idle     atomic.Bool
	draining atomic.Bool
}

// NewConn takes over a socket.
func NewConn(s *sock.Conn, info Info) *Conn {
	return &Conn{Conn: s, Info: info, sock: s}
}

// Socket returns the socket beneath, for deadlines, and for splicing when the
// connection is plaintext.
func (c *Conn) Socket() *sock.Conn { return c.sock }

// Handshake terminates TLS on the connection within timeout. After an error
// the connection is only good for closing.
func (c *Conn) Handshake(ctx context.Context, cfg *tls.Config, timeout time.Duration) error {
	t := tls.Server(c.sock, cfg)
	_ = c.sock.SetDeadline(time.Now().Add(timeout))
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	_ = c.sock.SetDeadline(time.Time{})
	st := t.ConnectionState()
	c.Conn = t
	c.TLS = &TLS{
		Version:    versionName(st.Version),
		Cipher:     tls.CipherSuiteName(st.CipherSuite),
		ServerName: st.ServerName,
		Protocol:   st.NegotiatedProtocol,
	}
	return nil
}

// Idle tells whether the connection is between two messages, and returns
// whether it may wait there: not once it was asked to end.
func (c *Conn) Idle(idle bool) (wait bool) {
	c.idle.Store(idle)
	return !c.draining.Load()
}

// CloseWrite ends our direction of the stream.
func (c *Conn) CloseWrite() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.CloseWrite()
	}
	return c.sock.CloseWrite()
}

// Drain asks the connection to end: at once if it is idle, else after the
// exchange under way. Any goroutine may call it.
func (c *Conn) Drain() {
	c.draining.Store(true)
	if c.idle.Load() {
		c.sock.Interrupt()
	}
}

// Draining reports whether the connection was asked to end.
func (c *Conn) Draining() bool { return c.draining.Load() }

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	}
	return tls.VersionName(v)
}
