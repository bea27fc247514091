package listeners

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gaissmai/bart"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/rate"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// listener accepts on one socket.
type listener struct {
	set   *Set
	spec  Spec
	ln    net.Listener
	count *telemetry.Listener
	rules atomic.Pointer[rules]
	done  chan struct{}  // closed when the accept loop has ended
	left  func(*l4.Conn) // l.leave, made once

	mu      sync.Mutex
	conns   map[*l4.Conn]netip.Addr // and the client address under which each counts; none while its PROXY header is awaited
	held    map[netip.Prefix]int    // open connections of each client, and of each network of clients
	file    *os.File                // of the socket, see descriptor; nil: not asked for
	stopped bool                    // the socket is closed
	closing bool
	empty   chan struct{} // closed when the listener is closing and has no connection left
}

// rules are what may change while the socket stays open.
type rules struct {
	Limits
	proxies *bart.Lite // peers that must send a PROXY header; nil: none
	raw     bool
	rates   *rate.Table // of new connections; nil: no bound
}

func newListener(s *Set, spec Spec, ln net.Listener) *listener {
	l := &listener{
		set:   s,
		spec:  spec,
		ln:    ln,
		count: s.metrics.Listener(spec.Name),
		conns: make(map[*l4.Conn]netip.Addr),
		held:  make(map[netip.Prefix]int),
		done:  make(chan struct{}),
		empty: make(chan struct{}),
	}
	l.left = l.leave
	l.change(spec)
	return l
}

// change lets later connections be served by the rules of another spec.
func (l *listener) change(spec Spec) {
	r := &rules{Limits: spec.Limits, raw: spec.Raw}
	if n := spec.Limits.NewConnectionsPerSecond; n > 0 {
		if old := l.rules.Load(); old != nil && old.NewConnectionsPerSecond == n {
			r.rates = old.rates
		} else {
			r.rates = rate.New(n)
		}
	}
	if len(spec.Proxies) > 0 {
		r.proxies = new(bart.Lite)
		for _, p := range spec.Proxies {
			r.proxies.Insert(p)
		}
	}
	l.rules.Store(r)
}

// sharePort lets other processes bind the address too, or not any more. What
// waits to be accepted stays, since the socket does. Once others could share it,
// the kernel goes on to let them until all its sockets are closed.
func (l *listener) sharePort(share bool) {
	if l.spec.ReusePort == share {
		return
	}
	l.spec.ReusePort = share
	raw, err := l.ln.(*net.TCPListener).SyscallConn()
	if err == nil {
		if cerr := raw.Control(func(fd uintptr) { err = setReusePort(fd, share) }); cerr != nil {
			err = cerr
		}
	}
	if err != nil {
		l.set.log.Error("changing reuse_port of a listener", "listener", l.spec.Name, "error", err.Error())
	}
}

// proxied reports whether the peer must send a PROXY header.
func (r *rules) proxied(peer netip.Addr) bool { return r.proxies != nil && r.proxies.Contains(peer) }

func (l *listener) addr() netip.AddrPort { return l.ln.Addr().(*net.TCPAddr).AddrPort() }

// serves reports whether the open socket is what spec wants. A port that the
// system chose may be named later.
func (l *listener) serves(spec Spec) bool {
	port := l.spec.Port
	if spec.Port != 0 {
		port = l.addr().Port()
	}
	return l.spec.Addr == spec.Addr && port == spec.Port
}

// Pauses of an accept loop that has run out of descriptors or memory.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// acceptLoop lets connections in until the socket is closed.
func (l *listener) acceptLoop() {
	defer close(l.done)
	pause := firstPause
	for {
		err := l.accept()
		switch {
		case err == nil:
			pause = firstPause
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNABORTED):
			continue // the client left before it was let in
		}
		l.count.Refuse(telemetry.RefusedAccept)
		l.set.log.Warn("accepting a connection: "+err.Error()+advice(err), "listener", l.spec.Name, "pause", pause.String())
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

// accept waits for a connection, or several, and lets them in.
func (l *listener) accept() error {
	if l.rules.Load().raw {
		return l.acceptRaw()
	}
	nc, err := l.ln.Accept()
	if err != nil {
		return err
	}
	l.admitConn(nc.(*net.TCPConn))
	return nil
}

// admitConn lets a connection in that Go has accepted.
func (l *listener) admitConn(nc *net.TCPConn) {
	s, err := sock.New(nc)
	if err != nil {
		nc.Close()
		return
	}
	peer, _ := nc.RemoteAddr().(*net.TCPAddr)
	local, _ := nc.LocalAddr().(*net.TCPAddr)
	if peer == nil || local == nil { // the client has left already
		nc.Close()
		return
	}
	l.admit(l4.NewConn(s, l4.NewInfo(l.spec.Name, peer.AddrPort(), local.AddrPort())))
}

// acceptBatch is how many connections are accepted before others have their
// turn.
const acceptBatch = 64

// descriptor returns the listening socket for a wait of our own, which net's
// listener does not allow: a duplicate, opened when it is first asked for.
func (l *listener) descriptor() (syscall.RawConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil, net.ErrClosed
	}
	if l.file == nil {
		f, err := l.ln.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		l.file = f
	}
	return l.file.SyscallConn()
}

// stop closes the socket, so that no later connection comes to it.
func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.ln.Close()
	if l.file != nil {
		l.file.Close()
	}
}

