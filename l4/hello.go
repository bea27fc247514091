package l4

import (
	"errors"
	"io"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/tls/hello"
)

// PeekHello waits for the ClientHello that the client must begin with, of at most
// the given number of bytes, within timeout, and keeps it as Info.Hello. Not a
// byte is consumed. The errors are those of hello.Parse, os.ErrDeadlineExceeded
// for one that is late, ErrDraining, io.ErrUnexpectedEOF for one that is cut off,
// and io.EOF for a client that left without a word. After hello.ErrNotTLS the
// connection is as good as before, after any other only for closing.
func (c *Conn) PeekHello(most int, timeout time.Duration) error {
	_ = c.sock.SetReadDeadline(time.Now().Add(timeout))
	if !c.Idle(true) {
		return ErrDraining
	}
	info, size, err := c.peekHello(most)
	switch {
	case c.Draining():
		return ErrDraining
	case err != nil && !errors.Is(err, hello.ErrNotTLS):
		return err
	}
	c.Idle(false)
	_ = c.sock.SetReadDeadline(time.Time{})
	c.Hello, c.helloSize = info, size
	return err
}

// alertTime bounds the sending of an alert.
const alertTime = time.Second

// RefuseName answers the ClientHello that PeekHello has found with the alert
// unrecognized_name. The connection is then only good for closing.
func (c *Conn) RefuseName() {
	_ = c.sock.SetDeadline(time.Now().Add(alertTime))
	// With the hello unread the close would be a reset, which may overtake the alert.
	if _, err := io.CopyN(io.Discard, c.sock, int64(c.helloSize)); err == nil {
		_, _ = io.WriteString(c.sock, hello.AlertUnrecognizedName)
	}
}

func (c *Conn) peekHello(most int) (info *hello.Info, size int, err error) {
	var first [1]byte
	if _, err := c.sock.PeekAtLeast(first[:], 1); err != nil {
		return nil, 0, err // whoever has not spoken holds no buffer
	}
	block := buf.Get(buf.Small)
	defer func() { block.Put() }()
	for need := 1; ; {
		if need > len(block.B) {
			block = block.Grow(0, need)
		}
		n, err := c.sock.PeekAtLeast(block.B, need)
		if err != nil && (n == 0 || err != io.ErrUnexpectedEOF) {
			return nil, 0, err
		}
		info, size, perr := hello.Parse(block.B[:n])
		switch {
		case perr != nil:
			return nil, 0, perr
		case size > most:
			return nil, 0, hello.ErrTooLong
		case info != nil:
			return info, size, nil
		case err != nil:
			return nil, 0, err
		}
		need = size
	}
}
