package peer

import (
	"container/list"
	"sync"
)

// lru keeps the values that were used last, within bounds of their number and
// weight. It is safe for concurrent use.
type lru[K comparable, V any] struct {
	maxEntries, maxWeight int

	mu     sync.Mutex
	byKey  map[K]*list.Element // of *lruEntry[K, V]
	order  list.List           // the one used last is in front
	weight int
}

type lruEntry[K comparable, V any] struct {
	key    K
	value  V
	weight int
}

func newLRU[K comparable, V any](maxEntries, maxWeight int) *lru[K, V] {
	return &lru[K, V]{maxEntries: maxEntries, maxWeight: maxWeight, byKey: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byKey[key]
	if e == nil {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// put stores value in place of key's former one. What is heavier than all may be
// together is not stored.
func (l *lru[K, V]) put(key K, value V, weight int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byKey[key]; e != nil {
		l.drop(e)
	}
	if weight > l.maxWeight {
		return
	}
	l.byKey[key] = l.order.PushFront(&lruEntry[K, V]{key, value, weight})
	l.weight += weight
	for len(l.byKey) > l.maxEntries || l.weight > l.maxWeight {
		l.drop(l.order.Back())
	}
}

func (l *lru[K, V]) remove(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byKey[key]; e != nil {
		l.drop(e)
	}
}

func (l *lru[K, V]) drop(e *list.Element) {
	entry := l.order.Remove(e).(*lruEntry[K, V])
	delete(l.byKey, entry.key)
	l.weight -= entry.weight
}

// all returns the values, the one used last first.
func (l *lru[K, V]) all() []V {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := make([]V, 0, len(l.byKey))
	for e := l.order.Front(); e != nil; e = e.Next() {
		values = append(values, e.Value.(*lruEntry[K, V]).value)
	}
	return values
}

// size returns the number of values and their weight.
func (l *lru[K, V]) size() (entries, weight int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byKey), l.weight
}
