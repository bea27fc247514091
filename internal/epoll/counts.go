package epoll

import "sync/atomic"

// Counts say how a loop has gone on so far.
type Counts struct {
	Turns uint64 // looks at the descriptors, each one system call
	Parks uint64 // waits: how often there was nothing to do
}

type counters struct{ turns, parks atomic.Uint64 }

// Counts may be called by any goroutine.
func (l *Loop) Counts() Counts {
	return Counts{Turns: l.counts.turns.Load(), Parks: l.counts.parks.Load()}
}
