package udp

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/l4/rate"
)

// Engine is what all listeners share: bounds, and the goroutines.
type Engine struct {
	limits   Limits
	flows    atomic.Int64
	held     atomic.Int64 // bytes
	resolves atomic.Int64
}

// New makes an engine. It has no goroutine until Serve.
func New(limits Limits) *Engine {
	fill := func(v *int, normal int) {
		if *v <= 0 {
			*v = normal
		}
	}
	fill(&limits.Flows, DefaultFlows)
	fill(&limits.HeldBytes, DefaultHeldBytes)
	fill(&limits.Resolves, DefaultResolves)
	return &Engine{limits: limits}
}

// Flows returns how many flows there are, all listeners together.
func (e *Engine) Flows() int { return int(e.flows.Load()) }

// holding takes room for n bytes that wait, if there is.
func (e *Engine) holding(n int) bool {
	if e.held.Add(int64(n)) > int64(e.limits.HeldBytes) {
		e.held.Add(-int64(n))
		return false
	}
	return true
}

// resolving takes one of the goroutines that Resolve may have, if one is left.
func (e *Engine) resolving() bool {
	if e.resolves.Add(1) > int64(e.limits.Resolves) {
		e.resolves.Add(-1)
		return false
	}
	return true
}

func (e *Engine) resolved() { e.resolves.Add(-1) }

// Options describe a listener. What Change gives anew holds for the flows that
// begin from then on.
type Options struct {
	Handler Handler
	Bounds  Bounds
	// Keyer, if nil, lets flows be named by their client's address alone. A
	// listener that has one keeps it, or gets another; flows have their names of
	// it.
	Keyer Keyer
	// Introduce, if set, lets a peer that is a proxy tell in the first datagram
	// of a flow who its client is. It sets Client and Local of the datagram and
	// cuts a header off the front of its Payload, which then does not reach the
	// upstream. False drops the datagram. It runs on the loops.
	Introduce func(d *Datagram) bool

	// What follows stays as it was when the listener was opened.

	Consumer Consumer // nil: the verdict Local drops
	// Panicked, if set, is told of a panic of a hook. It may be called by
	// several goroutines at once, and must not wait.
	Panicked func(value any, stack []byte)

	rates *rate.Table // of Bounds.NewFlowsPerSecond; nil: no bound
}

// Port is a listener that is served. Its methods may be called by any
// goroutine.
type Port struct {
	engine   *Engine
	options  atomic.Pointer[Options]
	consumer Consumer
	told     func(value any, stack []byte) // Options.Panicked
	tenants  tenants
	names    names
	lanes    []*lane
	loops    sync.WaitGroup
	resolves sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
	closing  sync.Once

	mu     sync.RWMutex // keeps the sockets open for SendTo and Counts
	closed bool
}

var errClosed = errors.New("the listener is closed")

// Serve takes the sockets over, one loop for each, until Close. They are one
// listener: opened by one Bind, or all on one address. On an error they stay the
// caller's.
func (e *Engine) Serve(sockets []*Socket, o Options) (*Port, error) {
	if len(sockets) == 0 || o.Handler == nil {
		return nil, errors.New("serving datagrams needs a socket and a handler")
	}
	p := &Port{engine: e, consumer: o.Consumer, told: o.Panicked, tenants: tenants{all: make(map[tenantKey]*tenant)}}
	p.names.claims = make(map[Name]claim)
	p.names.away = make(map[key]*Flow)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.options.Store(new(Options))
	for _, s := range sockets {
		l, err := newLane(p, s)
		if err == nil {
			p.lanes = append(p.lanes, l)
			err = l.loop.AddLevel(s.fd, epoll.Readable, l)
		}
		if err != nil {
			p.abandon()
			return nil, err
		}
	}
	p.Change(o)
	for _, l := range p.lanes {
		p.loops.Go(l.loop.Run)
	}
	return p, nil
}

