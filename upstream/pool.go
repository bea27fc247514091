package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// PoolLimits bound the kept-alive connections to one endpoint under one
// identity (Kong's upstream_keepalive_*).
type PoolLimits struct {
	Idle        int           // connections kept
	IdleTimeout time.Duration // how long one is kept
	Requests    int           // requests after which one is not kept any more
}

// PoolKey is what connections must have in common to be exchangeable.
type PoolKey struct {
	addr       netip.AddrPort
	identity   string // Identity.key; "" for plaintext
	serverName string // SNI
}

// Pool keeps idle connections to one endpoint under one identity. The one used
// last is used next, so that the rest can grow old. Safe for concurrent use.
type Pool struct {
	key      PoolKey
	identity *Identity // nil for plaintext
	set      *Set

	closed atomic.Bool // nothing is kept any more; set under mu

	mu   sync.Mutex
	idle []*Conn // oldest first
	used int64   // sock.Now of the last Get
}

// Key returns what the pool's connections have in common.
func (p *Pool) Key() PoolKey { return p.key }

// Get returns an idle connection, or nil. The connection may have died since;
// its user finds out without harm, see Conn.SendReadBlock. now is sock.Now.
func (p *Pool) Get(now int64) *Conn {
	oldest := now - int64(p.set.limits.Load().IdleTimeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = now
	n := len(p.idle) - 1
	if n < 0 || p.idle[n].since < oldest {
		return nil // what is idle is too old; the janitor closes it
	}
	c := p.idle[n]
	p.set.left(p, 1)
	p.idle[n] = nil
	p.idle = p.idle[:n]
	c.rested = now - c.since
	return c
}

// Dial opens a connection. timeout bounds connecting and, after it, the TLS
// handshake; StopDialing ends both.
func (p *Pool) Dial(timeout time.Duration) (*Conn, error) {
	return p.dial(p.set.dialing, nil, timeout)
}

// DialContext is Dial that the end of ctx ends too.
func (p *Pool) DialContext(ctx context.Context, timeout time.Duration) (*Conn, error) {
	return p.DialAfter(ctx, nil, timeout)
}

// DialAfter is DialContext for a connection that begins with a preamble, which
// goes before the TLS handshake. Such a connection is for one client: it is
// closed in the end, and not kept.
func (p *Pool) DialAfter(ctx context.Context, preamble []byte, timeout time.Duration) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.set.dialing, cancel)()
	return p.dial(ctx, preamble, timeout)
}

func (p *Pool) dial(ctx context.Context, preamble []byte, timeout time.Duration) (*Conn, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive}
	nc, err := d.DialContext(ctx, "tcp", p.key.addr.String())
	if err != nil {
		return nil, err
	}
	s, err := sock.New(nc.(*net.TCPConn))
	if err != nil {
		nc.Close()
		return nil, err
	}
	c := &Conn{Conn: s, socket: s, pool: p}
	if len(preamble) > 0 {
		_ = s.SetDeadline(time.Now().Add(timeout))
		if _, err := s.Write(preamble); err != nil {
			s.Close()
			return nil, err
		}
		_ = s.SetDeadline(time.Time{})
	}
	if p.identity == nil {
		return c, nil
	}
	if err := c.handshake(ctx, p.identity.config(p.key.serverName), timeout); err != nil {
		s.Close()
		return nil, err
	}
	return c, nil
}

// keepAlive finds peers that vanished without a word, on connections that no
// deadline watches.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// TLSError is a handshake or verification that did not succeed.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return fmt.Sprintf("shaking hands: %v", e.Err) }

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

func (c *Conn) handshake(ctx context.Context, cfg *tls.Config, timeout time.Duration) error {
	t := tls.Client(c.socket, cfg)
	_ = c.socket.SetDeadline(time.Now().Add(timeout))
	if err := t.HandshakeContext(ctx); err != nil {
		return &TLSError{err}
	}
	if want := cfg.NextProtos; len(want) == 1 && want[0] == protoHTTP2 && t.ConnectionState().NegotiatedProtocol != protoHTTP2 {
		return &TLSError{errNoHTTP2} // RFC 9113 section 3.2
	}
	_ = c.socket.SetDeadline(time.Time{})
	c.Conn, c.secure = t, true
	return nil
}

// HasIdle reports whether there is an idle connection.
func (p *Pool) HasIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle) > 0
}

func (p *Pool) keep(c *Conn, now int64) {
	c.served++
	c.reused = true
	c.since = now
	limits := p.set.limits.Load()
	p.mu.Lock()
	if p.closed.Load() || len(p.idle) >= limits.Idle || c.served >= limits.Requests || !p.set.mayIdle(p) {
		p.mu.Unlock()
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
	p.mu.Unlock()
}

// reap closes what was idle since before oldest. A pool that nobody asked since
// then is closed altogether: clients may choose server names, and names may have
// other addresses each time, so pools must not add up.
func (p *Pool) reap(oldest int64) (done bool) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && p.idle[n].since < oldest {
		n++
	}
	old := append([]*Conn(nil), p.idle[:n]...)
	p.set.left(p, n)
	m := copy(p.idle, p.idle[n:])
	clear(p.idle[m:])
	p.idle = p.idle[:m]
	done = m == 0 && p.used < oldest
	if done {
		p.closed.Store(true)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
	return done
}

// close closes what is idle, and from now on whatever is given back.
func (p *Pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.set.left(p, len(idle))
	p.idle = nil
	p.closed.Store(true)
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}
