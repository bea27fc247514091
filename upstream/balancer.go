package upstream

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// ErrNoEndpoint says that an upstream has no target with a weight.
var ErrNoEndpoint = errors.New("no endpoint")

// Target is a host and port to send to, with its share of the traffic.
type Target struct {
	Host   string // name or address
	Port   uint16
	Weight int // 0: no traffic
}

// Endpoint is one address of a target.
type Endpoint struct {
	Addr   netip.AddrPort
	Target Target

	set   *Set
	plain *Pool
	host  [2]string // the Host field for http and https
}

// Pool returns the endpoint's pool for an identity, which is nil for
// plaintext. serverName is the SNI; "" means the target's host.
func (e *Endpoint) Pool(id *Identity, serverName string) *Pool {
	if id == nil {
		return e.plain
	}
	if serverName == "" {
		serverName = e.Target.Host
	}
	return e.set.pool(e.Addr, id, serverName)
}

// Host returns the Host field for the endpoint's target: its name, with the
// port unless it is the scheme's own.
func (e *Endpoint) Host(https bool) string {
	if https {
		return e.host[1]
	}
	return e.host[0]
}

// Balancer spreads requests over the endpoints of some targets by weighted
// round-robin. Safe for concurrent use.
type Balancer struct {
	key     string
	targets []Target
	set     *Set
	names   bool // some target is a name

	next  atomic.Uint32
	wheel atomic.Pointer[wheel]
	lookup
}

// wheel is the order in which endpoints are used, over and over.
type wheel struct {
	turns []*Endpoint
	until int64 // sock.Now when names are to be looked up again; 0: never
	err   error // why there are no turns
}

// NewBalancer returns a balancer over targets. prev is one that may be adopted:
// if it has the same targets in the same set it is returned itself.
func NewBalancer(s *Set, targets []Target, prev *Balancer) *Balancer {
	key := balancerKey(targets)
	if prev != nil && prev.key == key && prev.set == s {
		return prev
	}
	b := &Balancer{key: key, targets: targets, set: s}
	for _, t := range targets {
		if _, err := netip.ParseAddr(t.Host); err != nil && t.Weight > 0 {
			b.names = true
		}
	}
	if !b.names {
		b.wheel.Store(b.build(nil))
	}
	return b
}

func balancerKey(targets []Target) string {
	var k strings.Builder
	for _, t := range targets {
		fmt.Fprintf(&k, "%s %d %d\n", t.Host, t.Port, t.Weight)
	}
	return k.String()
}

// Pick returns the next endpoint. tried, if not nil, tells which addresses have
// failed this request already: they are passed over while there are others.
func (b *Balancer) Pick(tried func(netip.AddrPort) bool) (*Endpoint, error) {
	w := b.wheel.Load()
	if b.names {
		w = b.resolved(w)
	}
	n := uint32(len(w.turns))
	switch n {
	case 0:
		return nil, w.err
	case 1:
		return w.turns[0], nil
	}
	at := b.next.Add(1) - 1
	e := w.turns[at%n]
	if tried == nil || !tried(e.Addr) {
		return e, nil
	}
	for i := uint32(1); i < n; i++ {
		if other := w.turns[(at+i)%n]; !tried(other.Addr) {
			return other, nil
		}
	}
	return e, nil
}

// build lays out the wheel. addrs holds the addresses of the targets that are
// names; a name's weight is split over its addresses.
func (b *Balancer) build(addrs map[string][]netip.Addr) *wheel {
	var endpoints []*Endpoint
	var weights []float64
	for _, t := range b.targets {
		if t.Weight <= 0 {
			continue
		}
		ips := addrs[t.Host]
		if a, err := netip.ParseAddr(t.Host); err == nil {
			ips = []netip.Addr{a}
		}
		for _, ip := range ips {
			endpoints = append(endpoints, b.endpoint(ip, t))
			weights = append(weights, float64(t.Weight)/float64(len(ips)))
		}
	}
	if len(endpoints) == 0 {
		return &wheel{err: ErrNoEndpoint}
	}
	return &wheel{turns: spread(endpoints, weights)}
}

func (b *Balancer) endpoint(ip netip.Addr, t Target) *Endpoint {
	addr := netip.AddrPortFrom(ip.Unmap(), t.Port)
	name := t.Host
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	withPort := name + ":" + strconv.Itoa(int(t.Port))
	e := &Endpoint{Addr: addr, Target: t, set: b.set, plain: b.set.pool(addr, nil, ""), host: [2]string{withPort, withPort}}
	switch t.Port {
	case 80:
		e.host[0] = name
	case 443:
		e.host[1] = name
	}
	return e
}

// maxTurns bounds a wheel. Weights whose ratio needs more turns are rounded.
const maxTurns = 1 << 14

// spread lays the endpoints out so that each has turns by its weight, at even
// distances.
func spread(endpoints []*Endpoint, weights []float64) []*Endpoint {
	type turn struct {
		at float64
		e  *Endpoint
	}
	scale := turnsPerWeight(weights)
	var turns []turn
	for i, e := range endpoints {
		n := max(1, int(math.Round(weights[i]*scale)))
		for k := range n {
			turns = append(turns, turn{(float64(k) + 0.5) / float64(n), e})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	order := make([]*Endpoint, len(turns))
	for i := range turns {
		order[i] = turns[i].e
	}
	return order
}

// turnsPerWeight returns the factor that makes whole turns of weights: their
// greatest common divisor where they have one, else what fills the wheel.
func turnsPerWeight(weights []float64) float64 {
	sum, div := 0.0, 0
	for _, w := range weights {
		sum += w
		if w != math.Trunc(w) {
			div = 1
			continue
		}
		div = gcd(div, int(w))
	}
	scale := 1 / float64(div)
	if whole := slices.IndexFunc(weights, func(w float64) bool { return w != math.Trunc(w) }) < 0; !whole {
		equal := slices.Max(weights) == slices.Min(weights)
		if equal {
			return 1 / weights[0]
		}
		scale = min(maxTurns/sum, 16)
	}
	return min(scale, maxTurns/sum)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
