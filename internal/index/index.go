// Package index is a map of which a change copies a small part. Versions of it
// share the rest, so that a configuration of thousands of entities changes at
// the cost of the change. It is no cache: nothing is evicted.
package index

import (
	"hash/maphash"
	"iter"
	"slices"
)

// Map is an immutable map, safe for concurrent use. Its entries lie in shards,
// of which versions share those that are the same. The zero value is empty.
//
// An entry holds its value, not a pointer to one, and only small marks lead to
// it: looking up a key that is there reads one entry and the key's bytes from
// memory that caches need not hold.
type Map[V any] struct {
	seed   maphash.Seed
	shards []shard[V] // a power of two of them, or none
	len    int
}

// Change is a key and its new value, or a key that goes.
type Change[V any] struct {
	Key   string
	Value V
	Gone  bool
}

// perShard is how many entries a shard has when the shards are laid out anew.
// That happens when there are mostPerShard of them to a shard.
const (
	perShard     = 64
	mostPerShard = 256
)

// Len returns the number of entries.
func (m *Map[V]) Len() int { return m.len }

// Get returns the value of a key.
func (m *Map[V]) Get(key string) (value V, ok bool) {
	if v := m.Find(key); v != nil {
		return *v, true
	}
	return value, false
}

// Find returns where the value of a key lies, nil if there is none. It is not
// to be written to.
func (m *Map[V]) Find(key string) *V {
	if m.len == 0 {
		return nil
	}
	return m.find(key)
}

func (m *Map[V]) find(key string) *V {
	h := maphash.String(m.seed, key)
	return m.shardOf(h).find(h, key)
}

// All yields the entries, in no order.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for i := range m.shards {
			for _, e := range m.shards[i].entries {
				if !yield(e.key, e.value) {
					return
				}
			}
		}
	}
}

// With returns a map in which the changes were made, one after the other. It
// copies the shards in which they lie. A key is from then on the string that
// the last change of it came with.
func (m *Map[V]) With(changes []Change[V]) Map[V] {
	if len(changes) == 0 {
		return *m
	}
	w := Map[V]{seed: m.seed}
	if most := m.len + len(changes); most > mostPerShard*len(m.shards) {
		w.layOut(m, changes)
	} else {
		w.copyShards(m, changes)
	}
	w.len = m.len
	for i := range changes {
		c := &changes[i]
		h := maphash.String(w.seed, c.Key)
		s := w.shardOf(h)
		before := len(s.entries)
		if c.Gone {
			s.remove(w.seed, h, c.Key)
		} else {
			s.put(h, c.Key, c.Value)
		}
		w.len += len(s.entries) - before
	}
	return w
}

// layOut makes shards with room for the changes, and puts what is in old there.
func (m *Map[V]) layOut(old *Map[V], changes []Change[V]) {
	m.seed = maphash.MakeSeed()
	count := 1
	for count*perShard < old.len+len(changes) {
		count *= 2
	}
	m.shards = make([]shard[V], count)
	room := make([]int, count)
	for key := range old.All() {
		room[m.place(maphash.String(m.seed, key))]++
	}
	for i := range changes {
		room[m.place(maphash.String(m.seed, changes[i].Key))]++
	}
	for i := range m.shards {
		m.shards[i] = newShard[V](room[i])
	}
	for key, value := range old.All() {
		h := maphash.String(m.seed, key)
		m.shardOf(h).put(h, key, value)
	}
}

// copyShards takes the shards of old, and copies those that change, with room
// for the changes.
func (m *Map[V]) copyShards(old *Map[V], changes []Change[V]) {
	m.shards = slices.Clone(old.shards)
	room := make([]int, len(m.shards))
	for i := range changes {
		room[m.place(maphash.String(m.seed, changes[i].Key))]++
	}
	for i, more := range room {
		if more > 0 {
			m.shards[i] = m.shards[i].copied(m.seed, more)
		}
	}
}

// place returns the index of a hash's shard, of which there are some.
func (m *Map[V]) place(h uint64) int { return int(h & uint64(len(m.shards)-1)) }

func (m *Map[V]) shardOf(h uint64) *shard[V] { return &m.shards[m.place(h)] }
