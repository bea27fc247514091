package pattern

import (
	"sync"
	"sync/atomic"
)

// Memory bounds the states of many patterns. When they have become too many, each
// pattern makes its own anew with its next string.
type Memory struct {
	limit      int64 // bytes
	used       atomic.Int64
	generation atomic.Uint64
	pool       sync.Pool // of *scratch
}

// NewMemory returns a memory for states of about so many bytes. Those that
// strings under way still use, and those of patterns that no string comes to,
// patternMemory for each of both, are not counted any more when all are made anew.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// take accounts for bytes of a generation, and reports whether it is over.
func (m *Memory) take(n int64, generation uint64) bool {
	if m.generation.Load() != generation {
		return true
	}
	if m.used.Add(n) <= m.limit {
		return false
	}
	if m.generation.CompareAndSwap(generation, generation+1) {
		m.used.Store(0)
	}
	return true
}

// give takes back what a pattern of the generation no longer uses.
func (m *Memory) give(n int64, generation uint64) {
	if m.generation.Load() == generation {
		m.used.Add(-n)
	}
}

// scratch returns one for a program of so many instructions, to be put back.
func (m *Memory) scratch(size int) *scratch {
	w, ok := m.pool.Get().(*scratch)
	if !ok {
		w = new(scratch)
	}
	if len(w.seen) < size {
		w.seen, w.round = make([]uint32, size), 0
	}
	return w
}
