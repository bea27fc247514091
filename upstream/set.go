package upstream

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// janitorInterval is how often idle connections are looked through.
const janitorInterval = 5 * time.Second

// Set holds what outlives a reload: the connection pools of the process, and
// the goroutines that look names up. Safe for concurrent use.
type Set struct {
	limits   atomic.Pointer[PoolLimits]
	resolver atomic.Pointer[Resolver]
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	dialing  context.Context // ends with StopDialing
	stopDial context.CancelFunc
	work     sync.WaitGroup

	secure atomic.Int64 // idle connections of pools with an identity

	mu     sync.RWMutex
	pools  map[PoolKey]*Pool
	closed bool
}

// NewSet returns an empty set that keeps no connection until SetLimits is
// called, and knows no name until SetResolver is. Run must be called for idle
// connections to be closed in time, and Close in the end.
func NewSet() *Set {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Set{
		ctx:    ctx,
		cancel: cancel,
		pools:  make(map[PoolKey]*Pool),
	}
	s.dialing, s.stopDial = context.WithCancel(context.Background())
	s.SetLimits(PoolLimits{})
	return s
}

// StopDialing lets every Dial, under way or to come, fail: a drain is over.
func (s *Set) StopDialing() { s.stopDial() }

// SetLimits bounds what the pools keep from now on.
func (s *Set) SetLimits(l PoolLimits) { s.limits.Store(&l) }

// maxIdleSecure bounds the idle TLS connections of all pools together. A pool
// belongs to a server name, and where routes preserve the client's Host clients
// choose those, so a bound for each pool is none.
const maxIdleSecure = 4096

// mayIdle counts an idle connection of p in, unless there are too many.
func (s *Set) mayIdle(p *Pool) bool {
	if p.identity == nil {
		return true
	}
	if s.secure.Add(1) > maxIdleSecure {
		s.secure.Add(-1)
		return false
	}
	return true
}

// left counts n idle connections of p out.
func (s *Set) left(p *Pool, n int) {
	if p.identity != nil {
		s.secure.Add(int64(-n))
	}
}

// Run closes idle connections whose time is over, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	t := time.NewTicker(janitorInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.reap()
		}
	}
}

func (s *Set) reap() {
	oldest := sock.Now() - int64(s.limits.Load().IdleTimeout)
	s.mu.RLock()
	pools := make([]*Pool, 0, len(s.pools))
	for _, p := range s.pools {
		pools = append(pools, p)
	}
	s.mu.RUnlock()
	for _, p := range pools {
		if p.reap(oldest) {
			s.mu.Lock()
			if s.pools[p.key] == p { // it may have a successor by now
				delete(s.pools, p.key)
			}
			s.mu.Unlock()
		}
	}
}

// Close closes every idle connection and waits for the set's goroutines.
// Connections in use are closed when they are given back.
func (s *Set) Close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	pools := s.pools
	s.pools = nil
	s.mu.Unlock()
	for _, p := range pools {
		p.close()
	}
	s.work.Wait()
}

// Idle returns the number of idle connections.
func (s *Set) Idle() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, p := range s.pools {
		p.mu.Lock()
		n += len(p.idle)
		p.mu.Unlock()
	}
	return n
}

// pool returns the pool for an endpoint under an identity, which is nil for
// plaintext.
func (s *Set) pool(addr netip.AddrPort, id *Identity, serverName string) *Pool {
	key := PoolKey{addr: addr}
	if id != nil {
		key.identity, key.serverName = id.key, serverName
	}
	s.mu.RLock()
	p := s.pools[key]
	s.mu.RUnlock()
	if p != nil && !p.closed.Load() {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[key]; p != nil && !p.closed.Load() {
		return p
	}
	p = &Pool{key: key, identity: id, set: s, used: sock.Now()}
	p.closed.Store(s.closed)
	if !s.closed {
		s.pools[key] = p
	}
	return p
}
