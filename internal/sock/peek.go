package sock

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Peek waits for bytes and copies to p what has arrived, as far as there is
// room, without consuming it. At the end of the stream the error is io.EOF. It
// does not wait for more than what was seen already, so whoever wants more
// consumes that first. It must not be called within a turn of Loop.
func (c *Conn) Peek(p []byte) (n int, err error) {
	werr := c.raw.Read(func(fd uintptr) bool {
		for {
			n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			switch err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			}
			return true
		}
	})
	switch {
	case werr != nil:
		return 0, werr
	case err != nil:
		return 0, os.NewSyscallError("recvfrom", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
