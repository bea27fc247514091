package epoll

import (
	"runtime/debug"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// turns takes turns until there is nothing to do, and then returns false, which
// lets the goroutine wait; true ends Run.
func (l *Loop) turns(uintptr) (stop bool) {
	l.asleep.Store(false)
	begun := sock.Now()
	for {
		l.now = sock.Now()
		idle := l.turn()
		if l.ended() {
			return true
		}
		if !idle {
			if l.now-begun > maxBusy {
				// There may be more to do: the edge brings the loop back, behind
				// the others that wait for the network.
				l.rouse()
				return false
			}
			continue
		}
		l.asleep.Store(true)
		if l.isPosted() {
			l.asleep.Store(false)
			continue
		}
		l.arm()
		l.counts.parks.Add(1)
		return false
	}
}

// turn does what there is to do now, once each: events, calls of Again, posted
// functions, timers. It reports whether there was nothing.
func (l *Loop) turn() (idle bool) {
	n, err := sock.EpollWait(l.fd, l.events[:], 0)
	if err != nil {
		n = 0
	}
	l.at, l.n = 0, n
	l.counts.turns.Add(1)
	for l.at < l.n {
		l.tell()
	}
	again := len(l.again) > 0
	if again {
		l.again, l.later = l.later[:0], l.again
		for i := 0; i < len(l.later); {
			i = l.repeat(i)
		}
		clear(l.later)
	}
	posted := l.runPosted()
	l.wheel.advance(l)
	return n == 0 && !again && !posted && len(l.again) == 0
}

// tell tells the events from l.at on. A panic ends it early, and counts as told.
func (l *Loop) tell() {
	defer l.guard()
	for l.at < l.n {
		ev := &l.events[l.at]
		l.at++
		fd := int(ev.Fd)
		if fd >= len(l.slots) {
			continue // the eventfd, before any descriptor
		}
		if s := &l.slots[fd]; s.h != nil && s.gen == uint32(ev.Pad) {
			l.told = s.h
			s.h.Ready(ev.Events)
		}
	}
}

// repeat makes the calls that Again asked for, from the i-th on, and returns
// how far it came.
func (l *Loop) repeat(i int) (next int) {
	defer l.guard()
	for next = i; next < len(l.later); {
		h := l.later[next]
		next++
		l.told = h
		h.Ready(0)
	}
	return next
}

// runPosted runs what was posted until now.
func (l *Loop) runPosted() (any bool) {
	l.mu.Lock()
	if len(l.posted) == 0 {
		l.mu.Unlock()
		return false
	}
	l.posted, l.taken = l.taken[:0], l.posted
	l.mu.Unlock()
	for i := 0; i < len(l.taken); {
		i = l.call(i)
	}
	clear(l.taken)
	return true
}

func (l *Loop) call(i int) (next int) {
	defer l.guard()
	for next = i; next < len(l.taken); {
		f := l.taken[next]
		next++
		l.told = nil
		f()
	}
	return next
}

// guard recovers a panic, if anybody wants to know of it.
func (l *Loop) guard() {
	if l.Panicked == nil {
		return
	}
	if v := recover(); v != nil {
		h := l.told
		l.told = nil
		l.Panicked(h, v, debug.Stack())
	}
}

func (l *Loop) isPosted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.posted) > 0 || l.closed
}

// ended reports whether the loop is closed and all that was posted has run.
func (l *Loop) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed && len(l.posted) == 0
}

// arm lets the wait end when the next timer is due. A deadline that is armed
// and earlier is left as it is.
func (l *Loop) arm() {
	due := l.wheel.next()
	if due == 0 || l.armed != 0 && l.armed <= due {
		return
	}
	l.armed = due
	_ = l.file.SetReadDeadline(time.Now().Add(time.Duration(due - sock.Now())))
}
