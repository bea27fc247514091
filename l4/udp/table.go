package udp

import "hash/maphash"

// table finds the flows of a lane by their keys. It is a map for what map costs
// when there are many flows: each is touched every ten milliseconds, and what a
// look-up touches has left the processor's near caches by then. An entry has the
// hash, so that the only other memory which a look-up needs is the flow itself,
// whose key lies where the rest of the path of a datagram does. The zero value
// is not ready for use.
type table struct {
	seed    maphash.Seed // of the process's own: clients cannot choose where they come to lie
	entries []entry      // a power of two of them, by linear probing, at most three quarters in use
	n       int
}

type entry struct {
	hash uint64
	flow *Flow // nil: free
}

const leastEntries = 16

func newTable() table {
	return table{seed: maphash.MakeSeed(), entries: make([]entry, leastEntries)}
}

// find returns the flow with the key; nil: there is none.
func (t *table) find(k *key) *Flow {
	h := maphash.Comparable(t.seed, *k)
	for i := t.home(h); ; i = t.next(i) {
		e := &t.entries[i]
		if e.flow == nil || e.hash == h && e.flow.key == *k {
			return e.flow
		}
	}
}

// put lets a flow be found by its key, in place of one that was.
func (t *table) put(f *Flow) {
	if t.n >= len(t.entries)/4*3 {
		t.grow()
	}
	h := maphash.Comparable(t.seed, f.key)
	i := t.home(h)
	for e := &t.entries[i]; e.flow != nil; e = &t.entries[i] {
		if e.hash == h && e.flow.key == f.key {
			e.flow = f
			return
		}
		i = t.next(i)
	}
	t.entries[i] = entry{h, f}
	t.n++
}

// remove takes the flow with the key out, if there is one. What lies behind it
// moves up, so that no look-up meets a gap on its way.
func (t *table) remove(k *key) {
	h := maphash.Comparable(t.seed, *k)
	i := t.home(h)
	for e := &t.entries[i]; e.hash != h || e.flow == nil || e.flow.key != *k; e = &t.entries[i] {
		if e.flow == nil {
			return
		}
		i = t.next(i)
	}
	for j := t.next(i); t.entries[j].flow != nil; j = t.next(j) {
		// An entry may move up to the gap if that does not lie before its home.
		if t.distance(t.home(t.entries[j].hash), j) >= t.distance(i, j) {
			t.entries[i] = t.entries[j]
			i = j
		}
	}
	t.entries[i] = entry{}
	t.n--
}

// all returns the flows, in no order.
func (t *table) all() []*Flow {
	flows := make([]*Flow, 0, t.n)
	for i := range t.entries {
		if f := t.entries[i].flow; f != nil {
			flows = append(flows, f)
		}
	}
	return flows
}

func (t *table) grow() {
	old := t.entries
	t.entries = make([]entry, 2*len(old))
	for _, e := range old {
		if e.flow == nil {
			continue
		}
		i := t.home(e.hash)
		for t.entries[i].flow != nil {
			i = t.next(i)
		}
		t.entries[i] = e
	}
}

func (t *table) home(hash uint64) int { return int(hash & uint64(len(t.entries)-1)) }

func (t *table) next(i int) int { return (i + 1) & (len(t.entries) - 1) }

// distance returns how far it is from one place on to another.
func (t *table) distance(from, to int) int { return (to - from) & (len(t.entries) - 1) }
