package sock

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// pipeBytes is the size asked for a pipe: what one turn of a splice moves at
// the most.
const pipeBytes = 256 << 10

// maxIdlePipes bounds the pipes kept for later splices, two descriptors each.
const maxIdlePipes = 64

// pipe is the kernel's buffer between two sockets.
type pipe struct {
	r, w int
	held int // bytes in it
}

// idlePipes are empty pipes for the next splice.
var idlePipes struct {
	mu    sync.Mutex
	pipes []*pipe
}

func getPipe() (*pipe, error) {
	idlePipes.mu.Lock()
	if n := len(idlePipes.pipes) - 1; n >= 0 {
		p := idlePipes.pipes[n]
		idlePipes.pipes = idlePipes.pipes[:n]
		idlePipes.mu.Unlock()
		return p, nil
	}
	idlePipes.mu.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	// Without the privilege for a larger pipe the usual 64 KiB serve too.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeBytes)
	return &pipe{r: fds[0], w: fds[1]}, nil
}

// put keeps an empty pipe and closes one that still holds bytes.
func (p *pipe) put() {
	if p.held == 0 {
		idlePipes.mu.Lock()
		if len(idlePipes.pipes) < maxIdlePipes {
			idlePipes.pipes = append(idlePipes.pipes, p)
			p = nil
		}
		idlePipes.mu.Unlock()
	}
	if p != nil {
		unix.Close(p.r)
		unix.Close(p.w)
	}
}

// ErrNoPipe says that nothing was moved since there is no pipe to be had. The
// bytes can be copied instead.
var ErrNoPipe = errors.New("no pipe")

// splice is one move of bytes from src to dst within the kernel.
type splice struct {
	p    *pipe
	left int64
	n    int // bytes that dst has taken in this step

	queued int // bytes that dst's peer had not taken when the wait for it began
	err    error
}

// Splice moves n bytes from src to dst without copying them to user space.
// before is called ahead of every turn, of at most 256 KiB, to push deadlines
// out. moved counts what dst has taken. fromSource tells which side an error
// is of; io.ErrUnexpectedEOF says that src ended early. After dst's Cut it fails
// with os.ErrDeadlineExceeded, which is dst's error, and src is to be closed: its
// reads may fail.
func Splice(dst, src *Conn, n int64, before func()) (moved int64, fromSource bool, err error) {
	p, err := getPipe()
	if err != nil {
		return 0, false, ErrNoPipe
	}
	defer p.put()
	dst.setSource(src)
	defer func() {
		dst.setSource(nil)
		if dst.cut.Load() { // src may have been interrupted even after its last byte
			fromSource, err = false, os.ErrDeadlineExceeded
		}
	}()
	s := &splice{p: p, left: n}
	drain, pump := s.drain, s.pump
	for moved < n {
		before()
		if dst.cut.Load() { // whoever cuts from now on interrupts what before has armed
			return moved, false, os.ErrDeadlineExceeded
		}
		if err := src.raw.Read(drain); err != nil {
			return moved, true, err
		}
		if s.err != nil {
			return moved, true, s.err
		}
		for p.held > 0 {
			s.n = 0
			dst.armWrite()
			err := dst.raw.Write(pump)
			moved += int64(s.n)
			switch {
			case s.err != nil:
				return moved, false, s.err
			case err != nil && !s.goesOn(dst, err):
				return moved, false, err
			}
		}
	}
	return moved, false, nil
}

// drain fills the pipe from the source. False means wait.
func (s *splice) drain(fd uintptr) bool {
	n, err := spliceFD(int(fd), s.p.w, min(s.left, pipeBytes))
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		s.err = os.NewSyscallError("splice", err)
	case n == 0:
		s.err = io.ErrUnexpectedEOF
	default:
		s.p.held += n
		s.left -= int64(n)
	}
	return true
}

// goesOn reports whether a write's deadline has passed although the peer has
// taken bytes meanwhile: a socket that was full tells of room only when there is
// much of it. A deadline that came before its time is an interruption.
func (s *splice) goesOn(dst *Conn, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || dst.closed.Load() || dst.cut.Load() || dst.writeDue == 0 || Now() < dst.writeDue {
		return false
	}
	queued := s.queued
	_ = dst.raw.Control(func(fd uintptr) { queued = unacknowledged(fd) })
	return queued < s.queued
}

// unacknowledged returns how many bytes the kernel holds for a socket that its
// peer has not taken yet.
func unacknowledged(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// pump empties the pipe into the destination. False means wait, which begins
// anew, with another deadline, after each step.
func (s *splice) pump(fd uintptr) bool {
	for s.p.held > 0 {
		n, err := spliceFD(s.p.r, int(fd), int64(s.p.held))
		if err == unix.EAGAIN {
			if s.n == 0 {
				s.queued = unacknowledged(fd)
			}
			return s.n > 0
		}
		if err != nil {
			s.err = os.NewSyscallError("splice", err)
			return true
		}
		s.p.held -= n
		s.n += n
	}
	return true
}

func spliceFD(from, to int, n int64) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, int(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(moved), err
		}
	}
}
