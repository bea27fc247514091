package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// acceptBatch is how many connections are accepted before others have their
// turn.
const acceptBatch = 64

// OriginOptions says where the origin listens. An empty address is left out.
type OriginOptions struct {
	Echo   string // sends back what it gets
	Source string // sends for as long as the connection lasts
	// Ready, if set, is called once with the bound addresses.
	Ready func(echo, source netip.AddrPort)
}

// Serve is the origin of a relay that is measured, until ctx ends. It writes a
// line for each bound address to stdout.
func Serve(ctx context.Context, o OriginOptions, stdout io.Writer) (err error) {
	l, err := epoll.New()
	if err != nil {
		return fmt.Errorf("making a loop: %w", err)
	}
	s := &origin{loop: l, buf: make([]byte, bufferBytes), all: map[*served]struct{}{}}
	defer func() {
		l.Post(s.stop)
		l.Close()
		if err != nil {
			l.Run()
		}
	}()
	var bound [2]netip.AddrPort
	for i, address := range []string{o.Echo, o.Source} {
		if address == "" {
			continue
		}
		fd, at, err := listen(ctx, address)
		if err != nil {
			return err
		}
		bound[i] = at
		if err := l.AddFor(fd, epoll.Readable, &gate{origin: s, fd: fd, source: i == 1}); err != nil {
			sock.CloseFD(fd)
			return fmt.Errorf("waiting at %s: %w", at, err)
		}
		s.gates = append(s.gates, fd)
		if _, err := fmt.Fprintf(stdout, "%s listening on %s\n", [...]string{"echo", "source"}[i], at); err != nil {
			return fmt.Errorf("writing the bound address: %w", err)
		}
	}
	if len(s.gates) == 0 {
		return errors.New("the origin has no address to listen on")
	}
	if o.Ready != nil {
		o.Ready(bound[0], bound[1])
	}
	var joined sync.WaitGroup
	joined.Go(l.Run)
	<-ctx.Done()
	l.Post(s.stop)
	l.Close()
	joined.Wait()
	return nil
}

// listen returns a listening socket that belongs to no poller.
func listen(ctx context.Context, address string) (int, netip.AddrPort, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return -1, netip.AddrPort{}, fmt.Errorf("listening on %q: %w; stop the process that holds the address or pass another one", address, err)
	}
	defer ln.Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, netip.AddrPort{}, err
	}
	return fd, ln.Addr().(*net.TCPAddr).AddrPort(), dupErr
}

// origin belongs to its loop.
type origin struct {
	loop  *epoll.Loop
	buf   []byte
	gates []int
	all   map[*served]struct{}
}

func (s *origin) stop() {
	for _, fd := range s.gates {
		s.loop.Forget(fd)
		sock.CloseFD(fd)
	}
	s.gates = nil
	for c := range s.all {
		c.end()
	}
}

// gate accepts.
type gate struct {
	origin *origin
	fd     int
	source bool
}

// Ready accepts what there is. Connections that cannot be had now stay where
// they are until the next one comes.
func (g *gate) Ready(uint32) {
	for range acceptBatch {
		fd, _, err := sock.AcceptFD(g.fd)
		if err != nil {
			return
		}
		c := &served{origin: g.origin, fd: fd, source: g.source}
		_ = sock.NoDelayFD(fd)
		if g.origin.loop.Add(fd, c) != nil {
			sock.CloseFD(fd)
			continue
		}
		g.origin.all[c] = struct{}{}
	}
	g.origin.loop.Again(g)
}

// served is a connection to the origin.
type served struct {
	origin *origin
	fd     int // -1: it has ended
	source bool
	rest   []byte // what there was no room for
}

func (c *served) end() {
	if c.fd < 0 {
		return
	}
	c.origin.loop.Forget(c.fd)
	sock.CloseFD(c.fd)
	c.fd = -1
	delete(c.origin.all, c)
}

// Ready echoes, or sends on.
func (c *served) Ready(events uint32) {
	switch {
	case c.fd < 0:
	case events&(epoll.Failed|epoll.Closed) != 0:
		c.end()
	case c.source:
		if events&epoll.ReadClosed != 0 {
			c.end()
			return
		}
		c.pour()
	default:
		c.echo(events&epoll.ReadClosed != 0)
	}
}

// pour writes for as long as there is room.
func (c *served) pour() {
	for budget := turnBytes; budget > 0; {
		n, err := sock.WriteFD(c.fd, c.origin.buf)
		if err == syscall.EAGAIN || err == nil && n < len(c.origin.buf) {
			return
		}
		if err != nil {
			c.end()
			return
		}
		budget -= n
	}
	c.origin.loop.Again(c)
}

// echo sends back what there is. What there is no room for is kept, and nothing
// more is read until it is gone.
func (c *served) echo(closed bool) {
	for {
		if len(c.rest) > 0 {
			n, err := sock.WriteFD(c.fd, c.rest)
			if err != nil && err != syscall.EAGAIN {
				c.end()
				return
			}
			if c.rest = c.rest[max(n, 0):]; len(c.rest) > 0 {
				return
			}
			c.rest = nil
		}
		n, err := sock.ReadFD(c.fd, c.origin.buf)
		if err == syscall.EAGAIN {
			return
		}
		if n <= 0 {
			c.end()
			return
		}
		m, err := sock.WriteFD(c.fd, c.origin.buf[:n])
		if err != nil && err != syscall.EAGAIN {
			c.end()
			return
		}
		if m = max(m, 0); m < n {
			c.rest = append(c.rest, c.origin.buf[m:n]...)
			return
		}
		if n < len(c.origin.buf) && !closed {
			return
		}
	}
}
