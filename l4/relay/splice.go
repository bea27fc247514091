package relay

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// pipeBytes is the size asked for a pipe, and what one splice moves at most.
	pipeBytes = 256 << 10
	// maxPipes bounds the pipes of a loop, two descriptors each. Beyond them
	// bulk is copied.
	maxPipes = 128
	// idlePipes are kept for the next flow.
	idlePipes = 16
)

// pipe is the kernel's buffer between two sockets.
type pipe struct {
	r, w int
	held int // bytes in it
}

// pipes are those of a loop.
type pipes struct {
	idle  []*pipe // empty ones
	count int     // of all that are open
}

// get lends a pipe; nil: there is none to be had.
func (ps *pipes) get() *pipe {
	if n := len(ps.idle) - 1; n >= 0 {
		p := ps.idle[n]
		ps.idle = ps.idle[:n]
		return p
	}
	if ps.count >= maxPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	// Without the privilege for a larger pipe the usual 64 KiB serve too.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeBytes)
	ps.count++
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes a pipe back, and closes one that holds bytes. p may be nil.
func (ps *pipes) put(p *pipe) {
	switch {
	case p == nil:
	case p.held == 0 && len(ps.idle) < idlePipes:
		ps.idle = append(ps.idle, p)
	default:
		ps.discard(p)
	}
}

func (ps *pipes) discard(p *pipe) {
	sock.CloseFD(p.r)
	sock.CloseFD(p.w)
	ps.count--
}

func (ps *pipes) close() {
	for _, p := range ps.idle {
		ps.discard(p)
	}
	ps.idle = nil
}

// splice fills an empty pipe from a socket. It reports false if the link has
// ended.
func (k *Link) splice(d *direction, from *side) (n int, ok bool) {
	if d.pipe == nil {
		if d.pipe = k.loop.pipes.get(); d.pipe == nil {
			d.bulk = false
			return 0, true
		}
	}
	n, err := sock.SpliceFD(int(from.fd), d.pipe.w, pipeBytes)
	if n <= 0 {
		k.loop.pipes.put(d.pipe) // nothing flows, so nothing is lent
		d.pipe = nil
		switch {
		case err == syscall.EINVAL:
			d.bulk, d.plain = false, true
			return 0, true
		case err == nil, err == syscall.EAGAIN && from.whole: // be it for urgent data, which only a read gets past
			d.bulk, d.run = false, 0
			return 0, true
		}
		return 0, k.unread(from, n, err)
	}
	d.pipe.held = n
	d.read.Store(d.read.Load() + int64(n))
	k.touch()
	if n >= bulkBytes {
		d.run = 0
	} else if d.run++; d.run >= calmMoves {
		d.bulk, d.run = false, 0
	}
	return n, true
}

// drain empties the pipe into a socket. It reports false if not all of it could
// be, or the link has ended.
func (k *Link) drain(d *direction, to *side) bool {
	for to.writable && d.pipe.held > 0 {
		n, err := sock.SpliceFD(d.pipe.r, int(to.fd), d.pipe.held)
		switch {
		case n > 0:
			d.pipe.held -= n
			d.wrote.Store(d.wrote.Load() + int64(n))
			k.touch()
		case err == syscall.EAGAIN:
			to.writable = false
		default:
			k.reset(to.which, err)
			return false
		}
	}
	if d.pipe.held > 0 {
		return false
	}
	if !d.bulk {
		k.loop.pipes.put(d.pipe)
		d.pipe = nil
	}
	return true
}
