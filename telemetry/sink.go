package telemetry

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sinkPoll is how often a sink whose reader is slow looks whether it should
	// give up.
	sinkPoll = 100 * time.Millisecond

	// pipeChunkBytes is what a pipe that polls as writable takes without
	// blocking: PIPE_BUF of pipe(7). One that is not full, and of a kernel that
	// can write without waiting, is given all there is.
	pipeChunkBytes = 4096

	// accessLogMode lets the owner write and the group, which log shippers run
	// under, read.
	accessLogMode = 0o640
)

var errSinkAborted = errors.New("the reader is too slow")

// sink is an open log target. It works on the bare descriptor, because a
// standard output that is a pipe must not be made non-blocking (the flag is
// shared with whoever else holds it) and must still not hold up Close.
type sink struct {
	fd      int
	what    string // as errors call it
	name    string
	regular bool // a file on disk: any size may be written, and poll says nothing
	pipe    bool // a pipe that can be written to without waiting; false once it says that it cannot
	owned   bool // close closes it; never true for standard output

	device, inode uint64 // what was opened
}

// openSink opens a target for appending.
func openSink(t *LineTarget) (*sink, error) {
	s := &sink{fd: unix.Stdout, what: t.What, name: t.Path}
	if !t.Stdout {
		// O_NONBLOCK so that a FIFO without a reader is an error, not a wait.
		const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK
		fd, err := ignoringEINTR(func() (int, error) { return unix.Open(t.Path, flags, t.Mode) })
		if err != nil {
			return nil, fmt.Errorf("opening %s %q: %w (%s)", t.What, t.Path, err, t.Hint)
		}
		s.fd, s.owned = fd, true
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s %q: %w", t.What, t.Path, err), s.close())
	}
	s.regular = st.Mode&unix.S_IFMT == unix.S_IFREG
	s.pipe = st.Mode&unix.S_IFMT == unix.S_IFIFO
	s.device, s.inode = uint64(st.Dev), st.Ino
	return s, nil
}

// moved reports whether the sink's path does not lead to it any more.
func (s *sink) moved() bool {
	if !s.owned {
		return false
	}
	var st unix.Stat_t
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Stat(s.name, &st) })
	return err != nil || uint64(st.Dev) != s.device || st.Ino != s.inode
}

// write writes all of p unless it fails or abort closes, and returns how much
// it wrote.
func (s *sink) write(p []byte, abort <-chan struct{}) (int, error) {
	done := 0
	for done < len(p) {
		n, err := s.some(p[done:], abort)
		done += max(n, 0)
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return done, fmt.Errorf("writing %s %q: %w", s.what, s.name, err)
		}
	}
	return done, nil
}

// some writes once, and waits only where abort ends the wait.
func (s *sink) some(p []byte, abort <-chan struct{}) (int, error) {
	if s.regular {
		return unix.Write(s.fd, p)
	}
	if s.pipe {
		n, err := s.writeNow(p)
		switch err {
		case unix.EAGAIN: // full
		case unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS:
			s.pipe = false
		default:
			return n, err
		}
	}
	if err := s.waitWritable(abort); err != nil {
		return 0, err
	}
	return unix.Write(s.fd, p[:min(len(p), pipeChunkBytes)])
}

// writeNow writes what a pipe has room for, also where the descriptor is not
// non-blocking (RWF_NOWAIT of pwritev2(2), for pipes from Linux 6.4 on).
func (s *sink) writeNow(p []byte) (int, error) {
	return unix.Pwritev2(s.fd, [][]byte{p}, -1, unix.RWF_NOWAIT)
}

// waitWritable returns when the descriptor takes bytes or is broken, which the
// write then tells, or with an error when abort closes.
func (s *sink) waitWritable(abort <-chan struct{}) error {
	for {
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(sinkPoll/time.Millisecond))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("polling it: %w", err)
		}
		if n > 0 {
			return nil
		}
		select {
		case <-abort:
			return errSinkAborted
		default:
		}
	}
}

func (s *sink) close() error {
	if !s.owned {
		return nil
	}
	if err := unix.Close(s.fd); err != nil {
		return fmt.Errorf("closing %s %q: %w", s.what, s.name, err)
	}
	return nil
}

// ignoringEINTR repeats call while a signal interrupts it.
func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
