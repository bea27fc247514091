//go:build !race

package sock

import (
	"syscall"
	"unsafe"
)

// read and write are system calls on sockets that do not block. They leave out
// the announcement to the scheduler that the thread may be away for long, which
// such calls never are (docs/adr/0004).

func read(fd int, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

func write(fd int, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

func call(number uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
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
