package telemetry

import (
	"sync/atomic"
	"time"
)

// cacheLine separates counters that different cores write; 64 bytes on every
// machine Bulwark is built for.
const cacheLine = 64

// Counter only grows. It fills a cache line of its own, so that two cores
// which count different things do not slow each other down. The zero value is
// ready to use, by any number of goroutines.
type Counter struct {
	v atomic.Uint64
	_ [cacheLine - 8]byte
}

// Inc adds one.
func (c *Counter) Inc() { c.v.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.v.Add(n) }

// Load returns the count.
func (c *Counter) Load() uint64 { return c.v.Load() }

// Gauge goes up and down. The zero value is ready to use, by any number of
// goroutines.
type Gauge struct {
	v atomic.Int64
	_ [cacheLine - 8]byte
}

// Inc adds one.
func (g *Gauge) Inc() { g.v.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.v.Add(-1) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) { g.v.Add(n) }

// Set replaces the value.
func (g *Gauge) Set(n int64) { g.v.Store(n) }

// Load returns the value.
func (g *Gauge) Load() int64 { return g.v.Load() }

// CounterVec is one counter for each value of a label. The values are fixed
// when it is made, so the label is bounded and a count is an index away.
type CounterVec struct {
	names []string
	cells []Counter
}

// NewCounterVec returns counters for the label values names, in that order.
func NewCounterVec(names []string) *CounterVec {
	return &CounterVec{names: append([]string(nil), names...), cells: make([]Counter, len(names))}
}

// Inc counts one for the label value at index i. An index out of range is a
// broken invariant and panics.
func (v *CounterVec) Inc(i int) { v.cells[i].Inc() }

// Load returns the count for the label value at index i.
func (v *CounterVec) Load(i int) uint64 { return v.cells[i].Load() }

// Names returns the label values, by index.
func (v *CounterVec) Names() []string { return v.names }

// durationBounds are the upper bounds of the duration buckets: three to a
// decade, from a cache hit in memory to the longest default timeout.
var durationBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram counts durations in fixed buckets. The zero value is ready to use,
// by any number of goroutines.
type Histogram struct {
	buckets [len(durationBounds) + 1]atomic.Uint64 // the last one has no upper bound
	sum     atomic.Int64                           // nanoseconds
}

// Observe counts d. It does not allocate. A negative duration, which only a
// clock set back can make, counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	lo, hi := 0, len(durationBounds)
	for lo < hi {
		mid := (lo + hi) / 2
		if d <= durationBounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	h.buckets[lo].Add(1)
	h.sum.Add(int64(d))
}

// Count returns how many durations were observed.
func (h *Histogram) Count() uint64 {
	var n uint64
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// Sum returns the sum of the observed durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum.Load()) }