// acceptRaw waits for connections and lets them in by their descriptors. Their
// settings they have from the listening socket.
func (l *listener) acceptRaw() error {
	raw, err := l.descriptor()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(listening uintptr) (done bool) {
		for range acceptBatch {
			fd, peer, err := sock.AcceptFD(int(listening))
			switch {
			case err == nil:
				l.admitRaw(fd, peer)
				done = true
			case errors.Is(err, syscall.EAGAIN):
				return done
			case errors.Is(err, syscall.EINTR):
			default:
				failed = err
				return true
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

func (l *listener) admitRaw(fd int, peer netip.AddrPort) {
	local := l.addr()
	if local.Addr().IsUnspecified() {
		var err error
		if local, err = sock.LocalFD(fd); err != nil { // the client has left already
			sock.CloseFD(fd)
			return
		}
	}
	l.admit(l4.NewRawConn(fd, l4.NewInfo(l.spec.Name, peer, local)))
}

// admit serves a connection, or closes it when a bound is reached. One that is to
// be read is served on a goroutine of its own.
func (l *listener) admit(c *l4.Conn) {
	l.count.Accepted.Inc()
	r := l.rules.Load()
	proxied := r.proxied(c.Peer.Addr())
	if why, ok := l.enter(c, r, proxied); !ok {
		l.count.Refuse(why)
		c.Close()
		return
	}
	c.OnClose(l.left)
	if c.Raw() && r.raw && !proxied {
		l.serve(c, r, proxied)
		return
	}
	if c.Raw() {
		if err := c.Attach(); err != nil {
			c.Close()
			return
		}
	}
	l.set.work.Go(func() { l.serve(c, r, proxied) })
}

// serve hands c over. It counts until it is closed, which may be later than the
// end of this function.
func (l *listener) serve(c *l4.Conn, r *rules, proxied bool) {
	defer func() {
		if v := recover(); v != nil {
			l.set.metrics.Panics.Inc()
			l.set.log.Error("recovering from a panic in a connection", "listener", l.spec.Name, "panic", v, "stack", string(debug.Stack()))
			c.Cut() // whoever else has it by now
			_ = c.Abort()
		}
	}()
	if proxied && !l.introduce(c, r) {
		c.Close()
		return
	}
	l.set.acceptor.ServeConn(context.Background(), c)
}

// introduce reads the PROXY header of c, and counts c under the address it
// tells, unless that address has its share of connections already.
func (l *listener) introduce(c *l4.Conn, r *rules) bool {
	if err := c.ReadProxyHeader(r.HeaderTimeout); err != nil {
		if why, ok := proxyRefusal(err); ok {
			l.count.Refuse(why)
		}
		l.set.log.Debug("reading a PROXY header: "+err.Error(), "listener", l.spec.Name, "peer", c.Peer.String())
		return false
	}
	l.mu.Lock()
	why, ok := l.share(c, r)
	l.mu.Unlock()
	if !ok {
		l.count.Refuse(why)
	}
	return ok
}

// proxyRefusal returns how a connection without a good PROXY header counts. A
// peer that comes and goes without a word, as checks of a port do, is none that
// was refused.
func proxyRefusal(err error) (why telemetry.Refusal, refused bool) {
	switch {
	case errors.Is(err, l4.ErrProxyHeader):
		return telemetry.RefusedProxyHeader, true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return telemetry.RefusedProxyLate, true
	case errors.Is(err, l4.ErrDraining):
		return telemetry.RefusedDraining, true
	}
	return 0, false
}

// enter counts c in, unless a bound is reached. One whose PROXY header is still
// to come counts under no client yet.
func (l *listener) enter(c *l4.Conn, r *rules, proxied bool) (why telemetry.Refusal, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		return telemetry.RefusedDraining, false
	case len(l.conns) >= r.Connections:
		return telemetry.RefusedLimit, false
	}
	if !proxied {
		if why, ok := l.share(c, r); !ok {
			return why, false
		}
	}
	if l.set.open.Add(1) > l.set.most.Load() {
		l.set.open.Add(-1)
		l.forget(c)
		return telemetry.RefusedLimit, false
	}
	if proxied {
		l.conns[c] = netip.Addr{}
	}
	l.count.Active.Inc()
	return 0, true
}

func (l *listener) leave(c *l4.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
	l.count.Active.Dec()
	l.set.open.Add(-1)
	if l.closing && len(l.conns) == 0 {
		close(l.empty)
	}
}

// drain closes the socket and lets the connections end by themselves until ctx
// is over; then it closes them. It returns when all are gone.
func (l *listener) drain(ctx context.Context) {
	l.stop()
	<-l.done // whoever was accepted is let in, and drains as the others do
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.empty
		return
	}
	l.closing = true
	if len(l.conns) == 0 {
		close(l.empty)
	}
	open := l.all()
	l.mu.Unlock()
	for _, c := range open {
		c.Drain()
	}
	select {
	case <-l.empty:
		return
	case <-ctx.Done():
	}
	l.mu.Lock()
	open = l.all()
	l.mu.Unlock()
	// A close waits for the socket's calls under way, so each has its own
	// goroutine: one slow exchange does not hold the others up.
	var closing sync.WaitGroup
	for _, c := range open {
		closing.Go(c.Cut)
	}
	closing.Wait()
	<-l.empty
}

// all returns the open connections. l.mu is held.
func (l *listener) all() []*l4.Conn {
	all := make([]*l4.Conn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}
