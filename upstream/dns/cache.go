package dns

// evictSample is how many entries are looked at when one must go.
const evictSample = 8

// cache is a map with a bound. When it is full, the one of a few random entries
// goes that would be first to. It is guarded by its owner's lock.
type cache[K comparable, V any] struct {
	limit   int
	entries map[K]V
	until   func(V) int64 // sock.Now at which an entry is of no use any more
}

func newCache[K comparable, V any](limit int, until func(V) int64) *cache[K, V] {
	return &cache[K, V]{limit: limit, entries: make(map[K]V), until: until}
}

func (c *cache[K, V]) get(k K) V { return c.entries[k] }

func (c *cache[K, V]) put(k K, v V) {
	if _, there := c.entries[k]; !there && len(c.entries) >= c.limit {
		c.evict()
	}
	c.entries[k] = v
}

// evict relies on the random order of maps.
func (c *cache[K, V]) evict() {
	var first K
	left, earliest := evictSample, int64(1<<63-1)
	for k, v := range c.entries {
		if u := c.until(v); left == evictSample || u < earliest {
			first, earliest = k, u
		}
		if left--; left == 0 {
			break
		}
	}
	delete(c.entries, first)
}
