package health

import (
	"log/slog"
	"sync"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// Set is the checkers of an edge. Safe for concurrent use.
type Set struct {
	log    *slog.Logger
	panics *telemetry.Counter
	slots  *slots

	mu       sync.Mutex
	checkers map[string]*checker // by Spec.Key
	closed   bool
}

// NewSet returns a set that checks nothing and counts panics in probes in panics.
// Close must be called in the end.
func NewSet(log *slog.Logger, panics *telemetry.Counter) *Set {
	return &Set{log: log, panics: panics, slots: newSlots(maxProbes), checkers: make(map[string]*checker)}
}

// Use lets the checks be those of specs, whose keys differ. A checker whose
// version is the same goes on, with the new balancer; others are started, and
// those that are not wanted any more are ended before Use returns.
func (s *Set) Use(specs []Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	old := s.checkers
	s.checkers = make(map[string]*checker, len(specs))
	for _, spec := range specs {
		if c := old[spec.Key]; c != nil && c.spec.Version == spec.Version {
			c.balancer.Store(spec.Balancer)
			s.checkers[spec.Key] = c
			delete(old, spec.Key)
		}
	}
	stopAll(old)
	for _, spec := range specs {
		if s.checkers[spec.Key] == nil {
			s.checkers[spec.Key] = startChecker(spec, spec.Probe.Send, s.slots, s.panics, s.log)
		}
	}
}

// Close ends all checks and waits for their end.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	stopAll(s.checkers)
	s.checkers = nil
}

// stopAll tells all checkers to end before it waits for the first.
func stopAll(checkers map[string]*checker) {
	for _, c := range checkers {
		c.cancel()
	}
	for _, c := range checkers {
		c.stop()
	}
}
