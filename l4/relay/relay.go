package relay

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/epoll"
)

// ErrClosed says that the relay was closed.
var ErrClosed = errors.New("the relay is closed")

// Relay is a few loops. Its methods may be called by any goroutine.
type Relay struct {
	loops  []*Loop
	next   atomic.Uint32
	links  atomic.Int64
	joined sync.WaitGroup
}

// New starts as many loops, at least one. panicked is told of a panic in
// what is called on a loop, and must not wait; a link whose Done has not run by
// then ends with EndInternal, a dial whose done panics is cancelled. The owner calls Close.
func New(loops int, panicked func(value any, stack []byte)) (*Relay, error) {
	r := new(Relay)
	for range max(loops, 1) {
		poll, err := epoll.New()
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("making a loop: %w", err)
		}
		l := newLoop(r, poll, panicked)
		r.loops = append(r.loops, l)
		r.joined.Go(poll.Run)
	}
	return r, nil
}

// Close ends all links and dials, and waits for the loops.
func (r *Relay) Close() {
	for _, l := range r.loops {
		l.poll.Post(l.close)
		l.poll.Close()
	}
	r.joined.Wait()
}

// Loops returns all loops.
func (r *Relay) Loops() []*Loop { return r.loops }

// Loop returns the loops in turn.
func (r *Relay) Loop() *Loop { return r.loops[r.next.Add(1)%uint32(len(r.loops))] }

// Links is how many links there are.
func (r *Relay) Links() int64 { return r.links.Load() }

// Start relays p on one of the loops.
func (r *Relay) Start(p Pair) *Link {
	l := r.Loop()
	k := newLink(l, p)
	if !l.poll.Post(k.begin) {
		k.refuse()
	}
	return k
}

// Loop is one goroutine and what it serves. But for Post its methods are for
// functions that it calls.
type Loop struct {
	relay *Relay
	poll  *epoll.Loop
	buf   []byte // for what is read and written within one call
	pipes pipes
	all   members
	over  bool // close has run
}

func newLoop(r *Relay, poll *epoll.Loop, panicked func(any, []byte)) *Loop {
	l := &Loop{relay: r, poll: poll, buf: make([]byte, copyBytes)}
	if panicked == nil {
		panicked = func(any, []byte) {}
	}
	poll.Panicked = func(h epoll.Handler, value any, stack []byte) {
		panicked(value, stack)
		defer func() {
			if v := recover(); v != nil { // of the Done that is called now
				panicked(v, debug.Stack())
			}
		}()
		switch h := h.(type) {
		case *side:
			h.link.end(EndInternal, NoSide, nil)
		case *Dial:
			h.Cancel()
		}
	}
	return l
}

// Post runs f on the loop soon. False says that the relay was closed and f will
// not run.
func (l *Loop) Post(f func()) bool { return l.poll.Post(f) }

// Start relays p on this loop.
func (l *Loop) Start(p Pair) *Link {
	k := newLink(l, p)
	if l.over {
		k.refuse()
	} else {
		k.begin()
	}
	return k
}

// close ends what the loop serves.
func (l *Loop) close() {
	l.over = true
	for l.all.first != nil {
		l.all.first.shut()
	}
	l.pipes.close()
}

// member is a link or a dial of a loop. shut ends it and takes it out of
// the list.
type member interface {
	shut()
	links() *neighbours
}

// neighbours are a member's place in the list.
type neighbours struct{ prev, next member }

// members is a list of what a loop has to end.
type members struct{ first member }

func (m *members) add(x member) {
	n := x.links()
	n.prev, n.next = nil, m.first
	if m.first != nil {
		m.first.links().prev = x
	}
	m.first = x
}

func (m *members) remove(x member) {
	n := x.links()
	if n.prev != nil {
		n.prev.links().next = n.next
	} else {
		m.first = n.next
	}
	if n.next != nil {
		n.next.links().prev = n.prev
	}
	n.prev, n.next = nil, nil
}
