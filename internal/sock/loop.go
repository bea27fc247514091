package sock

import (
	"io"
	"net"
	"os"
	"syscall"
)

// ErrWouldBlock is what Read returns within a turn of Loop when there is
// nothing to read. It is temporary, so that crypto/tls can go on after it.
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Loop calls turn now and whenever bytes may have arrived, until it returns
// stop. Within a turn Read does not wait. Between turns the connection costs no
// buffer, and a turn that has read less than it had room for saves the read
// that would only tell that there is nothing more.
//
// That saving has a price: a close that arrived together with bytes is not
// seen by the turn that read those. The owner arms a short read deadline for
// the first wait after a turn, and calls Loop again when it passes: the first
// turn of a Loop always looks at the socket.
//
// Loop returns nil after stop, or the error of the wait, such as
// os.ErrDeadlineExceeded. Nothing else may read from the connection meanwhile.
func (c *Conn) Loop(turn func() (stop bool)) error {
	c.turn = turn
	return c.raw.Read(c.step)
}

func (c *Conn) takeTurn(fd uintptr) (stop bool) {
	c.fd, c.dry = int(fd), false
	defer func() { c.fd = -1 }()
	return c.turn()
}

// Read reads, and waits for bytes unless it is called within a turn of Loop or
// after SetNoWait.
func (c *Conn) Read(p []byte) (n int, err error) {
	if n, err = c.read(p); err == io.EOF {
		c.ended = true
	}
	return n, err
}

// Ended reports whether Read has told the end of the stream. TLS that tells an
// end before that has it from its peer's close_notify. It is for the reader.
func (c *Conn) Ended() bool { return c.ended }

func (c *Conn) read(p []byte) (int, error) {
	if c.fd < 0 {
		if c.noWait {
			return c.readNow(p)
		}
		return c.TCPConn.Read(p)
	}
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	if c.dry {
		return 0, ErrWouldBlock
	}
	n, err := read(c.fd, p)
	switch {
	case n > 0:
		c.dry = n < len(p)
		return n, nil
	case err == syscall.EAGAIN:
		return 0, ErrWouldBlock
	case err == nil:
		return 0, io.EOF
	}
	return 0, os.NewSyscallError("read", err)
}

// Write writes all of p. Within a turn of Loop it goes to the kernel directly
// and waits only for what the kernel does not take at once.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	if c.fd >= 0 && len(p) > 0 {
		n, err = write(c.fd, p)
		switch {
		case n == len(p):
			return n, nil
		case err != nil && err != syscall.EAGAIN:
			return 0, os.NewSyscallError("write", err)
		}
		n = max(n, 0)
	}
	c.armWrite()
	m, err := c.TCPConn.Write(p[n:])
	return n + m, err
}
