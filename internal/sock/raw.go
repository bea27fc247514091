package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file are on descriptors that do not block. They leave out
// the announcement to the scheduler that the thread may be away for long, which
// such calls never are (docs/adr/0004).

func call(number uintptr, fd int, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return -1, syscall.EAGAIN // a constant: no allocation for the interface
		default:
			return -1, errno
		}
	}
}

// EpollWait is epoll_wait with a timeout in milliseconds. It is for a timeout
// of 0: the scheduler does not know of the wait.
func EpollWait(fd int, events []unix.EpollEvent, timeout int) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeout), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// ReceiveBatch is recvmmsg without a wait: it fills m from its begin and returns
// how many messages there were; none is EAGAIN. What m points to must live in
// memory that Go does not move, which is any that has escaped to the heap.
func ReceiveBatch(fd int, m []Message) (int, error) { return batch(unix.SYS_RECVMMSG, fd, m) }

// SendBatch is sendmmsg without a wait: it returns how many messages, from the
// begin of m, were sent. An error is that of the first one.
func SendBatch(fd int, m []Message) (int, error) { return batch(unix.SYS_SENDMMSG, fd, m) }

func batch(number uintptr, fd int, m []Message) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m))),
			uintptr(len(m)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, syscall.EAGAIN
		default:
			return 0, errno
		}
	}
}

// ReceiveDatagram is recv without a wait. The length is that of the datagram,
// more than len(p) if it was cut.
func ReceiveDatagram(fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, syscall.EAGAIN
		default:
			return 0, errno
		}
	}
}

// SendDatagram is send without a wait on a connected datagram socket: all of p
// goes as one datagram, or none of it.
func SendDatagram(fd int, p []byte) error {
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return syscall.EAGAIN
		default:
			return errno
		}
	}
}

// accept takes a connection that waits; the address is in the kernel's form.
func accept(fd int, address *rawAddress) (int, error) {
	size := uint32(len(address))
	n, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd),
		uintptr(unsafe.Pointer(address)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// connect begins to connect to an address in the kernel's form.
func connect(fd int, address *rawAddress, size int) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(address)), uintptr(size))
	return errnoErr(errno)
}

// localName is getsockname; the address is in the kernel's form.
func localName(fd int, address *rawAddress) error {
	size := uint32(len(address))
	_, _, errno := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(address)), uintptr(unsafe.Pointer(&size)))
	return errnoErr(errno)
}

// setOption is setsockopt with an int.
func setOption(fd, level, option, value int) error {
	v := int32(value)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return errnoErr(errno)
}

// DropsFD returns how many datagrams the kernel has dropped since the socket was
// made, because there was no room for them (SO_MEMINFO). Asking for it costs the
// datagrams nothing, which SO_RXQ_OVFL does.
func DropsFD(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}
