package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// What the look-ups of a balancer's names are held to. How long an answer is
// good for is the resolver's to say.
const (
	lookupError   = time.Second     // a name without an answer is asked for again after this
	lookupTimeout = 5 * time.Second // one look-up of all names of a balancer
	lookupsAtOnce = 16              // names of one balancer that are asked for at the same time
)

// ErrName says that a name has no address at present.
var ErrName = errors.New("name resolution failed")

// SetResolver lets names be resolved by r from now on. It must outlive the set.
func (s *Set) SetResolver(r Resolver) { s.resolver.Store(&r) }

// resolve asks the set's resolver.
func (s *Set) resolve(ctx context.Context, name string) (Answer, error) {
	r := s.resolver.Load()
	if r == nil {
		return Answer{}, fmt.Errorf("%w: no resolver has been set", ErrName)
	}
	return (*r).Resolve(ctx, name)
}

// lookup is a balancer's way to the addresses of its names.
type lookup struct {
	mu    sync.Mutex
	ready chan struct{} // closed when the look-up under way is done; nil: none is

	until atomic.Int64 // sock.Now when the names of the wheel, if there is one, are to be looked up again
}

// known returns what is known of the names from a wheel of the balancer before.
func (b *Balancer) known(old *wheel) map[string][]Record {
	records := make(map[string][]Record)
	for _, name := range b.hostNames() {
		if r := old.records[name]; r != nil {
			records[name] = r
		}
	}
	return records
}

// resolved returns a wheel with addresses in it. While there is an old one it
// is used, and looked up anew aside; only without one does the caller wait.
func (b *Balancer) resolved(w *wheel) *wheel {
	now := sock.Now()
	if w != nil && now < b.until.Load() {
		return w
	}
	ready := b.refresh(now)
	if w != nil && len(w.turns) > 0 {
		return w
	}
	if ready != nil {
		<-ready
	}
	return b.wheel.Load()
}

// Pending returns a channel that is closed once something is known of the names
// of the targets, so that PickNow can pick; nil if something is.
func (b *Balancer) Pending() <-chan struct{} {
	if !b.named {
		return nil
	}
	w, now := b.wheel.Load(), sock.Now()
	if w != nil && (len(w.turns) > 0 || now < b.until.Load()) {
		return nil
	}
	return b.refresh(now)
}

// PickNow is Pick for those who must not wait. While nothing is known of the
// names of the targets the error is ErrName.
func (b *Balancer) PickNow(c *Choice) (*Endpoint, error) {
	w := b.wheel.Load()
	if now := sock.Now(); b.named && (w == nil || now >= b.until.Load()) {
		b.refresh(now)
	}
	switch {
	case w == nil:
		return nil, ErrName
	case len(w.endpoints) == 1 && !b.guarded:
		return w.endpoints[0], nil
	}
	return b.pick(w, c, false)
}

// refresh starts a look-up unless one is under way or was done just now, and
// returns what tells its end.
func (b *Balancer) refresh(now int64) <-chan struct{} {
	b.lookup.mu.Lock()
	defer b.lookup.mu.Unlock()
	if b.ready != nil {
		return b.ready
	}
	if b.wheel.Load() != nil && now < b.until.Load() {
		return nil
	}
	ready := make(chan struct{})
	b.ready = ready
	b.set.work.Go(func() {
		b.lookUp(b.wheel.Load())
		b.lookup.mu.Lock()
		b.ready = nil
		b.lookup.mu.Unlock()
		close(ready)
	})
	return ready
}

// lookUp asks for every name and lays out the wheel anew, unless the answers are
// the same as before.
func (b *Balancer) lookUp(old *wheel) {
	ctx, cancel := context.WithTimeout(b.set.ctx, lookupTimeout)
	defer cancel()
	var had map[string][]Record
	if old != nil {
		had = old.records
	}
	records, until, err := b.ask(ctx, had)
	defer b.until.Store(until) // after the wheel, which until then is passed over
	if old != nil && !old.adopted && len(old.turns) > 0 && maps.EqualFunc(records, had, slices.Equal) {
		return
	}
	w := b.build(records, old)
	if err != nil && len(w.turns) == 0 {
		w.err = fmt.Errorf("%w: %w", ErrName, err)
	}
	b.wheel.Store(w)
}

// ask returns what the names stand for, and when to ask again. A name that has
// no address is left out. One for which nothing could be learnt keeps what it
// had: trouble on the way to an answer takes nothing away.
func (b *Balancer) ask(ctx context.Context, had map[string][]Record) (records map[string][]Record, until int64, err error) {
	names := b.hostNames()
	answers := make([]Answer, len(names))
	errs := make([]error, len(names))
	free := make(chan struct{}, lookupsAtOnce)
	var asking sync.WaitGroup
	for i, name := range names {
		free <- struct{}{}
		asking.Go(func() {
			answers[i], errs[i] = b.set.resolve(ctx, name)
			<-free
		})
	}
	asking.Wait()

	now := sock.Now()
	records = make(map[string][]Record, len(names))
	until = never
	for i, name := range names {
		switch {
		case errs[i] == nil:
			records[name] = answers[i].Records
			until = min(until, answers[i].Expires)
			continue
		case !errors.Is(errs[i], ErrName) && had[name] != nil:
			records[name] = had[name]
		}
		until = min(until, now+int64(lookupError))
	}
	return records, until, errors.Join(errs...)
}

// never is a time that does not come.
const never = 1<<63 - 1

// hostNames returns the names among the targets that have a weight, each once.
func (b *Balancer) hostNames() []string {
	var names []string
	seen := make(map[string]bool)
	for _, t := range b.targets {
		if isName(t) && !seen[t.Host] {
			seen[t.Host] = true
			names = append(names, t.Host)
		}
	}
	return names
}

// isName reports whether a target must be looked up.
func isName(t Target) bool {
	_, err := netip.ParseAddr(t.Host)
	return err != nil && t.Weight > 0
}
