package sock

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SetNoWait lets Read return ErrWouldBlock where it would wait, from now on, or
// wait again. It is for the reader, who then waits by AwaitRead, without a
// buffer. Unlike within a turn of Loop, another goroutine may write meanwhile.
func (c *Conn) SetNoWait(on bool) { c.noWait = on }

// readNow reads what is there.
func (c *Conn) readNow(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if werr := c.raw.Read(func(fd uintptr) bool { n, err = read(int(fd), p); return true }); werr != nil {
		return 0, werr
	}
	switch {
	case n > 0:
		return n, nil
	case err == syscall.EAGAIN:
		return 0, ErrWouldBlock
	case err == nil:
		return 0, io.EOF
	}
	return 0, os.NewSyscallError("read", err)
}

// AwaitRead waits until there are bytes to read, or the end, and takes nothing.
// The error is that of the connection, which no later read tells again, or of
// the wait, such as os.ErrDeadlineExceeded, also when the deadline has passed
// already. It must not be called within a turn of Loop.
func (c *Conn) AwaitRead() error {
	var one [1]byte
	var err error
	werr := c.raw.Read(func(fd uintptr) bool {
		for {
			_, _, err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if werr != nil {
		return werr
	}
	return os.NewSyscallError("recvfrom", err)
}
