package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Why there is no endpoint to pick.
var (
	ErrNoEndpoint = errors.New("no endpoint")                        // no target has a weight
	ErrUnhealthy  = fmt.Errorf("%w: too few healthy", ErrNoEndpoint) // the checks have found too little healthy weight
	ErrOverLimit  = errors.New("every endpoint is at its limit")     // node.resilience.breaker
)

// Algorithm is how a balancer picks endpoints.
type Algorithm uint8

// The algorithms.
const (
	RoundRobin Algorithm = iota
	LeastConnections
	ConsistentHashing
	Latency
	algorithmCount
)

var algorithmNames = [algorithmCount]string{
	RoundRobin:        "round-robin",
	LeastConnections:  "least-connections",
	ConsistentHashing: "consistent-hashing",
	Latency:           "latency",
}

// String returns the name in Kong's upstreams[].algorithm.
func (a Algorithm) String() string { return algorithmNames[a] }

// ParseAlgorithm returns the algorithm of a name.
func ParseAlgorithm(name string) (Algorithm, bool) {
	for a, n := range algorithmNames {
		if n == name {
			return Algorithm(a), true
		}
	}
	return 0, false
}

// Target is a host and port to send to, with its share of the traffic.
type Target struct {
	Host   string // name or address
	Port   uint16
	Weight int // 0: no traffic
}

// String returns host:port.
func (t Target) String() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// Spec is what a balancer is made of.
type Spec struct {
	Targets    []Target
	Algorithm  Algorithm
	Slots      int  // size of the ring of ConsistentHashing; 0: defaultSlots
	UseSRVName bool // the name in an SRV record takes the place of the target's
	Checks     Checks
	Resilience Resilience
}

// Choice is what a pick depends on. The zero value, and nil, are a first try
// without anything to hash.
type Choice struct {
	// Tried, if not nil, tells which addresses have failed this request
	// already: they are passed over while there are others.
	Tried  func(netip.AddrPort) bool
	Hash   uint32 // what ConsistentHashing goes by
	Hashed bool   // Hash is set
}

// Balancer spreads requests over the endpoints of some targets. Safe for
// concurrent use.
type Balancer struct {
	spec    Spec
	targets []Target
	set     *Set
	named   bool // some target is a name
	counts  bool // tries under way are counted
	guarded bool // a pick is more than a choice by weight: counts, checks or budgets take part

	// Shared with the balancers of the same upstream in other snapshots.
	loads   *registry[load]
	healths *registry[health]
	budget  *retryBudget // nil: retries are not bounded
	hedges  *retryBudget // nil: there are none

	next  atomic.Uint32
	wheel atomic.Pointer[wheel]
	lookup
}

// NewBalancer returns a balancer. prev, which may be nil, is the one that served
// the same upstream before: it is returned itself if it is of the same making,
// and what it knows of its endpoints is adopted. Their health is adopted only
// while the checks stay as they are, as in Kong.
func NewBalancer(s *Set, spec Spec, prev *Balancer) *Balancer {
	if prev != nil && prev.set != s {
		prev = nil
	}
	if prev != nil && reflect.DeepEqual(prev.spec, spec) {
		return prev
	}
	b := &Balancer{spec: spec, targets: spec.Targets, set: s}
	b.counts = spec.Algorithm == LeastConnections || spec.Resilience.Connections > 0
	old := b.adopt(prev)
	b.guarded = b.loaded() || spec.Checks.On || b.budget != nil
	b.named = slices.ContainsFunc(b.targets, isName)
	switch {
	case !b.named:
		b.wheel.Store(b.build(nil, old))
	case old != nil:
		// Nobody waits for a look-up after a change as long as something is
		// known: the first pick starts it aside.
		if w := b.build(b.known(old), old); len(w.endpoints) > 0 {
			w.adopted = true
			b.until.Store(sock.Now())
			b.wheel.Store(w)
		}
	}
	return b
}

