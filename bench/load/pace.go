package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pacer says when the next request is due. next is called by every worker at
// once; it blocks until a request is due and returns the moment from which its
// latency counts, or false when there is none left.
type pacer interface {
	next() (due time.Time, ok bool)
	// stop lets no further request begin and returns how many were due and
	// will not be sent. It may be called more than once.
	stop() (unsent int64)
}

var (
	_ pacer = (*closedLoop)(nil)
	_ pacer = (*openLoop)(nil)
)

// closedLoop hands out requests at once until their number or time is up.
type closedLoop struct {
	end     time.Time // Zero: no limit.
	limit   int64     // 0: no limit.
	issued  atomic.Int64
	stopped atomic.Bool
}

func (p *closedLoop) next() (time.Time, bool) {
	now := time.Now()
	if p.stopped.Load() || !p.end.IsZero() && !now.Before(p.end) {
		return time.Time{}, false
	}
	if p.limit > 0 && p.issued.Add(1) > p.limit {
		return time.Time{}, false
	}
	return now, true
}

func (p *closedLoop) stop() int64 {
	p.stopped.Store(true)
	return 0
}

// openLoop hands out request k at start + k/rate. The clock goroutine, in run,
// raises released; workers raise taken up to it. The requests between the two
// are late; they are a number, not a queue, so a stalled server costs no
// memory.
type openLoop struct {
	start time.Time
	rate  float64
	limit int64 // Number of requests in all.

	mu       sync.Mutex
	due      sync.Cond
	released int64
	taken    int64
	unsent   int64
	ended    bool
}

func newOpenLoop(start time.Time, rate float64, limit int64) *openLoop {
	p := &openLoop{start: start, rate: rate, limit: limit}
	p.due.L = &p.mu
	return p
}

// moment is when request k should be sent.
func (p *openLoop) moment(k int64) time.Time {
	return p.start.Add(time.Duration(float64(k) / p.rate * float64(time.Second)))
}

func (p *openLoop) next() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.taken == p.released {
		if p.ended {
			return time.Time{}, false
		}
		p.due.Wait()
	}
	k := p.taken
	p.taken++
	return p.moment(k), true
}

func (p *openLoop) stop() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended || p.taken < p.released {
		p.unsent += p.released - p.taken
		p.taken = p.released
		p.ended = true
		p.due.Broadcast()
	}
	return p.unsent
}

// release makes the first n requests due and reports whether there are more to
// come.
func (p *openLoop) release(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	n = min(n, p.limit)
	for k := p.released; k < n && k-p.released < maxWakes; k++ {
		p.due.Signal()
	}
	p.released = max(p.released, n)
	if p.released == p.limit {
		p.ended = true
		p.due.Broadcast()
	}
	return !p.ended
}

const (
	// maxWakes bounds how many workers one release wakes; those beyond find
	// their request when they are done with their present one.
	maxWakes = MaxConnections
	// maxNap bounds one sleep of the clock, so that it sees the end of ctx.
	maxNap = 10 * time.Millisecond
)

// run releases requests on time until all are out or ctx ends. It sleeps by
// clock_nanosleep on its own thread: the Go runtime's timers wake up to a
// millisecond late, which would count as latency.
func (p *openLoop) run(ctx context.Context) error {
	// Never unlocked: the thread ends with the goroutine, as its timer slack
	// is no longer the default.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("setting the timer slack: %w", err)
	}
	for ctx.Err() == nil {
		elapsed := time.Since(p.start)
		n := int64(elapsed.Seconds()*p.rate) + 1
		if elapsed < 0 {
			n = 0
		}
		if !p.release(n) {
			return nil
		}
		nap := min(time.Until(p.moment(n)), maxNap)
		if nap <= 0 {
			continue
		}
		ts := unix.NsecToTimespec(nap.Nanoseconds())
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleeping: %w", err)
		}
	}
	return nil
}
