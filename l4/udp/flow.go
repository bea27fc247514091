package udp

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Flow is the datagrams between one client's address and port and an upstream.
// It belongs to one loop: only what runs on that may use it.
//
// The fields stand by how they are used: with many flows each is out of the
// processor's near caches when its next datagram comes, and what that needs lies
// in the first lines of 64 bytes, held by TestFlowLines.
type Flow struct {
	// The key does not change while the flow is in the lane's table.
	key  key
	last int64 // in the loop's time: when the last datagram came
	fd   int   // towards the upstream; -1: none
	// chain is the last of the flow's datagrams in the batch under way; -1: none.
	chain int16
	state state
	// bulk says that answers come close together and are read in batches; streak
	// counts the turns in a row, up to seen, that had one.
	bulk   bool
	streak uint8
	// single and singleToClient say that datagrams towards the upstream and the
	// client are sent one by one, because the path takes no UDP_SEGMENT.
	single, singleToClient bool
	sourceLen              uint8 // of source

	received, upstreamSent Traffic
	upstreamReceived, sent Traffic

	lane    *lane
	seen    uint64
	answers int     // of Decision
	name    address // the client, for answers

	// From here on is what some listeners need, and what begins and ends a flow.

	source [sourceRoom]byte // the control message that names our address
	names  []Name           // written under the port's names.mu

	Cookie any // the Handler's

	idle     int64
	started  int64
	timer    epoll.Timer
	upstream netip.AddrPort
	handler  Handler
	tenant   *tenant // of its client's address; nil: that is not bounded
	held     *held   // nil but while it waits
	header   int     // bytes of the first datagram that are not the client's
	away     *key    // of the port's names.away; nil: it is not there
}

type state uint8

const (
	waiting state = iota
	open
	local
	closed
)

var (
	_ epoll.Handler = (*Flow)(nil)
	_ epoll.Expirer = (*Flow)(nil)
)

// Client returns where the flow's datagrams come from and answers go.
func (f *Flow) Client() netip.AddrPort { return f.key.clientAddr() }

// Local returns the address that the client sends to.
func (f *Flow) Local() netip.AddrPort { return f.lane.localOf(&f.key) }

// Upstream returns where the flow goes; the zero value if it never got there.
func (f *Flow) Upstream() netip.AddrPort { return f.upstream }

// Started and Last return when the flow began and when its last datagram came,
// in sock.Now's time.
func (f *Flow) Started() int64 { return f.started }

// Last is described at Started.
func (f *Flow) Last() int64 { return f.last }

// Received returns what the client sent, Sent what was sent to it.
func (f *Flow) Received() Traffic { return f.received }

// Sent is described at Received.
func (f *Flow) Sent() Traffic { return f.sent }

// UpstreamReceived returns what the upstream answered, UpstreamSent what was
// sent to it, preamble included.
func (f *Flow) UpstreamReceived() Traffic { return f.upstreamReceived }

// UpstreamSent is described at UpstreamReceived.
func (f *Flow) UpstreamSent() Traffic { return f.upstreamSent }

// Port returns the listener's.
func (f *Flow) Port() *Port { return f.lane.port }

func (f *Flow) singly(toClient bool) bool {
	if toClient {
		return f.singleToClient
	}
	return f.single
}

// Ready reads answers.
func (f *Flow) Ready(uint32) {
	switch {
	case f.state != open:
	case f.bulk:
		f.lane.receiveAnswers(f)
	default:
		f.lane.receiveAnswer(f)
	}
}

// Expired looks whether the flow was silent for its idle time. A datagram only
// notes when it came; the timer is put off here.
func (f *Flow) Expired() {
	l := f.lane
	if due := f.last + f.idle; f.state != waiting && l.loop.Now() < due {
		l.loop.Set(&f.timer, due)
		return
	}
	if f.state == waiting {
		l.end(f, End{Reason: Unresolved})
		return
	}
	l.end(f, End{Reason: Idle})
}

// begin makes a flow known, in the state waiting.
func (l *lane) begin(k *key, name *address, c *control, handler Handler, t *tenant) *Flow {
	f := &Flow{lane: l, fd: -1, key: *k, name: *name, handler: handler, tenant: t, chain: -1}
	if l.socket.wild {
		f.sourceLen = uint8(putSource(f.source[:], l.socket.family, c.local, c.ifindex))
	}
	f.started = l.loop.Now()
	f.last = f.started
	f.timer.Do = f
	l.enter(f)
	l.count.flows.Add(1)
	l.count.opened.Add(1)
	return f
}

// connect gives the flow its socket and waits for answers.
func (l *lane) connect(f *Flow, d *Decision) error {
	fd, err := dial(d.Upstream)
	if err != nil {
		return err
	}
	if err := l.loop.AddLevel(fd, epoll.Readable, f); err != nil {
		unix.Close(fd)
		return err
	}
	f.fd, f.upstream, f.state = fd, d.Upstream, open
	return nil
}

// settle takes over what the decision says of the flow.
func (l *lane) settle(f *Flow, d *Decision) {
	f.answers = max(d.Answers, 0)
	if d.Cookie != nil {
		f.Cookie = d.Cookie
	}
	f.idle = int64(d.Idle)
	if f.idle <= 0 {
		f.idle = int64(DefaultIdle)
	}
	l.loop.Set(&f.timer, l.loop.Now()+f.idle)
}

// end closes a flow, once, and tells its Handler, which is left to the end of
// Resolve while that is under way.
func (l *lane) end(f *Flow, why End) {
	if f.state == closed {
		return
	}
	if l.toClients.n > 0 {
		l.flush() // what the Handler is told includes the answers that wait to leave
	}
	f.state = closed
	l.forget(f)
	l.dropNames(f)
	l.loop.Stop(&f.timer)
	if f.fd >= 0 {
		if n, err := sock.DropsFD(f.fd); err == nil && n > 0 {
			l.count.drop(DropKernel, int(n))
		}
		l.loop.Forget(f.fd)
		unix.Close(f.fd)
		f.fd = -1
	}
	l.count.flows.Add(-1)
	if h := f.held; h != nil {
		l.count.drop(DropHeld, h.n)
		l.release(h)
		h.end = why
	}
	if f.held != nil && f.held.cancel != nil {
		f.held.cancel()
	} else {
		f.held = nil
		l.tellClosed(f, why)
	}
	l.settled()
}

// tellClosed gives the flow's share of the bounds back after the Handler has
// done so with what is its own.
func (l *lane) tellClosed(f *Flow, why End) {
	defer func() {
		l.port.engine.flows.Add(-1)
		l.port.tenants.leave(f.tenant)
	}()
	defer l.port.guard(&l.count)
	f.handler.Closed(f, why)
}

// Idle returns the flow's idle time.
func (f *Flow) Idle() time.Duration { return time.Duration(f.idle) }
