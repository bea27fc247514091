package peer

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

const (
	// maxKnownPaths and maxPathBytes bound the chains whose paths are known.
	maxKnownPaths, maxPathBytes = 4096, 32 << 20
	// maxKnownCRLs and maxKnownCRLBytes bound the lists that were fetched.
	maxKnownCRLs, maxKnownCRLBytes = 1024, 64 << 20
	// maxKnownAnswers bounds the answers of OCSP.
	maxKnownAnswers = 16384
	// maxFlights bounds the questions that wait or are under way.
	maxFlights = 256
	// tick is how often Run looks what is due.
	tick = 5 * time.Second
)

// Settings are what a Revocation is made of.
type Settings struct {
	Log *slog.Logger // nil: nothing is logged
}

// Revocation is what the verifiers of a process share: verified paths, CRLs and
// OCSP answers, each within bounds. It is made once and outlives reloads. It is
// safe for concurrent use.
type Revocation struct {
	log        *slog.Logger
	now        func() time.Time
	fetch      *fetcher
	paths      *lru[[sha256.Size]byte, []*path]
	crls       *lru[crlKey, *fetchedCRL]
	answers    *lru[answerKey, *knownAnswer]
	generation atomic.Uint64
	changed    chan struct{} // holds one when generation has changed since it was taken
	counts     counts

	// Questions to servers run in goroutines that end with life; work waits
	// for them.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[any]*flight // by crlKey or answerKey

	filesMu sync.Mutex // held while a file is read
	files   map[string]weak.Pointer[crlSource]
}

// flight is a question under way.
type flight struct{ done chan struct{} }

// NewRevocation returns a Revocation. It asks nobody for anything until a
// Verifier wants to know; Run keeps what it knows fresh, Close ends it.
func NewRevocation(s Settings) *Revocation {
	r := &Revocation{
		log: s.Log, now: time.Now,
		paths:   newLRU[[sha256.Size]byte, []*path](maxKnownPaths, maxPathBytes),
		crls:    newLRU[crlKey, *fetchedCRL](maxKnownCRLs, maxKnownCRLBytes),
		answers: newLRU[answerKey, *knownAnswer](maxKnownAnswers, maxKnownAnswers),
		flights: make(map[any]*flight),
		changed: make(chan struct{}, 1),
		files:   make(map[string]weak.Pointer[crlSource]),
	}
	r.fetch = newFetcher(func() time.Time { return r.now() })
	r.SetAllow(nil)
	r.life, r.end = context.WithCancel(context.Background())
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Generation counts the changes of lists, and of answers that were good and are so
// no longer.
func (r *Revocation) Generation() uint64 { return r.generation.Load() }

// Changed tells, to one receiver, that Generation has changed since it was told
// last.
func (r *Revocation) Changed() <-chan struct{} { return r.changed }

func (r *Revocation) change() {
	r.generation.Add(1)
	select {
	case r.changed <- struct{}{}:
	default: // it has not been taken yet
	}
}

// SetAllow lets servers be asked at addresses of this machine and its link. All
// loopback, link-local, multicast and unspecified ones but those are refused,
// since it is a certificate that names the server. Private ones are never
// refused: that is where the servers of private CAs are. It counts from the next
// question on.
func (r *Revocation) SetAllow(list []netip.Prefix) {
	list = slices.Clone(list)
	r.fetch.allow.Store(&list)
}

// Run fetches lists that are in use again before their time is over, and reads
// files again that have changed, until ctx ends.
func (r *Revocation) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.refresh()
		}
	}
}

// refresh does what is due.
func (r *Revocation) refresh() {
	r.refreshFiles()
	now := r.now()
	for _, known := range r.crls.all() {
		if known.list != nil && known.due(now) && now.Sub(known.used()) < unusedCRL {
			r.fetchCRL(known.key, known, refreshTimeout)
		}
	}
}

// Close ends all questions under way, and waits for them. Verifiers tell only
// what is known already from then on.
func (r *Revocation) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.work.Wait()
	r.fetch.client.CloseIdleConnections()
}

// start lets ask run on a goroutine of its own, unless a question of the same key
// is under way, and returns what closes when it has ended. It returns nil if
// there are too many, or if r is closed. ask must give up when its context does.
func (r *Revocation) start(key any, timeout time.Duration, ask func(context.Context)) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[key]; f != nil {
		return f.done
	}
	if r.closed || len(r.flights) >= maxFlights {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	r.flights[key] = f
	r.work.Go(func() {
		ctx, cancel := context.WithTimeout(r.life, timeout)
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				r.counts.panics.Inc()
				r.log.Error("panic while asking about revocation", "panic", v)
			}
			r.mu.Lock()
			delete(r.flights, key)
			r.mu.Unlock()
			close(f.done)
		}()
		ask(ctx)
	})
	return f.done
}

// await waits for a question and reports whether it has ended before ctx did.
func await(ctx context.Context, done <-chan struct{}) error {
	if done == nil {
		return fault(Busy, "%d questions are under way, or the process is ending", maxFlights)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault(TimedOut, "nobody has answered in time")
	}
}
