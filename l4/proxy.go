package l4

import (
	"errors"
	"io"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
)

// ErrDraining says that a connection was asked to end before it was served.
var ErrDraining = errors.New("the connection is to end")

// ReadProxyHeader reads the PROXY header that the peer must send before
// anything else, within timeout, and takes over the addresses it tells. Not a
// byte behind it is consumed. The error wraps ErrProxyHeader for a header that
// is missing or malformed, is os.ErrDeadlineExceeded for one that is late,
// ErrDraining, or io.EOF for a peer that left without a word. After an error
// the connection is only good for closing.
func (c *Conn) ReadProxyHeader(timeout time.Duration) error {
	_ = c.sock.SetReadDeadline(time.Now().Add(timeout))
	if !c.Idle(true) {
		return ErrDraining
	}
	h, err := c.readProxyHeader()
	switch {
	case c.Draining():
		return ErrDraining
	case err != nil:
		return err
	}
	c.Idle(false)
	_ = c.sock.SetReadDeadline(time.Time{})
	if h.Client.IsValid() {
		peer := c.Peer
		c.Info = NewInfo(c.Listener, h.Client, h.Local)
		c.Peer = peer
	}
	return nil
}

// readProxyHeader looks at what has come, and consumes what is certain to
// belong to the header: all of it, while it is not complete.
func (c *Conn) readProxyHeader() (h ProxyHeader, err error) {
	block := buf.Get(buf.Tiny)
	defer func() { block.Put() }()
	for have := 0; ; {
		n, err := c.sock.Peek(block.B[have:])
		switch {
		case err == io.EOF && have > 0:
			return h, proxyError("it is cut off")
		case err != nil:
			return h, err
		}
		h, size, err := ParseProxyHeader(block.B[:have+n])
		if err != nil {
			return h, err
		}
		if _, err := io.ReadFull(c.sock, block.B[have:min(have+n, size)]); err != nil {
			return h, err
		}
		if have += n; size <= have {
			return h, nil
		}
		if size > len(block.B) {
			block = block.Grow(have, size)
		}
	}
}
