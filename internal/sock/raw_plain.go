//go:build !race

package sock

import "syscall"

func read(fd int, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

func write(fd int, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }
