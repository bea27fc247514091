package consul

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// unusedTime is how long a service is watched after it was asked for.
	unusedTime = 10 * time.Minute
	// firstPause and lastPause bound the waits after errors, which double, less
	// a random part of up to a half.
	firstPause = time.Second
	lastPause  = time.Minute
	// changePause is the least time between two questions about a service, in
	// case its answers do not wait.
	changePause = 100 * time.Millisecond
)

// watch follows one service. The resolver's mu guards the fields below.
type watch struct {
	service service
	first   chan struct{} // closed when there is an answer or an error

	list    []instance // last good answer
	known   bool       // there was one
	err     error      // why there was none yet
	trouble bool       // the last question had no good answer
	used    int64      // sock.Now when it was asked for last
}

// run watches until nobody asks any more or there is no agent.
func (r *Resolver) run(w *watch) {
	var index uint64
	var from *source
	pause := time.Duration(0)
	for {
		src := r.wanted(w)
		if src == nil {
			return
		}
		if src != from {
			from, index, pause = src, 0, 0
		}
		list, newer, err := src.ask(src.ctx, w.service, index)
		if src.ctx.Err() != nil {
			continue // other settings, or the end
		}
		r.store(w, list, err)
		wait := changePause
		if err != nil {
			index = 0
			pause = min(max(firstPause, 2*pause), lastPause)
			wait = pause - rand.N(pause/2)
		} else {
			pause = 0
			if newer < index {
				newer = 0 // the agent has begun anew
			}
			index = newer
			if index == 0 {
				wait = firstPause // answers at once
			}
		}
		sleep(src.ctx, wait)
	}
}

// wanted returns the agent to ask, or nil after it has ended the watch.
func (r *Resolver) wanted(w *watch) *source {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.source != nil && sock.Now()-w.used < int64(unusedTime) {
		return r.source
	}
	delete(r.watches, w.service)
	if !w.known && w.err == nil {
		w.err = errClosed
		close(w.first)
	}
	return nil
}

// store keeps what the agent has said. An error takes nothing away.
func (r *Resolver) store(w *watch, list []instance, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := w.known || w.err != nil
	switch {
	case err == nil:
		w.list, w.known, w.err = list, true, nil
	case !w.known:
		w.err = err
	}
	switch {
	case err != nil && !w.trouble:
		r.log.Warn("asking Consul for a service", "service", w.service.name, "error", err.Error(), "stale", w.known)
	case err == nil && w.trouble:
		r.log.Info("Consul answers for a service again", "service", w.service.name)
	}
	w.trouble = err != nil
	if !begun {
		close(w.first)
	}
}

// sleep waits until the time is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
