package relay

import (
	"time"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Pair is what becomes a link: two connected sockets, which from Start on are
// the relay's.
type Pair struct {
	// Client and Upstream are descriptors of TCP sockets that do not block, are
	// known to no poller and have no duplicate (sock.Conn.Detach,
	// sock.AcceptFD).
	Client, Upstream int
	// Dialed, if set, is the upstream's connection in place of Upstream, made
	// on the loop that Start is called on.
	Dialed *Dial
	// First goes to the upstream before anything that is read from the client.
	// It is the relay's until Done.
	First []byte
	// Idle ends the link when no byte has come in either direction for that
	// long, or up to epoll.Tick longer; 0: never.
	Idle time.Duration
	// Done, if set, is called once, on a loop, when both sockets are closed. It
	// must not wait. After the relay was closed it is called by Start.
	Done func(Result)
}

// Link is a pair that is being relayed. But for Abort and Counts it belongs to
// its loop.
type Link struct {
	loop  *Loop
	sides [2]side      // by Side
	dirs  [2]direction // by the Side that they come from
	timer epoll.Timer
	moved int64 // sock.Now when bytes were moved last
	idle  int64 // in nanoseconds; 0: none
	first []byte
	done  func(Result)
	ended bool
	ender Side // who has closed first
	near  neighbours
}

// side is one of the sockets. What is known of it by edges stays so until a
// call finds otherwise.
type side struct {
	link     *Link
	fd       int32
	which    Side
	readable bool
	writable bool
	whole    bool   // a short read is no sign that there is no more: the peer has closed, broken off, or sent urgent data
	eof      bool   // all was read
	queued   bool   // has asked for another call
	seen     uint32 // events from before it was relayed; 0: it is new to the loop
}

func newLink(l *Loop, p Pair) *Link {
	seen := uint32(0)
	if d := p.Dialed; d != nil {
		seen = d.seen
		p.Upstream = d.leave()
	}
	k := &Link{loop: l, first: p.First, done: p.Done, idle: bounded(p.Idle), ender: NoSide}
	k.sides = [2]side{
		{link: k, fd: int32(p.Client), which: Client, writable: true},
		{link: k, fd: int32(p.Upstream), which: Upstream, writable: true, seen: seen},
	}
	k.timer.Do = k
	return k
}

// bounded keeps a time far from where it overflows.
func bounded(idle time.Duration) int64 { return min(int64(idle), 1<<60) }

// begin starts the relaying.
func (k *Link) begin() {
	l := k.loop
	l.all.add(k)
	l.relay.links.Add(1)
	for i := range k.sides {
		s := &k.sides[i]
		if err := l.take(s); err != nil {
			k.end(EndInternal, NoSide, err)
			return
		}
	}
	k.touch()
	if k.idle > 0 {
		l.poll.Set(&k.timer, k.moved+k.idle)
	}
	if d := &k.dirs[Client]; len(k.first) > 0 {
		d.hold(k.first)
		k.first = nil
		k.pump(Client)
	}
	if u := &k.sides[Upstream]; u.seen != 0 {
		u.Ready(u.seen)
	}
}

// refuse ends a link that was never begun, as there is no loop any more.
func (k *Link) refuse() {
	k.ended = true
	for i := range k.sides {
		sock.CloseFD(int(k.sides[i].fd))
	}
	k.finish(Result{End: EndAborted, Side: NoSide, Err: ErrClosed, Ended: sock.Now()})
}

// Abort ends the link soon; err becomes the result's. Any goroutine may call it
// at any time, also more than once.
func (k *Link) Abort(err error) {
	k.loop.poll.Post(func() { k.end(EndAborted, NoSide, err) })
}

// Counts returns the bytes so far. Any goroutine may call it.
func (k *Link) Counts() Counts {
	c, u := &k.dirs[Client], &k.dirs[Upstream]
	return Counts{
		FromClient: c.read.Load(), ToUpstream: c.wrote.Load(),
		FromUpstream: u.read.Load(), ToClient: u.wrote.Load(),
	}
}

// Ready takes the news of one socket.
func (s *side) Ready(events uint32) {
	k := s.link
	if k.ended {
		return
	}
	if events == 0 {
		s.queued = false
		k.pump(s.which)
		return
	}
	const ending = epoll.ReadClosed | epoll.Closed | epoll.Failed
	s.whole = s.whole || events&(ending|epoll.Urgent) != 0
	if events&(epoll.Writable|epoll.Closed) != 0 && !s.writable {
		s.writable = true
		k.pump(s.which.other())
		if k.ended {
			return
		}
	}
	if events&(epoll.Readable|ending) != 0 && !s.eof {
		s.readable = true
		if !s.queued {
			k.pump(s.which)
		}
	}
	if events&epoll.Failed != 0 && !k.ended {
		k.reset(s.which, sock.ErrorFD(int(s.fd)))
	}
}

func (s Side) other() Side { return 1 - s }

// Expired looks whether the link was idle for its time.
func (k *Link) Expired() {
	if due := k.moved + k.idle; due > k.loop.poll.Now() {
		k.loop.poll.Set(&k.timer, due)
		return
	}
	k.end(EndIdle, NoSide, nil)
}

func (k *Link) touch() { k.moved = k.loop.poll.Now() }

// reset ends the link because a side broke off. What can still be read of it is
// passed on as far as the other takes it at once, which is then reset too.
func (k *Link) reset(which Side, err error) {
	if k.ended {
		return
	}
	k.rescue(which)
	sock.LingerFD(int(k.sides[which.other()].fd))
	k.end(EndReset, which, err)
}

// end closes both sockets.
func (k *Link) end(how End, which Side, err error) {
	if k.ended {
		return
	}
	k.ended = true
	l := k.loop
	l.poll.Stop(&k.timer)
	for i := range k.sides {
		fd := int(k.sides[i].fd)
		l.poll.Forget(fd)
		sock.CloseFD(fd)
		k.dirs[i].drop(l)
	}
	l.all.remove(k)
	l.relay.links.Add(-1)
	k.finish(Result{End: how, Side: which, Err: err, Counts: k.Counts(), Ended: l.poll.Now()})
}

func (k *Link) finish(r Result) {
	if done := k.done; done != nil {
		k.done = nil
		done(r)
	}
}

func (k *Link) shut()              { k.end(EndAborted, NoSide, ErrClosed) }
func (k *Link) links() *neighbours { return &k.near }

// take waits for a side's socket, as a dial on this loop may have done already.
func (l *Loop) take(s *side) error {
	if s.seen != 0 {
		l.poll.Hand(int(s.fd), s)
		return nil
	}
	return l.poll.Add(int(s.fd), s)
}
