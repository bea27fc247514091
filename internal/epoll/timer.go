package epoll

import (
	"math/bits"
	"time"
)

// Tick is how much later than it is due a timer may be called.
const Tick = 20 * time.Millisecond

const (
	// wheelSlots is a round of the wheel, some 20 s. A timer that is due later
	// is looked at once a round.
	wheelSlots = 1024
	// gathered is how many ticks such looks are gathered from, so that thousands
	// of idle deadlines do not keep a loop awake that has nothing else to do.
	gathered = 64
)

// Expirer is what a timer calls, on the loop, when it is due. It must not wait.
type Expirer interface{ Expired() }

// Timer calls Do once, when it is due. It lies within what it belongs to, and
// belongs to one loop. The zero timer with Do set is ready for use.
type Timer struct {
	Do Expirer

	due        int64 // in sock.Now's time; 0: not set
	slot       int64 // the tick it is looked at; valid while it is linked
	prev, next *Timer
	linked     bool
}

// Due returns when the timer is due, in sock.Now's time; 0: it is not set.
func (t *Timer) Due() int64 { return t.due }

// Set lets t be called when Now has reached due, or up to a Tick later. Setting
// it anew to a later time only stores that, which is what makes idle deadlines
// cheap.
func (l *Loop) Set(t *Timer, due int64) {
	t.due = max(due, 1)
	if t.linked {
		if t.slot <= tickOf(due) {
			return
		}
		l.wheel.unlink(t)
	}
	l.wheel.link(t)
}

// Stop lets t not be called. It may be set again.
func (l *Loop) Stop(t *Timer) {
	t.due = 0
	if t.linked {
		l.wheel.unlink(t)
	}
}

// wheel keeps timers by the tick at which they are to be looked at.
type wheel struct {
	tick   int64 // all ticks up to this one were looked at
	count  int
	heads  [wheelSlots]*Timer
	filled [wheelSlots / 64]uint64 // which heads are set
}

// tickOf returns the first tick at which due has passed.
func tickOf(due int64) int64 { return (due + int64(Tick) - 1) / int64(Tick) }

func (w *wheel) start(now int64) { w.tick = now / int64(Tick) }

func (w *wheel) link(t *Timer) {
	t.slot = max(tickOf(t.due), w.tick+1)
	if t.slot >= w.tick+wheelSlots {
		t.slot = (w.tick + wheelSlots - 1) / gathered * gathered
	}
	i := t.slot % wheelSlots
	t.prev, t.next = nil, w.heads[i]
	if t.next != nil {
		t.next.prev = t
	}
	w.heads[i] = t
	w.filled[i/64] |= 1 << (i % 64)
	w.count++
	t.linked = true
}

func (w *wheel) unlink(t *Timer) {
	i := t.slot % wheelSlots
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.heads[i] = t.next
		if t.next == nil {
			w.filled[i/64] &^= 1 << (i % 64)
		}
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.linked = nil, nil, false
	w.count--
}

// advance calls what is due and links anew what was put off meanwhile.
func (w *wheel) advance(l *Loop) {
	now := l.now / int64(Tick)
	if w.count == 0 {
		w.tick = max(w.tick, now)
		return
	}
	for w.tick < now && w.count > 0 {
		w.tick++
		for t := w.heads[w.tick%wheelSlots]; t != nil; t = w.heads[w.tick%wheelSlots] {
			w.unlink(t)
			if tickOf(t.due) > w.tick {
				w.link(t)
				continue
			}
			t.due = 0
			l.expire(t)
		}
	}
	w.tick = max(w.tick, now)
}

func (l *Loop) expire(t *Timer) {
	defer l.guard()
	l.told = nil
	t.Do.Expired()
}

// next returns when the wheel is to be looked at, in sock.Now's time; 0: there
// is no timer.
func (w *wheel) next() int64 {
	if w.count == 0 {
		return 0
	}
	for d := int64(1); d <= wheelSlots; {
		i := (w.tick + d) % wheelSlots
		if rest := w.filled[i/64] >> (i % 64); rest != 0 {
			d += int64(bits.TrailingZeros64(rest))
			return (w.tick + d) * int64(Tick)
		}
		d += 64 - i%64
	}
	return 0
}
