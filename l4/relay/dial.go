package relay

import (
	"net/netip"
	"os"
	"time"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Dial is a connection to an upstream that is being made or, after its done
// was called without an error, has been made and belongs to whoever called
// Dial: to be given to a Pair, taken by Detach, or closed by Cancel. It belongs
// to its loop.
type Dial struct {
	loop  *Loop
	fd    int // -1: there is none, or not any more
	seen  uint32
	timer epoll.Timer
	done  func(d *Dial, err error)
	near  neighbours
}

// Dial connects to an address and calls done once, on the loop, and not before
// Dial has returned unless the relay was closed. The error is
// os.ErrDeadlineExceeded once the timeout, which must be above 0, is over.
func (l *Loop) Dial(to netip.AddrPort, timeout time.Duration, done func(d *Dial, err error)) *Dial {
	d := &Dial{loop: l, fd: -1, done: done}
	d.timer.Do = d
	l.all.add(d)
	err := ErrClosed
	if !l.over {
		if d.fd, err = sock.ConnectFD(to); err == nil {
			err = l.poll.Add(d.fd, d)
		}
	}
	if err != nil {
		if !l.poll.Post(func() { d.end(err) }) {
			d.end(err)
		}
		return d
	}
	l.poll.Set(&d.timer, l.poll.Now()+int64(timeout))
	return d
}

// Cancel closes the connection, or ends the attempt without a call of done.
func (d *Dial) Cancel() {
	if d.fd >= 0 {
		d.loop.poll.Forget(d.fd)
		sock.CloseFD(d.fd)
	}
	d.leave()
}

// Detach takes a connection out of the loop: the descriptor is the caller's.
func (d *Dial) Detach() (fd int) {
	d.loop.poll.Remove(d.fd)
	return d.leave()
}

// Descriptor returns the connection's, for a look at it.
func (d *Dial) Descriptor() int { return d.fd }

// Ready is told that the socket is connected, or why it is not.
func (d *Dial) Ready(events uint32) {
	d.seen |= events // which a link has to know of
	done := d.done
	switch {
	case done == nil: // is connected
	case events&(epoll.Failed|epoll.Closed) != 0:
		err := sock.ErrorFD(d.fd)
		if err == nil {
			err = os.ErrClosed
		}
		d.end(os.NewSyscallError("connect", err))
	case events&epoll.Writable != 0:
		d.done = nil
		d.loop.poll.Stop(&d.timer)
		done(d, nil)
	}
}

// Expired ends a dial that took too long.
func (d *Dial) Expired() { d.end(os.ErrDeadlineExceeded) }

func (d *Dial) end(err error) {
	done := d.done
	d.Cancel()
	if done != nil {
		done(d, err)
	}
}

// leave takes the dial out of its loop, but not the descriptor.
func (d *Dial) leave() (fd int) {
	if d.loop == nil {
		return -1
	}
	d.loop.poll.Stop(&d.timer)
	d.loop.all.remove(d)
	fd = d.fd
	d.loop, d.fd, d.done = nil, -1, nil
	return fd
}

func (d *Dial) shut()              { d.end(ErrClosed) }
func (d *Dial) links() *neighbours { return &d.near }
