package proxycache

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

const (
	// shards is how many parts the store has, each with a lock of its own.
	shards = 16

	// entryShare is the part of the store that one answer may take: one in this
	// many.
	entryShare = 64

	// captureShare is the part of the store's size that answers on their way into
	// it may take beside it: one in this many.
	captureShare = 4

	// refusedFor is how long it is remembered that an answer was not one to
	// store, of at most maxRefused keys in a shard.
	refusedFor = 5 * time.Second
	maxRefused = 1 << 10

	// entryCost is what an entry costs beside its bytes, about.
	entryCost = 1 << 10
)

// store holds answers in memory. All instances of the process share one; its
// bytes are bounded by node.limits.cache_bytes. Safe for concurrent use.
type store struct {
	limit  func() int64  // bytes of all shards together
	taking atomic.Int64  // bytes of answers on their way into the store
	made   atomic.Uint64 // generations of indexes
	counts [statusCount]telemetry.Counter
	shards [shards]shard

	// forgotten is when what is stored of resources was forgotten last (sock.Now),
	// by Plugin.resource: what was asked for before is not used any more.
	forgotten [1 << 16]atomic.Int64
}

// shard is a part of the store. Entries stand in a ring in the order they came;
// what is to be evicted is looked for from the oldest on, and passes over those
// that were asked for since it last came by (SIEVE).
type shard struct {
	mu      sync.RWMutex
	entries map[key]*entry
	ring    entry // the sentinel: ring.newer is the oldest, ring.older the newest
	hand    *entry
	bytes   int64
	evicted int64 // entries that made room
	flights map[key]*flight
	refused map[key]int64 // until when (sock.Now) nobody waits, for the answer was not one to store
}

func newStore(state *plugins.State) *store {
	s := &store{limit: state.CacheBytes}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.entries, sh.flights, sh.refused = make(map[key]*entry), make(map[key]*flight), make(map[key]int64)
		sh.ring.newer, sh.ring.older = &sh.ring, &sh.ring
		sh.hand = &sh.ring
	}
	return s
}

func (s *store) shard(k *key) *shard {
	return &s.shards[binary.LittleEndian.Uint32(k[:])%shards]
}

// maxEntry returns how many bytes one answer may have.
func (s *store) maxEntry() int64 { return s.limit() / entryShare }

// get returns what is stored under k and has not come to its end, or nil.
func (s *store) get(k key, now int64) *entry {
	sh := s.shard(&k)
	sh.mu.RLock()
	e := sh.entries[k]
	sh.mu.RUnlock()
	if e == nil || now >= e.ends {
		return nil
	}
	if !e.visited.Load() {
		e.visited.Store(true)
	}
	return e
}

// put stores e under e.key, in place of what is there.
func (s *store) put(e *entry) {
	limit := s.limit() / shards
	sh := s.shard(&e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if old := sh.entries[e.key]; old != nil {
		sh.remove(old)
	}
	if e.cost > limit {
		return
	}
	for sh.bytes+e.cost > limit {
		sh.evict()
	}
	sh.entries[e.key] = e
	sh.bytes += e.cost
	e.newer, e.older = &sh.ring, sh.ring.older
	e.older.newer, sh.ring.older = e, e
}

// putIndex stores an index, unless it is there.
func (s *store) putIndex(e *entry) {
	sh := s.shard(&e.key)
	sh.mu.RLock()
	same := sh.entries[e.key] == e
	sh.mu.RUnlock()
	if !same {
		s.put(e)
	}
}

// forget makes all that is stored of a resource, or is on its way into the store,
// useless.
func (s *store) forget(resource uint16, now int64) { s.forgotten[resource].Store(now) }

// current reports whether e has not been forgotten since it was asked for.
func (s *store) current(e *entry) bool { return s.since(e, e.resource) }

// since reports whether e was asked for after a resource was forgotten.
func (s *store) since(e *entry, resource uint16) bool {
	return e.asked > s.forgotten[resource].Load()
}

// remove forgets what is stored under k.
func (s *store) remove(k key) {
	sh := s.shard(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.entries[k]; e != nil {
		sh.remove(e)
	}
}

func (sh *shard) remove(e *entry) {
	if sh.hand == e {
		sh.hand = e.newer
	}
	e.older.newer, e.newer.older = e.newer, e.older
	delete(sh.entries, e.key)
	sh.bytes -= e.cost
}

// evict removes the next entry that was not asked for since the hand passed it.
// The shard is not empty.
func (sh *shard) evict() {
	for {
		if sh.hand == &sh.ring {
			sh.hand = sh.ring.newer
		}
		e := sh.hand
		if !e.visited.Load() {
			sh.remove(e)
			sh.evicted++
			return
		}
		e.visited.Store(false)
		sh.hand = e.newer
	}
}

// reserve counts n bytes of an answer on its way in, if there is room.
func (s *store) reserve(n int64) bool {
	if s.taking.Add(n) > s.limit()/captureShare {
		s.taking.Add(-n)
		return false
	}
	return true
}

// flight is a request that is on its way to the upstream for an answer that
// others wait for.
type flight struct{ landed chan struct{} }

// join returns the flight for a key that is under way, or starts one, which the
// caller ends by land. It returns nil if waiting is in vain.
func (s *store) join(k key, now int64) (f *flight, started bool) {
	sh := s.shard(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if until, ok := sh.refused[k]; ok {
		if now < until {
			return nil, false
		}
		delete(sh.refused, k)
	}
	if f := sh.flights[k]; f != nil {
		return f, false
	}
	return sh.start(k), true
}

// flying reports whether a flight for a key is under way.
func (s *store) flying(k key) bool {
	sh := s.shard(&k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.flights[k] != nil
}

// takeOver starts a flight in place of old, which took too long. It returns nil
// if that one is not under way any more, or somebody else was faster.
func (s *store) takeOver(k key, old *flight) *flight {
	sh := s.shard(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.flights[k] != old {
		return nil
	}
	return sh.start(k)
}

func (sh *shard) start(k key) *flight {
	f := &flight{landed: make(chan struct{})}
	sh.flights[k] = f
	return f
}

// refuse lets nobody wait for the answer under k for a while.
func (s *store) refuse(k key, now int64) {
	sh := s.shard(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.refused) >= maxRefused {
		clear(sh.refused)
	}
	sh.refused[k] = now + int64(refusedFor)
}

// land ends a flight and wakes who waits for it.
func (s *store) land(k key, f *flight) {
	sh := s.shard(&k)
	sh.mu.Lock()
	if sh.flights[k] == f {
		delete(sh.flights, k)
	}
	sh.mu.Unlock()
	close(f.landed)
}
