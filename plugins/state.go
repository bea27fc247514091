package plugins

import "sync"

// State is what instances of plugins share and what outlives a reload, such as
// a cache. Every process has one. Safe for concurrent use.
type State struct {
	mu     sync.Mutex
	values map[string]any
}

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
