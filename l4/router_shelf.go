package l4

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// shelf holds the ranks of the rules for one server name. Each is in one place:
// under the ports of its destinations if all of them have one, else under its
// sources' addresses, else under its destinations', else among the rest.
//
// An address leads to the longest range that contains it, and that holds the
// ranks of all ranges around it too.
type shelf struct {
	lowest        int32
	byPort        map[uint16][]int32
	bySource      *bart.Table[[]int32]
	byDestination *bart.Table[[]int32]
	rest          []int32
	filled        bool
}

// add puts a rule on the shelf. Ranks come in ascending order.
func (s *shelf) add(u *rule, rank int32) {
	if !s.filled {
		s.lowest, s.filled = rank, true
	}
	switch {
	case u.expression != nil || u.protocols == 0:
		s.rest = append(s.rest, rank)
	case u.destinations.allPorts():
		if s.byPort == nil {
			s.byPort = make(map[uint16][]int32)
		}
		for _, one := range u.destinations.list {
			s.byPort[uint16(one.port)] = appendRank(s.byPort[uint16(one.port)], rank)
		}
	case u.sources.allAddresses():
		s.bySource = insertRank(s.bySource, u.sources.list, rank)
	case u.destinations.allAddresses():
		s.byDestination = insertRank(s.byDestination, u.destinations.list, rank)
	default:
		s.rest = append(s.rest, rank)
	}
}

// appendRank appends a rank unless it is the last one already.
func appendRank(list []int32, rank int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == rank {
		return list
	}
	return append(list, rank)
}

func insertRank(t *bart.Table[[]int32], list []end, rank int32) *bart.Table[[]int32] {
	if t == nil {
		t = new(bart.Table[[]int32])
	}
	for _, one := range list {
		ranks, _ := t.Get(one.prefix)
		t.Insert(one.prefix, appendRank(ranks, rank))
	}
	return t
}

// finish hands the ranks of each range on to those within it. It is called once,
// after the last rule.
func (s *shelf) finish() {
	if !s.filled {
		s.lowest = noRank
	}
	spread(s.bySource)
	spread(s.byDestination)
}

func spread(t *bart.Table[[]int32]) {
	if t == nil {
		return
	}
	whole := make(map[netip.Prefix][]int32)
	for p := range t.All() {
		var ranks []int32
		for _, more := range t.Supernets(p) { // p itself among them
			ranks = append(ranks, more...)
		}
		slices.Sort(ranks)
		whole[p] = slices.Compact(ranks)
	}
	for p, ranks := range whole {
		t.Insert(p, ranks)
	}
}
