package index

import (
	"hash/maphash"
	"slices"
)

// shard is a hash table with open addressing. The table proper is the marks,
// which are small enough to stay in caches: what they lead to lies densely and
// in no order. A shard is written to only until its map is made.
type shard[V any] struct {
	marks   []mark // a power of two of them, never all taken; or none
	entries []entry[V]
}

type entry[V any] struct {
	key   string
	value V
}

// mark is a place of the table: 0, or the index of an entry plus 1, below 16
// bits of its hash.
type mark uint32

const (
	markBits    = 16
	mostEntries = 1<<markBits - 1
)

// tag returns the bits of a hash that marks have.
func tag(h uint64) mark { return mark(h >> 48 << markBits) }

// firstPlace returns the place where the search for a hash begins, before it is
// cut to the size of the table.
func firstPlace(h uint64) uint { return uint(h >> 24) }

// newShard returns one with room for entries.
func newShard[V any](room int) (s shard[V]) {
	if room == 0 {
		return s
	}
	if room > mostEntries {
		panic("BUG: so many keys cannot have hashes that are so alike")
	}
	marks := 2
	for 2*marks < 3*room {
		marks *= 2
	}
	s.marks, s.entries = make([]mark, marks), make([]entry[V], 0, room)
	return s
}

// copied returns a copy with room for more entries.
func (s *shard[V]) copied(seed maphash.Seed, more int) shard[V] {
	c := newShard[V](len(s.entries) + more)
	c.entries = append(c.entries, s.entries...)
	if len(c.marks) == len(s.marks) {
		copy(c.marks, s.marks)
	} else {
		c.mark(seed)
	}
	return c
}

// mark makes the marks of all entries.
func (s *shard[V]) mark(seed maphash.Seed) {
	clear(s.marks)
	for i := range s.entries {
		h := maphash.String(seed, s.entries[i].key)
		at, _ := s.search(h, s.entries[i].key)
		s.marks[at] = tag(h) | mark(i+1)
	}
}

// find returns where the value of a key lies, nil if there is none.
func (s *shard[V]) find(h uint64, key string) *V {
	if len(s.marks) == 0 {
		return nil
	}
	if _, i := s.search(h, key); i >= 0 {
		return &s.entries[i].value
	}
	return nil
}

// search returns the index of a key's entry, and its place in the table; or -1,
// and the place that it would have. There are marks.
func (s *shard[V]) search(h uint64, key string) (at uint, i int) {
	for at = firstPlace(h); ; at++ {
		at &= uint(len(s.marks) - 1)
		m := s.marks[at]
		if m == 0 {
			return at, -1
		}
		if m&^mostEntries == tag(h) {
			if i = int(m&mostEntries) - 1; s.entries[i].key == key {
				return at, i
			}
		}
	}
}

// put sets the value of a key, for which there is room.
func (s *shard[V]) put(h uint64, key string, value V) {
	at, i := s.search(h, key)
	if i >= 0 {
		s.entries[i] = entry[V]{key, value}
		return
	}
	s.entries = append(s.entries, entry[V]{key, value})
	s.marks[at] = tag(h) | mark(len(s.entries))
}

// remove takes a key away, if it is there.
func (s *shard[V]) remove(seed maphash.Seed, h uint64, key string) {
	if _, i := s.search(h, key); i >= 0 {
		s.entries = slices.Delete(s.entries, i, i+1)
		s.mark(seed)
	}
}
