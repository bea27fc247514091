package upstream

import (
	"math"
	"sync/atomic"
	"time"
)

// ewmaDecay is the time in which a measured latency loses all but 1/e of its
// weight (Kong's latency algorithm).
const ewmaDecay = 10 * time.Second

// failureLatency is the least that a failed try counts as, so that an endpoint
// that fails fast does not pass for a fast one.
const failureLatency = time.Second

// ewma is a moving average of latencies. Its zero value has measured nothing.
// Safe for concurrent use; of samples at the very same time one may be lost.
type ewma struct {
	value atomic.Uint64 // bits of a float64, in nanoseconds; 0: nothing measured
	at    atomic.Int64  // now of the last sample
}

// add takes in a sample.
func (e *ewma) add(latency time.Duration, now int64) {
	sample := float64(max(latency, 1))
	if old := math.Float64frombits(e.value.Load()); old > 0 {
		keep := decay(now - e.at.Load())
		sample = old*keep + sample*(1-keep)
	}
	e.value.Store(math.Float64bits(sample))
	e.at.Store(now)
}

// read returns the average, which falls while no sample comes, so that an
// endpoint that was slow once is tried again; 0 if nothing was measured.
func (e *ewma) read(now int64) float64 {
	v := math.Float64frombits(e.value.Load())
	if v == 0 {
		return 0
	}
	return v * decay(now-e.at.Load())
}

func decay(elapsed int64) float64 {
	return math.Exp(-float64(max(elapsed, 0)) / float64(ewmaDecay))
}
