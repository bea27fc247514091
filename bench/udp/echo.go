package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// echoBatch is how many datagrams are taken by one call.
	echoBatch = 64
	// echoBuffer is the room for datagrams that were not read yet, as far as the
	// system allows.
	echoBuffer = 4 << 20
)

// DefaultAddress is where Serve listens unless told.
const DefaultAddress = "127.0.0.1:9053"

// Serve echoes datagrams that come to address until ctx ends. It writes one line
// with the bound address to stdout.
func Serve(ctx context.Context, address string, stdout io.Writer) error {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("listening on %q: %w; stop the process that holds the address or pass another one", address, err)
	}
	if _, err := fmt.Fprintf(stdout, "origin echoing datagrams on %s\n", c.LocalAddr()); err != nil {
		return errors.Join(fmt.Errorf("writing the bound address: %w", err), c.Close())
	}
	return Echo(ctx, c.(*net.UDPConn))
}

// Echo sends every datagram that comes to c back to where it came from, until
// ctx ends. It closes c.
func Echo(ctx context.Context, c *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer c.Close()
	// What the kernel gives is enough to work with.
	_ = c.SetReadBuffer(echoBuffer)
	_ = c.SetWriteBuffer(echoBuffer)
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("echoing datagrams: %w", err)
	}
	b := newBatch(echoBatch, maxSize+1, true)
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, err := b.receive(int(fd))
			if err == unix.EAGAIN {
				return false
			}
			if err == nil {
				b.back(int(fd), n)
			}
		}
	})
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("echoing datagrams: %w", err)
}

// back sends the first n datagrams to where they came from. One that cannot be
// sent is lost, as any datagram may be.
func (b *batch) back(fd, n int) {
	for i := range n {
		b.iovs[i].SetLen(int(b.msgs[i].Len))
	}
	for at := 0; at < n; {
		sent, err := sock.SendBatch(fd, b.msgs[at:n])
		at += sent
		if err != nil {
			at++
		}
	}
}
