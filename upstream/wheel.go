package upstream

import (
	"math"
	"slices"
	"sync/atomic"
)

// wheel is what a balancer picks from: the endpoints at present, laid out for
// its algorithm. It is immutable but for the verdict, which is a cache; a copy
// that differs in until shares it.
type wheel struct {
	endpoints []*Endpoint
	weight    float64     // of all endpoints
	turns     []*Endpoint // the order in which they are used, over and over; the endpoints themselves unless RoundRobin
	ring      *ring       // of ConsistentHashing, else nil

	err error // why there are no endpoints

	records map[string][]Record // what it was made of; never written to
	adopted bool                // records are the balancer's before, and names may be missing

	verdict *atomic.Uint64 // see down; nil without endpoints
}

// arrange lays the endpoints out.
func (w *wheel) arrange(spec *Spec) {
	if len(w.endpoints) == 0 {
		w.err = ErrNoEndpoint
		return
	}
	weights := make([]float64, len(w.endpoints))
	for i, e := range w.endpoints {
		weights[i] = e.weight
		w.weight += e.weight
	}
	w.turns, w.verdict = w.endpoints, new(atomic.Uint64)
	switch spec.Algorithm {
	case RoundRobin:
		w.turns = spread(w.endpoints, weights)
	case ConsistentHashing:
		w.ring = newRing(w.endpoints, spec.Slots)
	}
}

// The bits of wheel.verdict below the count of changes it was made at.
const (
	verdictKnown uint64 = 1 << iota
	verdictDown
	verdictBits = iota
)

// down reports whether too little of the weight is healthy to send anything.
// It is worked out anew after each change of an endpoint's health.
func (w *wheel) down(threshold float64, changes uint32) bool {
	v := w.verdict.Load()
	if v&verdictKnown != 0 && uint32(v>>verdictBits) == changes {
		return v&verdictDown != 0
	}
	v = uint64(changes)<<verdictBits | verdictKnown
	healthy := 0.0
	for _, e := range w.endpoints {
		if e.Healthy() {
			healthy += e.weight
		}
	}
	if healthy*100 <= threshold*w.weight {
		v |= verdictDown
	}
	w.verdict.Store(v)
	return v&verdictDown != 0
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
