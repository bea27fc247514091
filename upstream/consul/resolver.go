package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/upstream"
)

const (
	// maxWatches bounds the names that are watched at once.
	maxWatches = 1000
	// answerFresh is how soon an answer is to be asked for again. What is known
	// is always at hand, so that costs nothing.
	answerFresh = time.Second
	// idleConnections bounds the connections to the agent that are kept while no
	// question is under way.
	idleConnections = 16
	// maxHeadBytes bounds the head of the agent's answer.
	maxHeadBytes = 64 << 10
)

var errClosed = errors.New("the resolver is closed")

// Settings say where Consul's catalogue is.
type Settings struct {
	Address    *url.URL       // of an agent
	Token      string         // "": none
	Datacenter string         // of names without one; "": the agent's own
	CAs        *x509.CertPool // that the agent's certificate must come from; nil: those of the system
	Wait       time.Duration  // how long the agent may hold a question back
}

// equal reports whether two settings are the same; either may be nil.
func (s *Settings) equal(o *Settings) bool {
	if s == nil || o == nil {
		return s == o
	}
	a, b := *s, *o
	sameCAs := a.CAs.Equal(b.CAs)
	a.CAs, b.CAs = nil, nil
	return sameCAs && reflect.DeepEqual(a, b)
}

// Resolver resolves names of services by Consul and all others by the next
// resolver. It owns the goroutines that watch until Close. Safe for concurrent
// use.
type Resolver struct {
	next      upstream.Resolver
	log       *slog.Logger
	transport func(*Settings) http.RoundTripper // network; tests have others
	ctx       context.Context                   // ends with Close
	cancel    context.CancelFunc
	work      sync.WaitGroup // watches

	mu      sync.Mutex // guards what follows, and what watches hold
	source  *source    // nil: there is no agent
	watches map[service]*watch
	closed  bool
}

var _ upstream.Resolver = (*Resolver)(nil)

// source is an agent as long as the settings stay the same.
type source struct {
	catalogue
	ctx    context.Context // ends when the settings change, and with the resolver
	cancel context.CancelFunc
}

// network returns connections to an agent, which go through no proxy.
func network(s *Settings) http.RoundTripper {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: s.CAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     time.Minute,

		MaxResponseHeaderBytes: maxHeadBytes,
	}
}

// end breaks off what is under way and closes the connections.
func (s *source) end() {
	s.cancel()
	s.client.CloseIdleConnections()
}

// New returns a resolver that knows no agent until Configure is called.
func New(next upstream.Resolver, log *slog.Logger) *Resolver {
	r := &Resolver{next: next, log: log, transport: network, watches: make(map[service]*watch)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Configure lets services be found by another agent from now on; nil: by none.
// What the one before has said counts until the new one has answered.
func (r *Resolver) Configure(s *Settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var old *Settings
	if r.source != nil {
		old = r.source.settings
	}
	if old.equal(s) {
		return
	}
	if r.source != nil {
		r.source.end()
		r.source = nil
	}
	if s == nil {
		return // the watches find that out and end
	}
	client := &http.Client{Transport: r.transport(s), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the token is for the agent alone
	}}
	src := &source{catalogue: catalogue{settings: s, client: client}}
	src.ctx, src.cancel = context.WithCancel(r.ctx)
	r.source = src
}

// Close ends the watches and waits for them. Resolve fails from then on.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	if r.source != nil {
		r.source.end()
	}
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}

// Resolve implements upstream.Resolver.
func (r *Resolver) Resolve(ctx context.Context, name string) (upstream.Answer, error) {
	s, ok := parseName(name)
	if !ok {
		return r.next.Resolve(ctx, name)
	}
	w, err := r.watch(s)
	if w == nil {
		if err == nil {
			return r.next.Resolve(ctx, name)
		}
		return upstream.Answer{}, err
	}
	select {
	case <-w.first:
	case <-ctx.Done():
		return upstream.Answer{}, fmt.Errorf("asking Consul for %q: %w", name, context.Cause(ctx))
	}
	r.mu.Lock()
	list, err := w.list, w.err
	r.mu.Unlock()
	if err != nil {
		return upstream.Answer{}, fmt.Errorf("%w: %w", upstream.ErrName, err)
	}
	return r.answer(ctx, name, list)
}

// watch returns the watch of a service, a new one if it has none. It returns
// nil without an error if there is no agent.
func (r *Resolver) watch(s service) (*watch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.source == nil {
		return nil, nil
	}
	w := r.watches[s]
	if w == nil {
		if len(r.watches) >= maxWatches {
			return nil, fmt.Errorf("%w: %d services are watched already, which is the most", upstream.ErrName, maxWatches)
		}
		w = &watch{service: s, first: make(chan struct{})}
		r.watches[s] = w
		r.work.Go(func() { r.run(w) })
	}
	w.used = sock.Now()
	return w, nil
}

// answer turns instances into an answer. Those that are registered by a host
// name are looked up; they are passed over if that yields nothing while there
// are others.
func (r *Resolver) answer(ctx context.Context, name string, list []instance) (upstream.Answer, error) {
	a := upstream.Answer{Expires: sock.Now() + int64(answerFresh)}
	var errs []error
	for _, in := range list {
		if in.addr.IsValid() {
			a.Records = append(a.Records, upstream.Record{Addr: in.addr, Port: in.port, Weight: in.weight})
			continue
		}
		found, err := r.next.Resolve(ctx, in.host)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a.Expires = min(a.Expires, found.Expires)
		for _, rec := range found.Records {
			a.Records = append(a.Records, upstream.Record{Addr: rec.Addr, Port: in.port, Weight: in.weight})
		}
	}
	if len(a.Records) > 0 {
		a.Records = merge(a.Records)
		return a, nil
	}
	if len(errs) > 0 {
		return upstream.Answer{}, errors.Join(errs...)
	}
	return upstream.Answer{}, fmt.Errorf("%w: Consul knows no instance of %q whose checks pass", upstream.ErrName, name)
}

// merge brings records into a stable order and makes one of those with the same
// address and port, which has the weight of all: the hosts of several instances
// may be names of one address.
func merge(list []upstream.Record) []upstream.Record {
	slices.SortFunc(list, func(a, b upstream.Record) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port))
	})
	out := list[:0]
	for _, rec := range list {
		if n := len(out); n > 0 && out[n-1].Addr == rec.Addr && out[n-1].Port == rec.Port {
			out[n-1].Weight += rec.Weight
			continue
		}
		out = append(out, rec)
	}
	return out
}
