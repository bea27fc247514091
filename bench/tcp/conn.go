package tcp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// bufferBytes is what is read or written at a time.
	bufferBytes = 256 << 10
	// turnBytes is what a connection may read before others have their turn.
	turnBytes = 1 << 20
	// retryPause is how long a connection that failed waits for its next try.
	retryPause = 10 * time.Millisecond
)

var errOtherBytes = errors.New("other bytes came back than were sent")

// conn is one connection at a time, of the measurement's loop.
type conn struct {
	m         *measurement
	fd        int // -1: there is none
	connected bool
	sent, got int   // of the message under way
	since     int64 // sock.Now when the round trip began
	timer     epoll.Timer
}

func (c *conn) open() {
	c.connected, c.sent, c.got = false, 0, 0
	c.since = sock.Now()
	fd, err := sock.ConnectFD(c.m.to)
	if err == nil {
		c.fd = fd
		err = c.m.loop.Add(fd, c)
	}
	if err != nil {
		c.fail("connecting", err)
		return
	}
	c.m.opened++
	c.patience()
}

// patience lets the connection fail when nothing comes for the timeout.
func (c *conn) patience() { c.m.loop.Set(&c.timer, c.m.loop.Now()+int64(c.m.o.Timeout)) }

// Expired ends a wait, or a pause.
func (c *conn) Expired() {
	if c.fd < 0 {
		c.open()
		return
	}
	c.fail("waiting", os.ErrDeadlineExceeded)
}

// fail counts an error and lets the connection begin anew after a pause.
func (c *conn) fail(doing string, err error) {
	c.m.fault(doing, err)
	c.drop()
	c.m.loop.Set(&c.timer, c.m.loop.Now()+int64(retryPause))
}

func (c *conn) drop() {
	if c.fd >= 0 {
		c.m.loop.Forget(c.fd)
		sock.CloseFD(c.fd)
		c.fd = -1
	}
	c.m.loop.Stop(&c.timer)
}

// Ready does what there is to do.
func (c *conn) Ready(events uint32) {
	if c.fd < 0 || c.m.over {
		return
	}
	if !c.connected {
		if events&epoll.Failed != 0 {
			c.fail("connecting", os.NewSyscallError("connect", sock.ErrorFD(c.fd)))
			return
		}
		c.connected = true
	}
	if c.m.o.Mode == Bulk {
		if events == 0 || events&^epoll.Writable != 0 {
			c.discard()
		}
		return
	}
	if events&epoll.Writable != 0 && c.sent < len(c.m.message) && !c.send() {
		return
	}
	if events&^epoll.Writable != 0 {
		c.receive(events&epoll.ReadClosed != 0)
	}
}

// send goes on with the message. It reports whether the connection is still
// there.
func (c *conn) send() bool {
	n, err := sock.WriteFD(c.fd, c.m.message[c.sent:])
	if err != nil && err != syscall.EAGAIN {
		c.fail("sending", os.NewSyscallError("write", err))
		return false
	}
	c.sent += max(n, 0)
	return true
}

// receive reads what comes back; with the whole message the next round begins.
func (c *conn) receive(closed bool) {
	for {
		n, err := sock.ReadFD(c.fd, c.m.buf)
		switch {
		case err == syscall.EAGAIN:
			return
		case err != nil:
			c.fail("receiving", os.NewSyscallError("read", err))
			return
		case n == 0:
			c.fail("receiving", io.ErrUnexpectedEOF)
			return
		case n > c.sent-c.got || !bytes.Equal(c.m.buf[:n], c.m.message[c.got:c.got+n]):
			c.fail("receiving", errOtherBytes)
			return
		}
		c.m.bytes += int64(n)
		c.got += n
		c.patience()
		if c.got == len(c.m.message) {
			if !c.next() {
				return
			}
		}
		if n < len(c.m.buf) && !closed {
			return // an edge tells when there is more
		}
	}
}

// next begins the next round. It reports whether it is on this connection.
func (c *conn) next() bool {
	now := sock.Now()
	c.m.took(now - c.since)
	if c.m.o.Mode == Connections {
		c.drop()
		c.open()
		return false
	}
	c.since, c.sent, c.got = now, 0, 0
	return c.send()
}

// discard reads all there is without copying it.
func (c *conn) discard() {
	for budget := turnBytes; budget > 0; {
		n, _, err := unix.Recvfrom(c.fd, c.m.buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return
		case err != nil:
			c.fail("receiving", os.NewSyscallError("recvfrom", err))
			return
		case n == 0:
			c.fail("receiving", io.ErrUnexpectedEOF)
			return
		}
		c.m.bytes += int64(n)
		budget -= n
		c.patience()
	}
	c.m.loop.Again(c)
}
