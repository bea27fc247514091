package issuer

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// Bounds on what is done at once, and how often.
const (
	maxOrders    = 8                // under way at a time
	orderBurst   = 10               // that may begin at once
	orderPause   = time.Second      // between further ones
	lookInterval = 10 * time.Minute // between two looks at what is stored for a name
	longestPause = 6 * time.Hour    // after failures
	loadTime     = time.Minute      // to read what is stored when terms begin to hold
)

// Options are what an Issuer is made of.
type Options struct {
	Product string // for authorities, such as "bulwark/1.2"
	Log     *slog.Logger
}

// Issuer has certificates for names, and gets new ones in time. Safe for
// concurrent use.
type Issuer struct {
	Counts Counts

	product string
	log     *slog.Logger
	proofs  *proofs
	names   sync.Map // string to *subject
	wake    chan struct{}
	asking  *asking

	set atomic.Pointer[settings]

	mu       sync.Mutex
	subjects map[string]*subject // as in names; guards their fields too
	cas      map[string]*authority
	tokens   float64 // orders that may begin
	filled   time.Time
	demanded int // subjects that a client asked for
}

// settings are what Use was given.
type settings struct {
	records store.Records
	terms   []*Terms
}

// subject is a name and what is known of it. Its fields but held and used are
// guarded by Issuer.mu.
type subject struct {
	name  string
	terms *Terms
	held  atomic.Pointer[held] // nil: there is none yet
	used  atomic.Bool          // a client has had it since it was ordered

	demand  bool      // it is here because a client asked
	asked   bool      // whether it may be ordered was asked, and no order has ended since
	next    time.Time // when it is looked at
	working bool
	state   State
	err     string // of the last try; empty after one that went well
	errAt   time.Time
	renewal renewal
	done    chan struct{} // closed when a look has ended; nil: nobody waits
}

// New returns an issuer without names.
func New(o Options) *Issuer {
	return &Issuer{
		product: o.Product, log: o.Log, proofs: newProofs(), wake: make(chan struct{}, 1), asking: newAsking(o.Product),
		subjects: make(map[string]*subject), cas: make(map[string]*authority), tokens: orderBurst, filled: time.Now(),
	}
}

// Use makes terms hold from now on, in place of those before. A name stands on
// the first that have it. What is stored is read before it returns, so that
// handshakes find it; what is missing or due is ordered by Run. With no terms
// records may be nil.
func (i *Issuer) Use(ctx context.Context, records store.Records, terms []Terms) {
	set := &settings{records: records}
	for t := range terms {
		set.terms = append(set.terms, &terms[t])
	}
	before := i.set.Swap(set)
	i.mu.Lock()
	fresh := i.arrange(set, before != nil && before.records == records)
	i.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	for _, s := range fresh {
		h, err := load(ctx, records, s.name)
		if err != nil {
			i.log.Error("reading a stored certificate", "name", s.name, "error", err.Error())
		}
		if h != nil {
			s.held.Store(h)
		}
		i.names.Store(s.name, s)
	}
	i.nudge()
}

// arrange makes the set of names that which the terms name, and returns those
// that are new. The caller holds mu.
func (i *Issuer) arrange(set *settings, same bool) (fresh []*subject) {
	wanted := make(map[string]bool)
	cas := make(map[string]*authority)
	for _, t := range set.terms {
		for _, ca := range t.CAs {
			cas[caKey(ca)] = i.authorityOf(ca)
		}
		for _, name := range t.Names {
			if wanted[name] {
				continue
			}
			wanted[name] = true
			s := i.subjects[name]
			if s == nil || !same {
				s = &subject{name: name}
				i.subjects[name] = s
				fresh = append(fresh, s)
			}
			s.terms, s.demand = t, false
			s.next, s.renewal = time.Time{}, renewal{} // a reload looks at once
		}
	}
	i.demanded = 0
	for name, s := range i.subjects {
		if wanted[name] {
			continue
		}
		if t := set.demandOf(name); t != nil && s.demand && same {
			s.terms = t
			i.demanded++
			continue
		}
		delete(i.subjects, name)
		i.names.Delete(name)
	}
	for key, ca := range i.cas {
		if cas[key] == nil {
			ca.transport.CloseIdleConnections()
		}
	}
	i.cas = cas
	return fresh
}

// demandOf returns the first terms that would order a name because a client asks.
func (s *settings) demandOf(name string) *Terms {
	for _, t := range s.terms {
		if t.Demand.wants(name) {
			return t
		}
	}
	return nil
}

// caKey tells authorities apart that are reached in another way.
func caKey(ca CA) string {
	return strings.Join([]string{ca.Directory, ca.EABKeyID, ca.EABKey, ca.Roots, ca.Chain}, "\n")
}

// authorityOf returns how a CA is reached: as before, if nothing has changed. The
// caller holds mu.
func (i *Issuer) authorityOf(ca CA) *authority {
	if old := i.cas[caKey(ca)]; old != nil && old.CA == ca {
		return old
	}
	return newAuthority(ca, i.product)
}

// place returns where records are; nil if there are no terms.
func (i *Issuer) place() store.Records {
	if set := i.set.Load(); set != nil && len(set.terms) > 0 {
		return set.records
	}
	return nil
}

// nudge has Run look at once.
func (i *Issuer) nudge() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Run orders what is due, until ctx ends. It returns when all orders under way
// have ended.
func (i *Issuer) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.wake:
		case <-rest.C:
		}
		for _, s := range i.due(time.Now()) {
			work.Go(func() { i.look(ctx, s) })
		}
		rest.Reset(i.untilNext(time.Now()))
	}
}

// due returns the names whose time has come, as many as may be worked at, and
// marks them so.
func (i *Issuer) due(now time.Time) (due []*subject) {
	i.mu.Lock()
	defer i.mu.Unlock()
	room := maxOrders
	for _, s := range i.subjects {
		if s.working {
			room--
		}
	}
	for _, s := range i.subjects {
		if room <= 0 {
			break
		}
		if !s.working && !now.Before(s.next) {
			s.working = true
			due = append(due, s)
			room--
		}
	}
	return due
}

// untilNext returns how long nothing is due. Who ends a look wakes Run.
func (i *Issuer) untilNext(now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	wait := lookInterval
	for _, s := range i.subjects {
		if !s.working {
			wait = min(wait, s.next.Sub(now))
		}
	}
	return max(wait, 10*time.Millisecond)
}

// mayOrder takes one of the orders that may begin at the moment, or returns when
// there will be one.
func (i *Issuer) mayOrder(now time.Time) (at time.Time, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens = min(orderBurst, i.tokens+float64(now.Sub(i.filled))/float64(orderPause))
	i.filled = now
	if i.tokens < 1 {
		return now.Add(orderPause), false
	}
	i.tokens--
	return now, true
}
