package l4

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// Acceptor serves what the listeners let in.
type Acceptor interface {
	// ServeConn takes a connection over, on a goroutine of its own. It may return
	// before the connection has ended. Whatever becomes of it, Close or Abort is
	// called in the end.
	ServeConn(ctx context.Context, c *Conn)
	// ServePackets serves a UDP listener to its end, on a goroutine of its own. When
	// p.Draining is closed no flow may begin any more; when the last one has ended,
	// or ctx is over, it returns, and uses the sockets no longer.
	ServePackets(ctx context.Context, p *Packets)
}

// Conn is a client's connection: a TCP socket, or TLS over one. At most one
// goroutine reads and one writes at a time. Whoever serves it closes it.
type Conn struct {
	net.Conn // the socket, or the TLS connection over it
	Info

	sock      *sock.Conn  // nil: only fd is known of it
	fd        int         // of a connection that Go's poller does not know; -1: it does, or it is detached
	helloSize int         // bytes of Info.Hello, which are still to be read
	onClose   func(*Conn) // see OnClose
	closed    atomic.Bool // onClose was called

	// The drain's view of the connection, for any goroutine.
	idle     atomic.Bool
	draining atomic.Bool

	mu  sync.Mutex
	cut bool   // Cut was called
	why Reason // of that; ReasonNone: the drain
	end func() // what Cut calls; nil: it closes the socket
}

// NewConn takes over a socket.
func NewConn(s *sock.Conn, info Info) *Conn {
	return &Conn{Conn: s, Info: info, sock: s, fd: -1}
}

// NewRawConn takes over a descriptor that does not block and that Go's poller
// does not know. Until Attach nothing can be read of the connection: it can only
// be detached or closed.
func NewRawConn(fd int, info Info) *Conn { return &Conn{Info: info, fd: fd} }

// Attach makes a connection of NewRawConn one like that of NewConn. After an
// error it is only good for closing.
func (c *Conn) Attach() error {
	fd := c.fd
	c.fd = -1
	s, err := sock.Attach(fd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		s.Close()
		return ErrDraining
	}
	c.Conn, c.sock = s, s
	return nil
}

// Raw reports whether the connection is to be attached before anything is read
// of it.
func (c *Conn) Raw() bool { return c.sock == nil }

// Detach takes the socket out of the connection, which then only counts until
// it is closed: the descriptor is the caller's. Bytes that were not read stay
// readable.
func (c *Conn) Detach() (fd int, err error) {
	if c.sock != nil {
		return c.sock.Detach()
	}
	fd = c.fd
	c.fd = -1
	return fd, nil
}

// closeRaw closes what there is of a connection without a socket.
func (c *Conn) closeRaw() {
	if c.fd >= 0 {
		sock.CloseFD(c.fd)
		c.fd = -1
	}
}

// Socket returns the socket beneath, for deadlines, and for splicing when the
// connection is plaintext.
func (c *Conn) Socket() *sock.Conn { return c.sock }

// Handshake terminates TLS on the connection by the policies of a set, within
// timeout. After an error the connection is only good for closing.
func (c *Conn) Handshake(ctx context.Context, set *policy.Set, timeout time.Duration) error {
	cfg, client := set.Server(timeout)
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
		ServerName: strings.ToLower(st.ServerName),
		Protocol:   st.NegotiatedProtocol,
		Resumed:    st.DidResume,
		ECH:        st.ECHAccepted,
		Client:     client,
	}
	if client != nil {
		set.Settle(client, &st)
		c.TLS.Policy, c.TLS.ClientAuth = client.Policy, client.Key
		c.TLS.Asked, c.TLS.Chain = client.Asked, client.Chain
		if client.Identity() != nil {
			c.TLS.SetClientVerify(VerifySuccess)
		}
	}
	return nil
}

// OnClose sets what is told, once and by the goroutine that does it, that the
// connection is closed. It is set before the connection is served.
func (c *Conn) OnClose(f func(*Conn)) { c.onClose = f }

// Close closes the connection, over TLS with the alert that says so. Any
// goroutine may call it, when no other uses the connection.
func (c *Conn) Close() (err error) {
	if c.sock != nil {
		err = c.Conn.Close()
	} else {
		c.closeRaw()
	}
	c.told()
	return err
}

// Abort closes the socket past TLS, whose closing alert would let a stream look
// complete.
func (c *Conn) Abort() (err error) {
	if c.sock != nil {
		err = c.sock.Close()
	} else {
		c.closeRaw()
	}
	c.told()
	return err
}

func (c *Conn) told() {
	if c.onClose != nil && c.closed.CompareAndSwap(false, true) {
		c.onClose(c)
	}
}

// Cut ends the connection from outside, when its time to drain is over: whoever
// serves it finds the socket closed, or is told as OnCut says, and closes it. Any
// goroutine may call it, any number of times.
func (c *Conn) Cut() {
	c.mu.Lock()
	end, again, s := c.end, c.cut, c.sock
	c.cut = true
	c.mu.Unlock()
	switch {
	case again:
	case end != nil:
		end()
	case s != nil:
		_ = s.Close()
	}
}

// CutFor is Cut for a reason of its own.
func (c *Conn) CutFor(why Reason) {
	c.mu.Lock()
	if !c.cut {
		c.why = why
	}
	c.mu.Unlock()
	c.Cut()
}

// CutReason returns why the connection is ended from outside.
func (c *Conn) CutReason() Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != ReasonNone {
		return c.why
	}
	return ReasonDraining
}

// OnCut sets what Cut does in place of closing the socket, which is called at
// once if Cut was called already. It is for those who serve the connection by
// other means than its socket; it must not wait.
func (c *Conn) OnCut(end func()) {
	c.mu.Lock()
	c.end = end
	late := c.cut
	c.mu.Unlock()
	if late {
		end()
	}
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
