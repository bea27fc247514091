package waf

import (
	"runtime"
	"time"
)

const (
	smallBody = 8 << 10         // bytes; bodies up to it take no turn
	turnWait  = 5 * time.Second // for a turn
)

// turns bound how many larger bodies are inspected at once: as many as there are
// processors, so that the rules leave time for what else the process does.
type turns struct {
	taken chan struct{}
	wait  time.Duration
}

func newTurns() *turns {
	return &turns{taken: make(chan struct{}, runtime.GOMAXPROCS(0)), wait: turnWait}
}

// take waits for a turn, which done ends. It reports false if none came.
func (t *turns) take() bool {
	select {
	case t.taken <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(t.wait)
	defer timer.Stop()
	select {
	case t.taken <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

func (t *turns) done() { <-t.taken }
