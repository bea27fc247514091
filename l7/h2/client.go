package h2

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Client is the role of a client: it asks upstreams on connections that many
// calls share. Close must be called in the end. Safe for concurrent use.
type Client struct {
	metrics    *telemetry.Metrics
	log        *slog.Logger
	settings   atomic.Pointer[ClientSettings]
	work       sync.WaitGroup // readers and writers
	idleSecure atomic.Int64   // idle TLS connections

	mu     sync.Mutex // taken before clientConn.mu
	groups map[upstream.PoolKey]*group
	closed bool
}

var _ l7.Calls = (*Client)(nil)

// ClientSettings bound what upstreams may do. Those of a connection are the ones
// it was opened under.
type ClientSettings struct {
	Limits      syntax.Limits // of heads and trailers
	Idle        int           // idle connections of a kind, those opened before included
	IdleTimeout time.Duration // after which a connection without a call is closed
	Requests    int           // after which a connection takes no more
}

// group is the connections of one kind: to one endpoint, under one identity.
type group struct {
	key     upstream.PoolKey
	conns   []*clientConn
	dialing *dialing     // nil: no connection is being opened
	idle    atomic.Int64 // of conns
}

// NewClient returns a client that has no connection yet.
func NewClient(m *telemetry.Metrics, log *slog.Logger, s ClientSettings) *Client {
	cl := &Client{metrics: m, log: log, groups: make(map[upstream.PoolKey]*group)}
	cl.SetSettings(s)
	return cl
}

// SetSettings changes what connections are opened under.
func (cl *Client) SetSettings(s ClientSettings) { cl.settings.Store(&s) }

// Close ends every connection and waits for the goroutines.
func (cl *Client) Close() {
	cl.mu.Lock()
	cl.closed = true
	var all []*clientConn
	for _, g := range cl.groups {
		all = append(all, g.conns...)
	}
	cl.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.fail(net.ErrClosed)
		c.mu.Unlock()
	}
	cl.work.Wait()
}

// Connections returns the number of open connections.
func (cl *Client) Connections() (n int) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, g := range cl.groups {
		n += len(g.conns)
	}
	return n
}

// Open begins a call.
func (cl *Client) Open(p *upstream.Pool, wait time.Duration) (l7.Call, l7.Dialing, error) {
	var timeout <-chan time.Time
	for {
		call, d, first := cl.find(p.Key())
		switch {
		case call != nil:
			return call, nil, nil
		case d == nil:
			return nil, nil, net.ErrClosed
		case first:
			return nil, d, nil
		}
		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, nil, d.err
			}
		case <-timeout:
			return nil, nil, os.ErrDeadlineExceeded
		}
	}
}

// HasRoom reports whether a call on a connection of p's kind would begin at once.
func (cl *Client) HasRoom(p *upstream.Pool) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	g := cl.groups[p.Key()]
	return g != nil && slices.ContainsFunc(g.conns, (*clientConn).hasRoom)
}

// find returns a call, or how a connection is being opened; first tells that the
// caller is to do that.
func (cl *Client) find(key upstream.PoolKey) (call *call, d *dialing, first bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return nil, nil, false
	}
	g := cl.groups[key]
	if g == nil {
		g = &group{key: key}
		cl.groups[key] = g
	}
	for _, c := range g.conns {
		if call := c.begin(); call != nil {
			return call, nil, false
		}
	}
	if g.dialing == nil {
		g.dialing = &dialing{client: cl, group: g, done: make(chan struct{})}
		first = true
	}
	return nil, g.dialing, first
}

// forget takes a connection that has ended out of its group.
func (cl *Client) forget(c *clientConn) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	g := c.group
	if i := slices.Index(g.conns, c); i >= 0 {
		g.conns = slices.Delete(g.conns, i, i+1)
	}
	cl.drop(g)
}

// drop forgets a group of nothing: clients may choose server names, and names
// may have other addresses each time. cl.mu is held.
func (cl *Client) drop(g *group) {
	if len(g.conns) == 0 && g.dialing == nil {
		delete(cl.groups, g.key)
	}
}

// dialing is a connection that is being opened.
type dialing struct {
	client *Client
	group  *group
	done   chan struct{}
	err    error // valid after done
}

// Use makes conn a connection of the group.
func (d *dialing) Use(conn *upstream.Conn) (l7.Call, error) {
	cl := d.client
	c := newClientConn(cl, d.group, conn)
	cl.mu.Lock()
	d.group.dialing = nil
	if cl.closed {
		d.err = net.ErrClosed
		cl.drop(d.group)
		cl.mu.Unlock()
		close(d.done)
		conn.Close()
		return nil, net.ErrClosed
	}
	d.group.conns = append(d.group.conns, c)
	call := c.begin() // a new connection has room
	cl.work.Go(c.run)
	cl.mu.Unlock()
	close(d.done)
	return call, nil
}

// errNoDial is a connection that nobody opens any more.
var errNoDial = errors.New("the connection was not opened")

// Fail tells those who wait that there is no connection.
func (d *dialing) Fail(err error) {
	if err == nil {
		err = errNoDial
	}
	d.err = err
	d.client.mu.Lock()
	d.group.dialing = nil
	d.client.drop(d.group)
	d.client.mu.Unlock()
	close(d.done)
}
