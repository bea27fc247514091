package plugins

import (
	"sync"
	"sync/atomic"
)

// State is what instances of plugins share and what outlives a reload, such as
// a cache. Every process has one. Safe for concurrent use.
type State struct {
	cacheBytes atomic.Int64
	builds     atomic.Uint64

	mu     sync.Mutex
	values map[string]any
}

// CacheBytes returns node.limits.cache_bytes: what the caches of all plugins
// together may take. A reload may change it.
func (s *State) CacheBytes() int64 { return s.cacheBytes.Load() }

// SetCacheBytes is called by the edge when a configuration begins to serve.
func (s *State) SetCacheBytes(n int64) { s.cacheBytes.Store(n) }

// NextBuild returns the number of the next instance that the edge builds.
func (s *State) NextBuild() uint64 { return s.builds.Add(1) }

// Value returns what is kept under key, which begins with the plugin's name. The
// first caller's build makes it; it is kept until the process ends, so that
// there may be few keys.
func (s *State) Value(key string, build func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		v = build()
		if s.values == nil {
			s.values = make(map[string]any)
		}
		s.values[key] = v
	}
	return v
}
