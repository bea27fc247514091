package upstream

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// defaultSlots is the size of a ring for which none is given.
const defaultSlots = 10000

// pointsPerEndpoint is how many points of a ring an endpoint of average weight
// has, give or take a half: enough for shares to differ by a tenth or so.
const pointsPerEndpoint = 160

// ring maps hashes to endpoints so that an endpoint that comes or goes moves
// only its own share. It is immutable.
//
// Each endpoint has points by its weight, each at the slot of its hash. A slot
// belongs to its point, or else to the next one on the ring. Of points on the
// same slot the one of the lowest hash has it, whatever order they came in.
type ring struct {
	first  []uint32    // by slot: the index of the point it belongs to
	points []*Endpoint // by slot, ascending
}

func newRing(endpoints []*Endpoint, slots int) *ring {
	if slots <= 0 {
		slots = defaultSlots
	}
	type point struct {
		slot, hash uint32
		key        string
		e          *Endpoint
	}
	perWeight := pointsPerWeight(endpoints, slots)
	var points []point
	var text []byte
	for _, e := range endpoints {
		key := e.Target.String() + " " + e.Addr.String() + " "
		for i := range pointCount(e.weight, perWeight) {
			text = strconv.AppendInt(append(text[:0], key...), int64(i), 10)
			h := Hash(text)
			points = append(points, point{h % uint32(slots), h, key, e})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.hash, b.hash), cmp.Compare(a.key, b.key))
	})
	points = slices.CompactFunc(points, func(a, b point) bool { return a.slot == b.slot })
	r := &ring{first: make([]uint32, slots), points: make([]*Endpoint, len(points))}
	slot := 0
	for i, p := range points {
		r.points[i] = p.e
		for ; slot <= int(p.slot); slot++ {
			r.first[slot] = uint32(i)
		}
	}
	// What lies behind the last point belongs to the first one, index 0.
	return r
}

func pointCount(weight, perWeight float64) int { return max(1, int(math.Round(weight*perWeight))) }

// pointsPerWeight returns the points for a weight of 1. It is a power of two:
// one that followed the average weight closely would move points of all
// endpoints whenever one comes or goes. There are at most a few times as many
// points as slots, since more would only hide each other.
func pointsPerWeight(endpoints []*Endpoint, slots int) float64 {
	sum := 0.0
	for _, e := range endpoints {
		sum += e.weight
	}
	n := float64(len(endpoints))
	per := math.Exp2(math.Round(math.Log2(pointsPerEndpoint * n / sum)))
	for per*sum > max(4*float64(slots), 2*n) {
		per /= 2
	}
	return per
}
