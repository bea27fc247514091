package udp

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// A datagram begins with the run's number, the flow's, the datagram's within the
// flow, and the time from which its latency counts.
const (
	headBytes = 24
	// window is how many of a flow's datagrams may be under way.
	window = 1024
	// unanswered stands for a datagram that came back, or was given up.
	unanswered = 0
)

// flow is one socket of the load. It belongs to the loop.
type flow struct {
	load  *load
	fd    int
	id    uint32
	seq   uint32
	dueAt [window]int64 // of the datagrams under way, by their number; unanswered: none
	open  int           // how many there are
}

func (l *load) newFlow(id uint32) (*flow, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(l.target.Port()), Addr: l.target.Addr().As16()})
	if a := l.target.Addr().Unmap(); a.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(l.target.Port()), Addr: a.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := &flow{load: l, fd: fd, id: id}
	err = unix.Connect(fd, to)
	if err == nil {
		err = l.loop.add(f)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return f, nil
}

// send sends the next datagram, whose latency counts from due.
func (f *flow) send(due int64) {
	l := f.load
	at := &f.dueAt[f.seq%window]
	if *at != unanswered {
		f.open--
		l.lost++
	}
	b := l.out
	binary.BigEndian.PutUint32(b, l.run)
	binary.BigEndian.PutUint32(b[4:], f.id)
	binary.BigEndian.PutUint32(b[8:], f.seq)
	binary.BigEndian.PutUint64(b[16:], uint64(due))
	*at = due
	f.open++
	f.seq++
	l.sent++
	if err := sock.SendDatagram(f.fd, b); err != nil {
		l.failed(err)
	}
}

// ready reads what has come back.
func (f *flow) ready() {
	l := f.load
	for {
		n, err := l.in.receive(f.fd)
		if err != nil {
			if err != unix.EAGAIN {
				l.failed(err)
				continue // it is told once
			}
			return
		}
		for i := range n {
			f.came(l.in.payload(i), l.in.truncated(i))
		}
		if n < len(l.in.msgs) {
			return
		}
	}
}

// came takes a datagram that came back.
func (f *flow) came(b []byte, truncated bool) {
	l := f.load
	if truncated || len(b) != len(l.out) || binary.BigEndian.Uint32(b) != l.run || binary.BigEndian.Uint32(b[4:]) != f.id {
		l.foreign++
		return
	}
	seq, due := binary.BigEndian.Uint32(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))
	at := &f.dueAt[seq%window]
	if *at == unanswered || *at != due {
		l.late++
		return
	}
	*at = unanswered
	f.open--
	l.answered(sock.Now() - due)
	if l.rate == 0 && l.sending {
		f.send(sock.Now())
	}
}

// giveUp counts the datagrams as lost that were sent before the given time. In
// the closed loop the flow goes on.
func (f *flow) giveUp(before int64) {
	if f.open == 0 {
		return
	}
	for i := range f.dueAt {
		if at := &f.dueAt[i]; *at != unanswered && *at < before {
			*at = unanswered
			f.open--
			f.load.lost++
		}
	}
	if f.open == 0 && f.load.rate == 0 && f.load.sending {
		f.send(f.load.loop.now)
	}
}
