package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// bufferBytes is the room that a listener's socket has for datagrams that were
// not read yet, and for those that wait to be sent; flowBufferBytes that of a
// flow's for answers. Without privileges the kernel gives no more than
// net.core.rmem_max and wmem_max.
const (
	bufferBytes     = 4 << 20
	flowBufferBytes = 1 << 20
)

// Socket is a listener's socket. Whoever made it closes it, unless it was
// handed to an engine.
type Socket struct {
	fd     int
	family int // of its addresses: AF_INET or AF_INET6
	addr   netip.AddrPort
	wild   bool // its datagrams may come to any of the machine's addresses
}

// Bind opens n sockets on one address, between which the kernel spreads the
// clients (SO_REUSEPORT). Port 0 lets the system choose one. The address :: is
// that of all interfaces, for IPv4 too.
func Bind(addr netip.AddrPort, n int) (_ []*Socket, err error) {
	sockets := make([]*Socket, 0, n)
	defer func() {
		if err != nil {
			for _, s := range sockets {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	for range n {
		s, err := bind(addr)
		if err != nil {
			return sockets, fmt.Errorf("listening on %s (udp): %w", addr, err)
		}
		sockets = append(sockets, s)
		addr = s.addr
	}
	return sockets, nil
}

func bind(addr netip.AddrPort) (*Socket, error) {
	sa, family := sockaddrOf(addr)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.Addr() == netip.IPv6Unspecified() {
		// A machine without IPv6: all interfaces are those of IPv4.
		return bind(netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()))
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil && family == unix.AF_INET6 {
		only := 1
		if addr.Addr().IsUnspecified() {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt", err), unix.Close(fd))
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	return prepare(fd)
}

// Take makes a Socket of one that Go's runtime knows, and closes that: the
// runtime's poller would be woken by every datagram.
func Take(c *net.UDPConn) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dup error
	err = raw.Control(func(from uintptr) { fd, dup = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, os.NewSyscallError("fcntl", dup)); err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return prepare(fd)
}

// prepare sets what the loops need. It takes the descriptor over.
func prepare(fd int) (_ *Socket, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	s := &Socket{fd: fd}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		s.family, s.addr = unix.AF_INET, netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(zoneName(sa.ZoneId))
		}
		s.family, s.addr = unix.AF_INET6, netip.AddrPortFrom(a, uint16(sa.Port))
	default:
		return nil, fmt.Errorf("a socket of IPv4 or IPv6 is needed, not %T", sa)
	}
	s.wild = s.addr.Addr().IsUnspecified()
	if s.wild {
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if s.family == unix.AF_INET6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, bufferBytes)
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, bufferBytes)
	gather(fd)
	return s, nil
}

// setBuffer asks for a buffer's size, beyond the system's bound if we may. What
// the kernel gives is enough to work with in any case.
func setBuffer(fd, force, option, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}

// gather lets the kernel hand over datagrams of one sender together (UDP_GRO).
// One that cannot (before 5.0) hands them over singly.
func gather(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) }

// scatter undoes gather.
func scatter(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 0) }

// Addr returns the address it is bound to.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// drops returns how many datagrams the kernel had no room for so far.
func (s *Socket) drops() uint64 {
	n, err := sock.DropsFD(s.fd)
	if err != nil {
		return 0 // it counts none (before 4.12)
	}
	return uint64(n)
}

// Close closes the socket.
func (s *Socket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// dialAttempts bounds how often a flow's socket that has met itself is replaced.
const dialAttempts = 3

// dial opens a flow's socket. Its room for answers is taken as they come; for
// what is sent, the system's default does.
func dial(upstream netip.AddrPort) (fd int, err error) { return dialWith(upstream, nil) }

// dialWith is dial; prepare, if not nil, is called with each socket.
func dialWith(upstream netip.AddrPort, prepare func(fd int)) (fd int, err error) {
	sa, family := sockaddrOf(upstream)
	for range dialAttempts {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, os.NewSyscallError("socket", err)
		}
		if prepare != nil {
			prepare(fd)
		}
		if err := unix.Connect(fd, sa); err != nil {
			return -1, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
		}
		if !sock.MeetsItself(fd, upstream) { // or the client would get its own datagrams as answers
			setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, flowBufferBytes)
			return fd, nil
		}
		if err := unix.Close(fd); err != nil {
			return -1, os.NewSyscallError("close", err)
		}
	}
	return -1, os.NewSyscallError("connect", unix.ECONNREFUSED) // since nobody else is there
}
