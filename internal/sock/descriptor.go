package sock

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// What follows is for descriptors that do not block and that no net.Conn
// stands for: those of internal/epoll. The scheduler is not told of the calls
// (docs/adr/0004). There being nothing to read, no room or nobody to accept is
// EAGAIN.

// ReadFD reads what is there of a socket, up to len(p) bytes; 0 is the end.
func ReadFD(fd int, p []byte) (int, error) { return read(fd, p) }

// WriteFD writes what a socket has room for.
func WriteFD(fd int, p []byte) (int, error) { return write(fd, p) }

// SpliceFD moves up to n bytes within the kernel, from or to a pipe.
func SpliceFD(from, to, n int) (int, error) {
	for {
		moved, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(moved), nil
		case syscall.EINTR:
		default:
			return -1, errnoErr(errno)
		}
	}
}

// AcceptFD takes a connection that waits at a listening socket, and does not
// block. The address is that of the peer, IPv4 as such even on a socket of both
// families; the caller owns the descriptor.
func AcceptFD(listener int) (fd int, peer netip.AddrPort, err error) {
	var address rawAddress
	if fd, err = accept(listener, &address); err != nil {
		return -1, netip.AddrPort{}, err
	}
	return fd, address.get(), nil
}

// dialAttempts bounds how often a socket that has met itself is replaced.
const dialAttempts = 3

// ConnectFD makes a TCP socket that does not block and sends what it is given
// at once (TCP_NODELAY), and begins to connect it. The caller owns the
// descriptor. It is writable when it is connected, or ErrorFD tells why not.
func ConnectFD(to netip.AddrPort) (fd int, err error) { return connectFD(to, nil) }

// connectFD is ConnectFD; prepare, if not nil, is called with each socket.
func connectFD(to netip.AddrPort, prepare func(fd int)) (fd int, err error) {
	var address rawAddress
	size, err := address.set(to)
	if err != nil {
		return -1, err
	}
	for range dialAttempts {
		fd, err = streamSocket(&address)
		if err != nil {
			return -1, err
		}
		if prepare != nil {
			prepare(fd)
		}
		if err := connect(fd, &address, size); err != nil && err != syscall.EINPROGRESS {
			CloseFD(fd)
			return -1, fmt.Errorf("connect: %w", err)
		}
		if !MeetsItself(fd, to) {
			return fd, nil
		}
		LingerFD(fd) // its port is not to wait for a peer that was never there
		CloseFD(fd)
	}
	return -1, fmt.Errorf("connect: %w", syscall.ECONNREFUSED) // since nobody else is there
}

func streamSocket(address *rawAddress) (fd int, err error) {
	family := uintptr(unix.AF_INET)
	if address.isV6() {
		family = unix.AF_INET6
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("socket: %w", errno)
	}
	_ = NoDelayFD(int(n))
	return int(n), nil
}

// MeetsItself reports whether a socket that connects to an address has been given
// that very address as its own, which happens where nobody listens at a port of
// this machine that the kernel gives to connections. It would then talk to
// itself: over TCP by both sides opening at once (RFC 9293 section 3.5).
func MeetsItself(fd int, to netip.AddrPort) bool {
	var own rawAddress
	if localName(fd, &own) != nil {
		return false
	}
	local, there := own.get(), to.Addr().Unmap().WithZone("")
	return local.Port() == to.Port() && (local.Addr() == there || there.IsUnspecified())
}

// NoDelayFD lets the socket send what it is given at once. Connections that a
// listening socket accepts inherit it.
func NoDelayFD(fd int) error { return setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// ErrorFD returns and clears what went wrong with the socket; nil: nothing.
func ErrorFD(fd int) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && v != 0 {
		err = syscall.Errno(v)
	}
	return err
}

// LocalFD returns the socket's own address.
func LocalFD(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, err
}

// ShutFD says that nothing more will be sent.
func ShutFD(fd int) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

// CloseFD closes a descriptor.
func CloseFD(fd int) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

// LingerFD lets the peer get a reset when the socket is closed. What was not
// delivered by then is lost.
func LingerFD(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// Attach is the inverse of Detach: it makes a descriptor known to Go's poller,
// and takes it over, also on an error.
func Attach(fd int) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	nc, err := net.FileConn(f)
	_ = f.Close() // nc has a duplicate of its own
	if err != nil {
		return nil, err
	}
	t, ok := nc.(*net.TCPConn)
	if !ok {
		nc.Close()
		return nil, fmt.Errorf("a socket of TCP is needed, not %T", nc)
	}
	return New(t)
}

// Detach takes the socket away from Go's poller and closes c: the descriptor
// that is returned is the caller's, and does not block. There must not be a
// turn, read or write under way. Bytes that were received stay receivable. With
// an error c is closed all the same.
func (c *Conn) Detach() (fd int, err error) {
	cerr := c.raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	_ = c.Close() // of what is a duplicate now, or of no use
	if cerr != nil {
		return -1, cerr
	}
	if err != nil {
		return -1, fmt.Errorf("duplicating a descriptor: %w", err)
	}
	return fd, nil
}

// rawAddress is an address as the kernel has it, sockaddr_in or sockaddr_in6.
type rawAddress [28]byte

func (a *rawAddress) isV6() bool { return binary.NativeEndian.Uint16(a[0:]) == unix.AF_INET6 }

// get returns the address; IPv4 is never within IPv6.
func (a *rawAddress) get() netip.AddrPort {
	port := binary.BigEndian.Uint16(a[2:])
	switch binary.NativeEndian.Uint16(a[0:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// set returns how many bytes of a are used.
func (a *rawAddress) set(to netip.AddrPort) (int, error) {
	ip := to.Addr().Unmap()
	binary.BigEndian.PutUint16(a[2:], to.Port())
	switch {
	case ip.Is4():
		binary.NativeEndian.PutUint16(a[0:], unix.AF_INET)
		four := ip.As4()
		copy(a[4:8], four[:])
		return 16, nil
	case ip.Is6():
		binary.NativeEndian.PutUint16(a[0:], unix.AF_INET6)
		sixteen := ip.As16()
		copy(a[8:24], sixteen[:])
		zone, err := zoneOf(ip.Zone())
		binary.NativeEndian.PutUint32(a[24:], zone)
		return len(a), err
	}
	return 0, fmt.Errorf("%q is no address to connect to", to)
}

// zoneOf returns the number of a link-local address's zone.
func zoneOf(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("looking for the zone %q: %w", name, err)
	}
	return uint32(i.Index), nil
}

// errnoErr makes an error without an allocation where it is usual.
func errnoErr(errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case syscall.EAGAIN:
		return syscall.EAGAIN
	case syscall.EINPROGRESS:
		return syscall.EINPROGRESS
	}
	return errno
}
