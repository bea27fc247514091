package stream

import (
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
)

// linesPerSecond is how many lines the access log of a listener gets of
// datagrams that begin no flow, for each reason. Whoever makes addresses up would
// else fill a disk.
const linesPerSecond = 10

// sparing lets that many lines through. Safe for concurrent use.
type sparing struct{ kinds [256]sparingKind } // by l4.Reason

// sparingKind is a bucket of lines, known by the time at which it is full again.
type sparingKind struct {
	full     atomic.Int64
	unlogged atomic.Uint64
}

// line reports whether a stream that has ended for a reason gets a line, and how
// many before it got none since the last one that did.
func (s *sparing) line(r l4.Reason, now int64) (unlogged uint64, ok bool) {
	const each = int64(time.Second) / linesPerSecond
	k := &s.kinds[r]
	full := k.full.Load()
	if from := max(full, now); from-now > (linesPerSecond-1)*each || !k.full.CompareAndSwap(full, from+each) {
		k.unlogged.Add(1)
		return 0, false
	}
	return k.unlogged.Swap(0), true
}
