package sock

import (
	"cmp"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// PeekAtLeast waits until at least n bytes have arrived, and copies to p what has,
// as far as there is room, without consuming it. At the end of the stream the
// error is io.EOF, or io.ErrUnexpectedEOF if there are fewer bytes than n. p must
// have room for n bytes. It must not be called within a turn of Loop.
//
// The kernel wakes for n bytes only (SO_RCVLOWAT), so that a peer that sends one
// byte after the other costs no more than one that sends them at once. It always
// wakes for the stream's end.
func (c *Conn) PeekAtLeast(p []byte, n int) (got int, err error) {
	l := look{p: p, least: n}
	werr := c.raw.Read(l.try)
	if l.marked {
		l.err = cmp.Or(l.err, c.mark(1))
	}
	if werr != nil {
		return 0, werr
	}
	return l.n, l.err
}

// look is one PeekAtLeast under way.
type look struct {
	p      []byte
	least  int
	marked bool // the socket's low-water mark is least
	n      int
	err    error
}

// try looks at the socket. False means wait.
func (l *look) try(fd uintptr) (done bool) {
	if l.peek(int(fd)) {
		return true
	}
	if !l.marked && l.least > 1 {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, l.least); err != nil {
			l.err = os.NewSyscallError("setsockopt", err)
			return true
		}
		l.marked = true
		if l.peek(int(fd)) { // what came before the mark was set wakes nobody
			return true
		}
	}
	if l.n > 0 && ended(int(fd)) {
		// What came before the end may have come since the last look.
		if !l.peek(int(fd)) {
			l.err = io.ErrUnexpectedEOF
		}
		return true
	}
	return false
}

// peek reports whether there is enough, the end, or an error.
func (l *look) peek(fd int) (done bool) {
	for {
		n, _, err := unix.Recvfrom(fd, l.p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			l.n = 0
			return false
		case err != nil:
			l.n, l.err = 0, os.NewSyscallError("recvfrom", err)
			return true
		case n == 0:
			l.n, l.err = 0, io.EOF
			return true
		}
		l.n = n
		return n >= l.least
	}
}

// ended reports whether the peer sends nothing any more.
func ended(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// mark sets the socket's low-water mark.
func (c *Conn) mark(n int) error {
	var err error
	if cerr := c.raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n))
	}); cerr != nil {
		return cerr
	}
	return err
}
