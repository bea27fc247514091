package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

const (
	// flightTime bounds all that is done to look a name up once.
	flightTime = 30 * time.Second
	// staleAgain is how soon an answer past its time is to be asked for again
	// while it is being looked up.
	staleAgain = 100 * time.Millisecond
)

// errClosed says that the resolver is not used any more.
var errClosed = errors.New("the resolver is closed")

// Resolver resolves names. It owns the goroutines that do so until Close. Safe
// for concurrent use.
type Resolver struct {
	log       *slog.Logger
	exchanger exchanger
	slots     chan struct{}
	ctx       context.Context // ends with Close
	cancel    context.CancelCauseFunc
	work      sync.WaitGroup // flights, and what they leave under way
	count     *telemetry.NameCounters

	mu     sync.Mutex // guards what follows, and what entries hold
	gen    *generation
	names  *cache[string, *entry]
	closed bool
}

var _ upstream.Resolver = (*Resolver)(nil)

// entry is what is known of a name.
type entry struct {
	answer upstream.Answer // without records: none is known
	stale  int64           // sock.Now until which the answer may be used
	err    error           // why there was no answer the last time
	again  int64           // sock.Now until which that is remembered
	by     queryKey        // what the answer was found by
	number uint64          // of the generation that knew this
	flight *flight         // under way; nil: none
}

// flight is a look-up under way. answer and err are set before done is closed.
type flight struct {
	done   chan struct{}
	answer upstream.Answer
	err    error
}

// New returns a resolver that counts in count.
func New(s *Settings, log *slog.Logger, count *telemetry.NameCounters) *Resolver {
	return newResolver(s, log, count, wire{})
}

func newResolver(s *Settings, log *slog.Logger, count *telemetry.NameCounters, x exchanger) *Resolver {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &Resolver{
		log: log, exchanger: x, ctx: ctx, cancel: cancel, count: count,
		slots: make(chan struct{}, queriesAtOnce),
	}
	r.names = newCache[string](s.CacheNames, (*entry).until)
	r.Configure(s)
	return r
}

// Configure lets names be resolved by other settings from now on. What is known
// is used until it has been asked for anew.
func (r *Resolver) Configure(s *Settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gen != nil && r.gen.settings.equal(s) {
		return
	}
	g := &generation{
		settings: s, exchanger: r.exchanger, slots: r.slots, log: r.log,
		ctx: r.ctx, work: &r.work, panics: &r.count.Panics,
		plan:    newWatched(s.ResolvConf, r.log, func(text string) *plan { return s.plan(parseResolvConf(text)) }),
		hosts:   newWatched(s.Hosts, r.log, parseHosts),
		queries: newCache[queryKey](queriesPerName*s.CacheNames, (*query).until),
	}
	if r.gen != nil {
		g.number = r.gen.number + 1
	}
	r.gen = g
	r.names.limit = s.CacheNames
}

// Close ends what is under way and waits for it. Resolve fails from then on.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel(errClosed)
	r.work.Wait()
}

// Resolve implements upstream.Resolver. An address stands for itself.
func (r *Resolver) Resolve(ctx context.Context, name string) (upstream.Answer, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return upstream.Answer{Records: []upstream.Record{{Addr: a.Unmap(), Weight: 1}}, Expires: 1<<63 - 1}, nil
	}
	name = strings.ToLower(name)
	answer, f, err := r.known(name)
	if f == nil {
		return answer, err
	}
	select {
	case <-f.done:
		return f.answer, f.err
	case <-ctx.Done():
		return upstream.Answer{}, fmt.Errorf("looking up %q: %w", name, context.Cause(ctx))
	}
}

// known returns what is known of a name, or the flight to wait for. It starts
// one if the name is to be asked for anew.
func (r *Resolver) known(name string) (upstream.Answer, *flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return upstream.Answer{}, nil, errClosed
	}
	e := r.names.get(name)
	if e == nil {
		e = &entry{number: r.gen.number}
		r.names.put(name, e)
	}
	now := sock.Now()
	current := e.number == r.gen.number
	there := len(e.answer.Records) > 0
	if current && there && now < e.answer.Expires {
		return e.answer, nil, nil
	}
	usable := there && now < e.stale
	if current && e.err != nil && now < e.again {
		if usable {
			r.count.Stale.Inc()
			return upstream.Answer{Records: e.answer.Records, Expires: e.again}, nil, nil
		}
		r.count.Negative.Inc()
		return upstream.Answer{}, nil, e.err
	}
	if e.flight == nil {
		r.start(name, e)
	}
	if usable {
		r.count.Stale.Inc()
		return upstream.Answer{Records: e.answer.Records, Expires: now + int64(staleAgain)}, nil, nil
	}
	return upstream.Answer{}, e.flight, nil
}

// start looks a name up aside. The caller holds mu.
func (r *Resolver) start(name string, e *entry) {
	g, by := r.gen, e.by
	f := &flight{done: make(chan struct{})}
	e.flight = f
	r.work.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, flightTime)
		defer cancel()
		began := sock.Now()
		o, err := g.lookUp(ctx, name, by)
		r.count.Duration.Observe(time.Duration(sock.Now() - began))
		r.land(name, e, f, g, o, err)
		close(f.done)
	})
}

// land keeps what a flight has found.
func (r *Resolver) land(name string, e *entry, f *flight, g *generation, o outcome, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := sock.Now()
	troubled := e.err != nil && !errors.Is(e.err, errNothing)
	e.flight, e.number, e.err = nil, g.number, nil
	switch {
	case err == nil:
		r.count.Found.Inc()
		f.answer = upstream.Answer{Records: o.records, Expires: o.expires}
		e.answer, e.stale, e.by = f.answer, o.expires+int64(g.settings.Stale), o.by
		if troubled {
			r.log.Info("a name resolves again", "name", name)
		}
		return
	case errors.Is(err, errNothing):
		r.count.NotFound.Inc()
		// Servers say so, and it outweighs what they said before.
		e.answer, e.by, e.again = upstream.Answer{}, queryKey{}, now+int64(g.settings.NotFound)
	default:
		r.count.Failed.Inc()
		e.again = now + int64(g.settings.Error)
		if !troubled && r.ctx.Err() == nil {
			r.log.Warn("looking up a name", "name", name, "error", err.Error(), "stale", now < e.stale && len(e.answer.Records) > 0)
		}
	}
	f.err = fmt.Errorf("%w: %w", upstream.ErrName, err)
	e.err = f.err
}

// until is for the cache. A name with a flight is kept while there are others.
func (e *entry) until() int64 {
	switch {
	case e.flight != nil:
		return 1<<63 - 1
	case len(e.answer.Records) > 0:
		return e.stale
	}
	return e.again
}
