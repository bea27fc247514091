package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// Bounds on handshakes that wait for an order.
const (
	demandWait   = 8 * time.Second // how long one waits; the order goes on
	maxWaiting   = 256             // of them at once; further ones fail
	askTimeout   = 5 * time.Second
	refusedKept  = time.Minute // how long a refusal of a name is remembered
	maxRefused   = 10000       // such names; all are forgotten above
	maxAskAnswer = 4 << 10     // bytes
)

var (
	errNotYet  = errors.New("there is no certificate for it yet")
	errTooMany = errors.New("too many names were asked for lately, or are held")
)

// GetCertificate returns the certificate for a client, nil if its name is none of
// ours. A client that names no server gets the one of the address it has come to.
// For a name that may be ordered on demand it waits for the order.
func (i *Issuer) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if name == "" {
		name = localAddress(hello.Conn)
	}
	if s := i.find(name); s != nil {
		if h := s.held.Load(); h != nil {
			if !s.used.Load() {
				s.used.Store(true)
			}
			return &h.pair, nil
		}
	}
	set := i.set.Load()
	if set == nil || set.demandOf(name) == nil {
		return nil, nil
	}
	h, err := i.demand(hello.Context(), set, name)
	if err != nil || h == nil {
		return nil, err
	}
	return &h.pair, nil
}

// find returns the subject of a name, or that of its wildcard.
func (i *Issuer) find(name string) *subject {
	if v, ok := i.names.Load(name); ok {
		s := v.(*subject)
		if s.held.Load() != nil {
			return s
		}
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if v, ok := i.names.Load("*." + parent); ok {
			return v.(*subject)
		}
	}
	return nil
}

// localAddress returns the address that a client has come to, as the name of a
// certificate.
func localAddress(c net.Conn) string {
	if c == nil {
		return ""
	}
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return ""
	}
	return at.Addr().Unmap().WithZone("").String()
}

// demand orders a name because a client asks for it, and waits.
func (i *Issuer) demand(ctx context.Context, set *settings, name string) (*held, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	t := set.demandOf(name)
	if !i.asking.enter() {
		return nil, fmt.Errorf("waiting for a certificate for %q: %w", name, errTooMany)
	}
	defer i.asking.leave()
	ctx, cancel := context.WithTimeout(ctx, demandWait)
	defer cancel()
	s, done := i.demanding(name)
	if s == nil {
		if err := i.admit(ctx, set, t, name); err != nil {
			if errors.Is(err, errRefused) {
				return nil, nil // as any name that is none of ours
			}
			return nil, fmt.Errorf("ordering a certificate for %q: %w", name, err)
		}
		s, done = i.demanding(name)
	}
	if s == nil {
		return nil, nil // a reload has taken the name away
	}
	i.nudge()
	if h := s.held.Load(); h != nil {
		s.used.Store(true)
		return h, nil
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	if h := s.held.Load(); h != nil {
		s.used.Store(true)
		return h, nil
	}
	return nil, fmt.Errorf("ordering a certificate for %q: %w", name, errNotYet)
}

// demanding returns a subject that exists, and what is closed when its next look
// has ended.
func (i *Issuer) demanding(name string) (*subject, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.subjects[name]
	if s == nil {
		return nil, nil
	}
	if s.held.Load() == nil {
		s.used.Store(true) // so it is not forgotten
	}
	if s.state == Failing && !s.working && time.Now().Before(s.next) {
		closed := make(chan struct{})
		close(closed)
		return s, closed // its pause is not shortened by clients
	}
	if s.done == nil {
		s.done = make(chan struct{})
	}
	return s, s.done
}

// admit makes a name one of ours, if it is allowed and there is room.
func (i *Issuer) admit(ctx context.Context, set *settings, t *Terms, name string) error {
	if i.asking.refused(name, time.Now()) {
		return errRefused
	}
	i.mu.Lock()
	full := i.demanded >= t.Demand.Most
	i.mu.Unlock()
	if full {
		return errTooMany
	}
	h, err := load(ctx, set.records, name) // what is stored was allowed once, and is nothing new
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if h != nil && !time.Now().Before(h.leaf.NotAfter) {
		h = nil
	}
	if h == nil && !i.asking.take(t.Demand.PerMinute, time.Now()) {
		return errTooMany
	}
	if h == nil && t.Demand.Ask != "" {
		if err := i.asking.ask(ctx, t.Demand.Ask, name); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set.Load() != set || i.subjects[name] != nil {
		return nil
	}
	if i.demanded >= t.Demand.Most { // others were faster
		return errTooMany
	}
	s := &subject{name: name, terms: t, demand: true, asked: h == nil}
	s.held.Store(h)
	s.used.Store(true)
	i.subjects[name] = s
	i.names.Store(name, s)
	i.demanded++
	return nil
}

// asking bounds what clients make us ask for.
type asking struct {
	product string
	waiting chan struct{}
	client  *http.Client

	mu     sync.Mutex
	no     map[string]time.Time // until when a name stays refused
	tokens float64
	filled time.Time
}

func newAsking(product string) *asking {
	return &asking{
		product: product, waiting: make(chan struct{}, maxWaiting), no: make(map[string]time.Time), tokens: 1,
		client: &http.Client{
			Timeout:       askTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (a *asking) enter() bool {
	select {
	case a.waiting <- struct{}{}:
		return true
	default:
		return false
	}
}

func (a *asking) leave() { <-a.waiting }

// take takes one of so many new names a minute, as many of which may come at once.
func (a *asking) take(perMinute int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := float64(perMinute)
	if a.filled.IsZero() {
		a.tokens = most
	} else {
		a.tokens = min(most, a.tokens+now.Sub(a.filled).Minutes()*most)
	}
	a.filled = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

func (a *asking) refused(name string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.no[name])
}

func (a *asking) refuse(name string, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.no) >= maxRefused {
		clear(a.no)
	}
	a.no[name] = until
}

var errRefused = errors.New("it may not be ordered")

// ask asks whether a name may be ordered: 200 is yes, any other answer no.
func (a *asking) ask(ctx context.Context, where, name string) error {
	u, err := url.Parse(where)
	if err != nil {
		return fmt.Errorf("asking whether it may be ordered: %w", err)
	}
	q := u.Query()
	q.Set("domain", name)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("asking whether it may be ordered: %w", err)
	}
	req.Header.Set("User-Agent", a.product)
	res, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking whether it may be ordered: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxAskAnswer) // so that the connection is kept
	if res.StatusCode != http.StatusOK {
		a.refuse(name, time.Now().Add(refusedKept))
		return errRefused
	}
	return nil
}
