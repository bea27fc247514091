package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow further between two collections than Go's
// default: the live heap of an edge is small, and most of what it allocates,
// one string per head, dies at once. See docs/adr/0003.
const gcPercent = 400

// tuneGC sets the collector's pace, unless GOGC says otherwise.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
