package relay

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// acceptBatch is how many connections are accepted before others have their
	// turn.
	acceptBatch = 64
	// firstPause and lastPause are the pauses of accepting when descriptors or
	// memory run out.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// Acceptor accepts connections on a loop. It belongs to it.
type Acceptor struct {
	loop     *Loop
	fd       int
	accepted func(fd int, client netip.AddrPort)
	failed   func(err error)
	timer    epoll.Timer
	pause    time.Duration
	stopped  bool
	near     neighbours
}

// Accept calls accepted, on the loop, for every connection that comes to a
// listening socket, which must not block, stays the caller's and stays open
// until Stop. The connection's descriptor is the called one's. failed, if not
// nil, is told of errors; when there is a lack of descriptors or memory,
// accepting pauses. A socket that several loops accept from wakes all of them:
// one for each (SO_REUSEPORT) is better.
func (l *Loop) Accept(fd int, accepted func(fd int, client netip.AddrPort), failed func(err error)) (*Acceptor, error) {
	if l.over {
		return nil, ErrClosed
	}
	a := &Acceptor{loop: l, fd: fd, accepted: accepted, failed: failed}
	a.timer.Do = a
	if err := l.poll.AddFor(fd, epoll.Readable, a); err != nil {
		return nil, err
	}
	l.all.add(a)
	return a, nil
}

// Stop ends the accepting. Connections that wait stay with the socket.
func (a *Acceptor) Stop() {
	if a.stopped {
		return
	}
	a.stopped = true
	a.loop.poll.Stop(&a.timer)
	a.loop.poll.Remove(a.fd)
	a.loop.all.remove(a)
}

// Ready accepts what there is.
func (a *Acceptor) Ready(uint32) {
	for range acceptBatch {
		if a.stopped || a.timer.Due() != 0 {
			return
		}
		fd, client, err := sock.AcceptFD(a.fd)
		switch err {
		case nil:
			a.pause = 0
			a.accepted(fd, client)
		case syscall.EAGAIN:
			return
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			a.rest(err)
			return
		}
	}
	a.loop.poll.Again(a)
}

// rest pauses for as long as what is missing may be missing.
func (a *Acceptor) rest(err error) {
	a.pause = min(max(2*a.pause, firstPause), lastPause)
	a.loop.poll.Set(&a.timer, a.loop.poll.Now()+int64(a.pause))
	if a.failed != nil {
		a.failed(err)
	}
}

// Expired ends a pause.
func (a *Acceptor) Expired() { a.Ready(0) }

func (a *Acceptor) shut()              { a.Stop() }
func (a *Acceptor) links() *neighbours { return &a.near }
