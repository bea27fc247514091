package upstream

import (
	"math/rand/v2"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Bounds of a pick.
const (
	maxSkips = 64 // turns, or points of the ring, that are passed over in search of a fit endpoint
	maxGrabs = 8  // endpoints that others take to their limit while we look
)

// picking is one search for an endpoint. It lives on Pick's stack.
type picking struct {
	b     *Balancer
	w     *wheel
	c     Choice
	now   int64 // sock.Now; 0 where nothing depends on the time
	retry bool  // tried endpoints are better than none
	hedge bool  // and here they are not: one of them is being tried
	full  bool  // and so are those that are opening as many connections as they may
}

func (b *Balancer) pick(w *wheel, c *Choice, hedge bool) (*Endpoint, error) {
	p := picking{b: b, w: w, hedge: hedge}
	if c != nil {
		p.c = *c
	}
	if len(w.endpoints) == 0 {
		return nil, w.err
	}
	if b.spec.Checks.On && w.down(b.spec.Checks.Threshold, b.healths.changes.Load()) {
		return nil, ErrUnhealthy
	}
	if b.spec.Algorithm == Latency || b.spec.Resilience.SlowStart > 0 {
		p.now = sock.Now()
	}
	if p.c.Tried == nil {
		b.deposit()
	}
	return p.find()
}

// find returns a fit endpoint. With none below its bound of connections being
// opened one at that bound will do, since a try may need no new one, and with
// all tried already, one of these.
func (p *picking) find() (*Endpoint, error) {
	e := p.search()
	if e == nil && p.c.Tried != nil && !p.hedge {
		p.retry, p.full = true, false
		e = p.search()
	}
	if e != nil {
		return e, nil
	}
	for _, e := range p.w.endpoints {
		if e.Healthy() {
			return nil, ErrOverLimit
		}
	}
	return nil, ErrUnhealthy
}

func (p *picking) search() *Endpoint {
	e := p.choose()
	if e == nil && p.b.spec.Resilience.Pending > 0 {
		p.full = true
		e = p.choose()
	}
	return e
}

// choose returns a fit endpoint by the algorithm. Where it finds none quickly,
// and of tried ones, any fit one will do. So does it for a hedge that would take
// a turn: those come when it is another endpoint's turn, and with two endpoints
// all requests would go to the slow one.
func (p *picking) choose() *Endpoint {
	if p.retry || p.hedge && p.b.spec.Algorithm == RoundRobin {
		return p.byScore(p.any)
	}
	var e *Endpoint
	switch p.b.spec.Algorithm {
	case RoundRobin:
		e = p.byTurn()
	case LeastConnections:
		e = p.byScore(p.leastConnections)
	case Latency:
		e = p.byScore(p.leastLatency)
	case ConsistentHashing:
		if p.c.Hashed {
			e = p.onRing()
		}
	}
	if e == nil {
		e = p.byScore(p.any)
	}
	return e
}

// byScore takes what choose chooses. Another exchange may take that to its limit
// in between; then it chooses again.
func (p *picking) byScore(choose func() *Endpoint) *Endpoint {
	for range maxGrabs {
		e := choose()
		if e == nil || p.take(e) {
			return e
		}
	}
	return nil
}

// byTurn takes the next fit turn of the wheel. Turns that are passed over are
// used up, so that the others share them by their weights.
func (p *picking) byTurn() *Endpoint {
	turns := p.w.turns
	n := uint32(len(turns))
	for range min(n, maxSkips) {
		e := turns[(p.b.next.Add(1)-1)%n]
		if p.fit(e) && p.ready(e) && p.take(e) {
			return e
		}
	}
	return nil
}

// leastConnections returns the fit endpoint of which the next try takes the
// smallest part of its weight.
func (p *picking) leastConnections() *Endpoint {
	var best *Endpoint
	var least float64
	all := p.w.endpoints
	start := rand.IntN(len(all)) // so that of equal ones each has its turn
	for i := range all {
		e := all[(start+i)%len(all)]
		if !p.fit(e) {
			continue
		}
		score := float64(e.load.open.Load()+1) / (e.weight * p.ramp(e))
		if best == nil || score < least {
			best, least = e, score
		}
	}
	return best
}

// leastLatency compares two fit endpoints, so that not all requests go to the
// one that was fastest just now.
func (p *picking) leastLatency() *Endpoint {
	one := p.someFit(nil)
	if one == nil {
		return nil
	}
	other := p.someFit(one)
	if other == nil {
		return one
	}
	weight, otherWeight := one.weight*p.ramp(one), other.weight*p.ramp(other)
	latency, otherLatency := one.load.ewma.read(p.now), other.load.ewma.read(p.now)
	if latency == 0 || otherLatency == 0 { // one is not measured yet
		latency, otherLatency = rand.Float64(), rand.Float64()
	}
	if otherLatency/otherWeight < latency/weight {
		return other
	}
	return one
}

// someFit returns a fit endpoint other than but.
func (p *picking) someFit(but *Endpoint) *Endpoint {
	all := p.w.endpoints
	start := rand.IntN(len(all))
	for i := range all {
		if e := all[(start+i)%len(all)]; e != but && p.fit(e) {
			return e
		}
	}
	return nil
}

// onRing takes the first fit endpoint from the hash's slot on.
func (p *picking) onRing() *Endpoint {
	r := p.w.ring
	at := int(r.first[p.c.Hash%uint32(len(r.first))])
	for i := range min(len(r.points), maxSkips) {
		e := r.points[(at+i)%len(r.points)]
		if p.fit(e) && p.ramp(e) > unit(p.c.Hash) && p.take(e) {
			return e
		}
	}
	return nil
}

// any returns a fit endpoint by weight: at random, or by the hash, so that what
// has the same hash stays together.
func (p *picking) any() *Endpoint {
	sum := 0.0
	for _, e := range p.w.endpoints {
		if p.fit(e) {
			sum += e.weight * p.ramp(e)
		}
	}
	left := rand.Float64()
	if p.c.Hashed {
		left = unit(p.c.Hash)
	}
	left *= sum
	var last *Endpoint
	for _, e := range p.w.endpoints {
		if !p.fit(e) {
			continue
		}
		last = e
		if left -= e.weight * p.ramp(e); left < 0 {
			break
		}
	}
	return last
}

// fit reports whether an endpoint may be picked.
func (p *picking) fit(e *Endpoint) bool {
	if e.health != nil && !e.health.healthy() {
		return false
	}
	if r := &p.b.spec.Resilience; r.bounds() {
		if r.Connections > 0 && e.load.open.Load() >= int64(r.Connections) ||
			r.Pending > 0 && !p.full && e.load.pending.Load() >= int64(r.Pending) {
			return false
		}
	}
	return p.c.Tried == nil || p.retry || !p.c.Tried(e.Addr)
}

// take counts a try in, unless the endpoint is at its limit by now.
func (p *picking) take(e *Endpoint) bool {
	if !p.b.counts {
		return true
	}
	open := e.load.open.Add(1)
	if most := p.b.spec.Resilience.Connections; most > 0 && open > int64(most) {
		e.load.open.Add(-1)
		return false
	}
	return true
}

// unit makes a number in [0, 1) of a hash, other than by its place on the ring.
func unit(hash uint32) float64 {
	return float64(hash*2654435769) / (1 << 32) // Knuth's multiplicative hash
}
