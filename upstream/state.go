package upstream

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// stateKey names what is known of an endpoint within an upstream.
type stateKey struct {
	target string // host and port as configured
	addr   netip.AddrPort
}

// What is known of endpoints that a name does not stand for any more is kept
// for a while, since servers of names may tell another part of many addresses
// each time.
const (
	stateKept = 10 * 60e9 // nanoseconds
	maxStates = 16384     // per upstream; without room, what is known of departed endpoints is dropped
)

// registry keeps what is known of the endpoints of an upstream, over reloads
// and changes of addresses. T is usable as its zero value. Safe for concurrent
// use.
type registry[T any] struct {
	mu      sync.Mutex
	entries map[stateKey]*entry[T]

	// changes counts the changes that concern a whole balancer. It is shared
	// by the balancers of the snapshots that serve at the same time.
	changes atomic.Uint32
}

type entry[T any] struct {
	value T
	seen  int64 // now when it was last asked for, or known to be in use
}

// get returns what is known of the endpoint, the same for every call.
func (r *registry[T]) get(key stateKey, now int64) *T {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[key]
	if e == nil {
		if r.entries == nil {
			r.entries = make(map[stateKey]*entry[T])
		}
		e = new(entry[T])
		r.entries[key] = e
	}
	e.seen = now
	return &e.value
}

// see notes that the endpoint is in use. One whose addresses do not change is
// not asked for, however long it serves.
func (r *registry[T]) see(key stateKey, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[key]; e != nil {
		e.seen = max(e.seen, now)
	}
}

// prune forgets what was not seen since now less stateKept, or, with too many
// entries, not at now. What is busy stays: its tries are yet to be counted out.
// A nil busy means that nothing is.
func (r *registry[T]) prune(now int64, busy func(*T) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := now - stateKept
	if len(r.entries) > maxStates {
		oldest = now
	}
	for k, e := range r.entries {
		if e.seen < oldest && (busy == nil || !busy(&e.value)) {
			delete(r.entries, k)
		}
	}
}

// load is what an endpoint bears and how it bears it. It belongs to an upstream,
// target and address, and outlives reloads. Safe for concurrent use.
type load struct {
	open    atomic.Int64 // tries under way
	pending atomic.Int64 // of these, connections being opened
	ewma    ewma
}

func (l *load) busy() bool { return l.open.Load() > 0 || l.pending.Load() > 0 }
