package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector's pace, in percent of the live heap that may be allocated
// between two collections. The live heap of an edge is small, and most of what
// it allocates, one string per head, dies at once: so it may grow further than
// Go's default. See docs/adr/0003 and, for many routes, docs/adr/0006.
const (
	gcMost  = 400 // up to gcSpare bytes
	gcLeast = 100 // Go's default; also while a configuration is read

	gcSpare = 64 << 20
)

// gcAgain is how long after a change memory is given back once more: by then
// busy connections have let go of the old snapshot.
const gcAgain = 10 * time.Second

// collector sets the pace of the garbage collector, unless GOGC says otherwise.
type collector struct{ fixed bool }

func newCollector() collector { return collector{fixed: os.Getenv("GOGC") != ""} }

// loading prepares for reading a configuration, the one time when an edge
// holds much for a moment: the tree of a large file is many times its size.
func (c collector) loading() {
	if !c.fixed {
		debug.SetGCPercent(gcLeast)
	}
}

// loaded collects what reading a configuration left behind, gives the memory
// back to the system, and sets the pace by what stays.
func (c collector) loaded() {
	debug.FreeOSMemory()
	if !c.fixed {
		debug.SetGCPercent(pace(liveHeap()))
	}
}

// pace returns the percentage for a live heap of so many bytes.
func pace(live uint64) int {
	return int(max(gcLeast, min(gcMost, gcSpare*100/max(live, 1))))
}

// liveHeap returns the bytes that the last collection found in use.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