// abandon takes back what Serve has begun.
func (p *Port) abandon() {
	p.cancel()
	for _, l := range p.lanes {
		l.loop.Remove(l.socket.fd)
		l.loop.Close()
		l.loop.Run() // which ends at once, and closes what the loop holds
		l.free()
	}
}

// Change lets new flows be decided by another Handler, within other bounds, and
// so on. Flows that are there keep theirs. One goroutine calls it at a time.
func (p *Port) Change(o Options) {
	old := p.options.Load()
	if n := o.Bounds.NewFlowsPerSecond; n <= 0 {
		o.rates = nil
	} else if o.rates = old.rates; old.Bounds.NewFlowsPerSecond != n {
		o.rates = rate.New(n)
	}
	if o.Keyer == nil {
		o.Keyer = old.Keyer
	}
	if o.Keyer != nil {
		// What the kernel puts together may be of several flows, which only
		// their addresses say is of one.
		for _, l := range p.lanes {
			scatter(l.socket.fd)
		}
	}
	p.options.Store(&o)
}

// Addr returns the socket that a listener is bound to.
func (p *Port) Addr() string { return p.lanes[0].socket.addr.String() }

// Counts sums up what the loops have counted.
func (p *Port) Counts() (c Counts) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, l := range p.lanes {
		l.count.addTo(&c)
		if !p.closed {
			c.Drops[DropKernel] += l.socket.drops()
		}
	}
	return c
}

// Drain opens no more flows, and returns when those that are there have ended by
// themselves, or with ctx, whose end ends them. The sockets go on serving them
// meanwhile. Close is still to be called.
func (p *Port) Drain(ctx context.Context) {
	var left sync.WaitGroup
	for _, l := range p.lanes {
		left.Add(1)
		if !l.loop.Post(func() { l.drain(left.Done) }) {
			left.Done()
		}
	}
	stop := context.AfterFunc(ctx, func() {
		for _, l := range p.lanes {
			l.loop.Post(func() { l.endAll(Drained) })
		}
	})
	left.Wait()
	stop()
}

// Close ends all flows and loops, closes the sockets, and waits for that.
func (p *Port) Close() {
	p.closing.Do(func() {
		// First no flow begins any more, then none waits for Resolve; what is
		// left ends on its loop.
		p.onLoops(func(l *lane) { l.draining = true })
		p.cancel()
		p.resolves.Wait()
		p.onLoops(func(l *lane) {
			l.endAll(Closing)
			l.loop.Remove(l.socket.fd)
			l.loop.Close()
		})
		p.loops.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = true
		for _, l := range p.lanes {
			l.count.drop(DropKernel, int(l.socket.drops()))
			_ = l.socket.Close() // nothing that was sent is lost by an error here
			l.free()
		}
	})
}

// onLoops runs f on every loop and waits for all.
func (p *Port) onLoops(f func(l *lane)) {
	var done sync.WaitGroup
	for _, l := range p.lanes {
		done.Add(1)
		if !l.loop.Post(func() { defer done.Done(); f(l) }) {
			done.Done()
		}
	}
	done.Wait()
}

// drain lets the lane call done when its last flow has ended, now or later.
func (l *lane) drain(done func()) {
	l.draining = true
	l.drained = append(l.drained, done)
	l.settled()
}

// settled tells drains that the last flow has ended.
func (l *lane) settled() {
	if l.flows.n > 0 {
		return
	}
	for _, done := range l.drained {
		done()
	}
	l.drained = nil
}

// endAll ends every flow.
func (l *lane) endAll(r Reason) {
	for _, f := range l.flows.all() {
		l.end(f, End{Reason: r})
	}
}

// guard recovers a panic of a hook, and counts it.
func (p *Port) guard(c *counter) {
	if v := recover(); v != nil {
		c.drop(DropPanic, 1)
		if p.told != nil {
			p.told(v, debug.Stack())
		}
	}
}
