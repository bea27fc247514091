package l7

import (
	"math"
	"slices"
)

// placeGap is what lies between two routes of a router that was made whole, so
// that others can be declared between them later.
const placeGap = 1 << 32

// wholeShare is the part of the routes that a change must touch for the router
// to be made whole: then that is as fast, and nothing of the old one is kept.
const wholeShare = 4

// With returns the router of the routes, compiled by r's flavour: r itself if
// they are r's in the same order. Routes are the same if their pointers are.
// What they have in common is shared and not compiled again, so that it costs
// little more than what differs. The slice is the router's from then on. r
// stays as it is and in use. The error is as NewFlavoredRouter's.
func (r *Router) With(routes []*Route) (*Router, error) {
	if slices.Equal(routes, r.routes) {
		return r, nil
	}
	d := r.difference(routes)
	if len(d.added)+len(d.gone) > len(routes)/wholeShare || !place(d.places, d.added) {
		return newRouter(r.flavor, routes, r.patterns)
	}
	n := &Router{
		flavor: r.flavor, routes: routes, places: d.places, patterns: r.patterns, expressions: r.expressions, hosts: r.hosts,
	}
	if err := n.edit(d.added, d.gone); err != nil {
		return nil, err
	}
	return n, nil
}

// difference is how the routes of one router become those of another. A route
// that moved to an earlier place is gone, and added.
type difference struct {
	places []uint64 // of the new routes; 0 of those that are added
	added  []int    // indexes into the new routes
	gone   []*Route
}

func (r *Router) difference(routes []*Route) difference {
	d := difference{places: make([]uint64, len(routes))}
	from := 0
	for from < min(len(routes), len(r.routes)) && routes[from] == r.routes[from] {
		from++
	}
	end, oldEnd := len(routes), len(r.routes)
	for end > from && oldEnd > from && routes[end-1] == r.routes[oldEnd-1] {
		end, oldEnd = end-1, oldEnd-1
	}
	copy(d.places, r.places[:from])
	copy(d.places[end:], r.places[oldEnd:])
	at := make(map[*Route]int, oldEnd-from)
	for i := from; i < oldEnd; i++ {
		at[r.routes[i]] = i
	}
	next := from // the first of the old routes that may follow
	for i := from; i < end; i++ {
		if old, ok := at[routes[i]]; ok && old >= next {
			d.places[i], next = r.places[old], old+1
			delete(at, routes[i])
			continue
		}
		d.added = append(d.added, i)
	}
	for _, route := range r.routes[from:oldEnd] {
		if _, gone := at[route]; gone {
			d.gone = append(d.gone, route)
		}
	}
	return d
}

// place gives those that are added, which are in order, places between their
// neighbours'. It returns false if there is no room for them.
func place(places []uint64, added []int) bool {
	for len(added) > 0 {
		first, count := added[0], 1
		for count < len(added) && added[count] == first+count {
			count++
		}
		var before uint64
		if first > 0 {
			before = places[first-1]
		}
		step := min(placeGap, (math.MaxUint64-before)/uint64(count))
		if next := first + count; next < len(places) {
			step = (places[next] - before) / uint64(count+1)
		}
		if step == 0 {
			return false
		}
		for i := range count {
			places[first+i] = before + uint64(i+1)*step
		}
		added = added[count:]
	}
	return true
}
