package relay

import (
	"sync/atomic"
	"syscall"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// copyBytes is what is read at a time, and the most that a direction holds
	// that its receiver had no room for.
	copyBytes = buf.Large
	// turnBytes is what a direction may move before others have their turn.
	turnBytes = 1 << 20
	// bulkBytes is a read that counts towards splicing.
	bulkBytes = buf.Medium
	// bulkReads in a row begin the splicing, and calmMoves splices of less than
	// bulkBytes in a row end it.
	bulkReads = 4
	calmMoves = 4
)

// direction is the way of the bytes from one side to the other. At most one of
// held and pipe has bytes.
type direction struct {
	read, wrote atomic.Int64
	held        *buf.Block // lent while to had no room
	rest        []byte     // of held, or of what was given as the first
	pipe        *pipe      // lent while bulk flows
	bulk        bool       // splice
	plain       bool       // the kernel does not splice these sockets
	run         uint8      // large reads, or small splices, in a row
	done        bool       // everything is delivered, and its end too
}

// hold keeps bytes until there is room.
func (d *direction) hold(p []byte) { d.rest = p }

// drop gives back what is lent.
func (d *direction) drop(l *Loop) {
	d.held.Put()
	d.held, d.rest = nil, nil
	l.pipes.put(d.pipe)
	d.pipe = nil
}

// pump moves what there is from one side to the other, as far as it goes.
func (k *Link) pump(which Side) {
	d, from, to := &k.dirs[which], &k.sides[which], &k.sides[which.other()]
	for budget := turnBytes; !d.done; {
		if !k.flush(d, to) {
			return
		}
		switch {
		case from.eof:
			k.close(d, from, to)
			return
		case !from.readable:
			return
		case budget <= 0:
			if !from.queued {
				from.queued = true
				k.loop.poll.Again(from)
			}
			return
		}
		n, ok := 0, false
		if d.bulk {
			n, ok = k.splice(d, from)
		} else {
			n, ok = k.copy(d, from, to)
		}
		if !ok {
			return
		}
		budget -= n
	}
}

// copy reads once and writes once. It reports false if the link has ended.
func (k *Link) copy(d *direction, from, to *side) (n int, ok bool) {
	p := k.loop.buf
	n, err := sock.ReadFD(int(from.fd), p)
	if n <= 0 {
		return 0, k.unread(from, n, err)
	}
	d.read.Store(d.read.Load() + int64(n))
	k.touch()
	if n < len(p) && !from.whole {
		from.readable = false // and an edge tells when there is more
	}
	if n < bulkBytes {
		d.run = 0
	} else if d.run++; d.run >= bulkReads {
		d.bulk, d.run = !d.plain, 0
	}
	m, err := sock.WriteFD(int(to.fd), p[:n])
	switch {
	case m == n:
		d.wrote.Store(d.wrote.Load() + int64(n))
		return n, true
	case err != nil && err != syscall.EAGAIN:
		k.reset(to.which, err)
		return 0, false
	}
	m = max(m, 0)
	d.wrote.Store(d.wrote.Load() + int64(m))
	to.writable = false
	d.held = buf.Get(n - m)
	d.hold(d.held.B[:copy(d.held.B, p[m:n])])
	return n, true
}

// unread takes a read that gave no bytes. It reports false if the link has
// ended.
func (k *Link) unread(from *side, n int, err error) bool {
	switch {
	case err == syscall.EAGAIN:
		from.readable = false
	case n == 0 && err == nil:
		from.eof, from.readable = true, false
		if k.ender == NoSide {
			k.ender = from.which
		}
	default:
		k.reset(from.which, err)
		return false
	}
	return true
}

// flush writes what was held back. It reports false if not all could be, or the
// link has ended.
func (k *Link) flush(d *direction, to *side) bool {
	if d.pipe != nil && d.pipe.held > 0 {
		return k.drain(d, to)
	}
	if len(d.rest) == 0 {
		return true
	}
	if !to.writable {
		return false
	}
	n, err := sock.WriteFD(int(to.fd), d.rest)
	if n < 0 && err != syscall.EAGAIN {
		k.reset(to.which, err)
		return false
	}
	if n > 0 {
		d.wrote.Store(d.wrote.Load() + int64(n))
		d.rest = d.rest[n:]
		k.touch()
	}
	if len(d.rest) > 0 {
		to.writable = false
		return false
	}
	d.held.Put()
	d.held, d.rest = nil, nil
	return true
}

// close passes the end of from on, behind all of its bytes.
func (k *Link) close(d *direction, from, to *side) {
	d.done = true
	d.drop(k.loop)
	if k.dirs[to.which].done {
		k.end(EndClosed, k.ender, nil)
		return
	}
	sock.ShutFD(int(to.fd))
}

// rescue passes on what can be read of a side that broke off, as far as the
// other side takes it without waiting.
func (k *Link) rescue(which Side) {
	d, from, to := &k.dirs[which], &k.sides[which], &k.sides[which.other()]
	if d.done || d.pipe != nil && d.pipe.held > 0 || !to.writable {
		return
	}
	p := k.loop.buf
	for budget := turnBytes; budget > 0; {
		rest := d.rest
		if len(rest) == 0 {
			n, err := sock.ReadFD(int(from.fd), p)
			if n <= 0 || err != nil {
				return
			}
			d.read.Store(d.read.Load() + int64(n))
			rest = p[:n]
		}
		n, err := sock.WriteFD(int(to.fd), rest)
		if n > 0 {
			d.wrote.Store(d.wrote.Load() + int64(n))
		}
		if n < len(rest) || err != nil {
			return
		}
		d.rest = nil
		budget -= n
	}
}
