package stream

import (
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
)

func TestSparing(t *testing.T) {
	s := new(sparing)
	for i, step := range []struct {
		now      time.Duration
		reason   l4.Reason
		n        int // streams
		lines    int // of them
		unlogged uint64
	}{
		{time.Second, l4.ReasonNoRoute, linesPerSecond, linesPerSecond, 0},
		{time.Second, l4.ReasonNoRoute, 1000, 0, 0},
		{time.Second, l4.ReasonRefused, 3, 3, 0}, // which has lines of its own
		{time.Second + 200*time.Millisecond, l4.ReasonNoRoute, 5, 2, 1000},
		{time.Hour, l4.ReasonNoRoute, 1, 1, 3},
		{time.Hour, l4.ReasonNoRoute, linesPerSecond, linesPerSecond - 1, 0},
	} {
		lines, unlogged := 0, uint64(0)
		for range step.n {
			n, ok := s.line(step.reason, int64(step.now))
			unlogged += n
			if ok {
				lines++
			}
		}
		if lines != step.lines || unlogged != step.unlogged {
			t.Errorf("step %d: %d lines that tell of %d others, want %d and %d", i, lines, unlogged, step.lines, step.unlogged)
		}
	}
}

// TestSparingConcurrent lets several loops have lines at once: none is lost from
// the count.
func TestSparingConcurrent(t *testing.T) {
	const loops, each = 8, 10_000
	s := new(sparing)
	var mu sync.Mutex
	told := uint64(0)
	var work sync.WaitGroup
	for range loops {
		work.Go(func() {
			for now := range int64(each) {
				if n, ok := s.line(l4.ReasonNoRoute, now*int64(time.Millisecond)); ok {
					mu.Lock()
					told += 1 + n
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	if n := told + s.kinds[l4.ReasonNoRoute].unlogged.Load(); n != loops*each {
		t.Errorf("%d streams are told of, want %d", n, loops*each)
	}
}