// adopt takes over what prev knows, and returns its wheel, nil if there is none.
func (b *Balancer) adopt(prev *Balancer) *wheel {
	b.loads, b.healths = new(registry[load]), new(registry[health])
	b.budget = newRetryBudget(b.spec.Resilience.Retry)
	b.hedges = newHedgeBudget(b.spec.Resilience.Hedge, sock.Now())
	if prev == nil {
		return nil
	}
	b.loads = prev.loads
	if b.spec.Checks == prev.spec.Checks {
		b.healths = prev.healths
	}
	if b.spec.Resilience.Retry == prev.spec.Resilience.Retry {
		b.budget = prev.budget
	}
	if b.spec.Resilience.Hedge == prev.spec.Resilience.Hedge {
		b.hedges = prev.hedges
	}
	return prev.wheel.Load()
}

// see notes that the endpoints of a wheel, which may be nil, are in use.
func (b *Balancer) see(w *wheel, now int64) {
	if w == nil {
		return
	}
	for _, e := range w.endpoints {
		key := stateKey{e.Target.String(), e.Addr}
		b.loads.see(key, now)
		b.healths.see(key, now)
	}
}

// loaded reports whether anything is known of an endpoint's load.
func (b *Balancer) loaded() bool {
	return b.counts || b.spec.Algorithm == Latency || b.spec.Resilience.Pending > 0
}

// Pick chooses an endpoint and counts a try in, which must be ended by the
// endpoint's End. The error wraps ErrNoEndpoint, ErrOverLimit or ErrName.
func (b *Balancer) Pick(c *Choice) (*Endpoint, error) {
	w := b.wheel.Load()
	if b.named {
		w = b.resolved(w)
	}
	if len(w.endpoints) == 1 && !b.guarded {
		return w.endpoints[0], nil
	}
	return b.pick(w, c, false)
}

// Endpoints returns what the targets stand for at present. It does not wait:
// names that are to be looked up are, aside, and have no endpoints until then.
func (b *Balancer) Endpoints() []*Endpoint {
	w := b.wheel.Load()
	if now := sock.Now(); b.named && (w == nil || now >= b.until.Load()) {
		b.refresh(now)
	}
	if w == nil {
		return nil
	}
	return w.endpoints
}

// build lays out the wheel. records holds what the targets that are names stand
// for; a name's weight is split over its records. old is the wheel that served
// up to now, of this balancer or the one before, which may be nil.
func (b *Balancer) build(records map[string][]Record, old *wheel) *wheel {
	now := sock.Now()
	w := &wheel{records: records}
	for _, t := range b.targets {
		if t.Weight <= 0 {
			continue
		}
		found := records[t.Host]
		if a, err := netip.ParseAddr(t.Host); err == nil {
			found = []Record{{Addr: a, Weight: 1}}
		}
		found, sum := merge(found, t.Port)
		for _, r := range found {
			share := float64(t.Weight) * float64(r.Weight) / float64(sum)
			w.endpoints = append(w.endpoints, b.endpoint(t, r, share, now))
		}
	}
	b.see(old, now)
	if b.loaded() {
		b.loads.prune(now, (*load).busy)
	}
	if b.spec.Checks.On {
		b.healths.prune(now, nil)
	}
	w.arrange(&b.spec)
	return w
}

// merge makes one of the records of the same address and port, and returns the
// sum of all weights. What is bounded or counted by address must not be there
// twice.
func merge(records []Record, port uint16) (merged []Record, sum int) {
	at := make(map[netip.AddrPort]int, len(records))
	for _, r := range records {
		r.Addr, r.Weight = r.Addr.Unmap(), max(r.Weight, 1)
		if r.Port == 0 {
			r.Port = port
		}
		sum += r.Weight
		place := netip.AddrPortFrom(r.Addr, r.Port)
		if i, ok := at[place]; ok {
			merged[i].Weight += r.Weight
			continue
		}
		at[place] = len(merged)
		merged = append(merged, r)
	}
	return merged, sum
}
