// Package index is a map of which a change copies a small part. Versions of it
// share the rest, so that a configuration of thousands of entities changes at
// the cost of the change. It is no cache: nothing is evicted.
package index

import (
	"hash/maphash"
	"iter"
	"maps"
	"math/bits"
)

// Map is an immutable map, safe for concurrent use. Its entries lie in shards,
// plain maps of which versions share those that are the same. The zero value
// is empty.
type Map[V any] struct {
	seed   maphash.Seed
	shards []map[string]V // a power of two of them, or none
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
	perShard     = 32
	mostPerShard = 128
)

// Len returns the number of entries.
func (m *Map[V]) Len() int { return m.len }

// Get returns the value of a key.
func (m *Map[V]) Get(key string) (value V, ok bool) {
	if m.len == 0 {
		return value, false
	}
	value, ok = m.shards[m.shardOf(key)][key]
	return value, ok
}

// All yields the entries, in no order.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, shard := range m.shards {
			for key, value := range shard {
				if !yield(key, value) {
					return
				}
			}
		}
	}
}

// With returns a map in which the changes were made, one after the other. It
// copies the shards in which they lie.
func (m *Map[V]) With(changes []Change[V]) Map[V] {
	if len(changes) == 0 {
		return *m
	}
	w := Map[V]{seed: m.seed, len: m.len}
	own := []bool{} // the shards that are no others' yet
	if most := m.len + len(changes); most > mostPerShard*len(m.shards) {
		w.layOut(m, most)
	} else {
		w.shards, own = append(w.shards, m.shards...), make([]bool, len(m.shards))
	}
	for i := range changes {
		c := &changes[i]
		at := w.shardOf(c.Key)
		if len(own) > 0 && !own[at] {
			w.shards[at], own[at] = maps.Clone(w.shards[at]), true
		}
		shard := w.shards[at]
		before := len(shard)
		if c.Gone {
			delete(shard, c.Key)
		} else {
			shard[c.Key] = c.Value
		}
		w.len += len(shard) - before
	}
	return w
}

// layOut makes shards for most entries and copies those of m into them.
func (m *Map[V]) layOut(old *Map[V], most int) {
	m.seed = maphash.MakeSeed()
	m.shards = make([]map[string]V, 1<<bits.Len(uint((most-1)/perShard)))
	for i := range m.shards {
		m.shards[i] = make(map[string]V, most/len(m.shards))
	}
	for key, value := range old.All() {
		m.shards[m.shardOf(key)][key] = value
	}
}

func (m *Map[V]) shardOf(key string) int {
	return int(maphash.String(m.seed, key) & uint64(len(m.shards)-1))
}
