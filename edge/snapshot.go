package edge

import (
	"crypto/tls"
	"runtime/debug"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1"
	"github.com/bulwark-edge/bulwark/listeners"
	"github.com/bulwark-edge/bulwark/upstream"
	"github.com/bulwark-edge/bulwark/upstream/health"
)

// Snapshot is a configuration ready to serve. It is immutable but for the count
// of who uses it: an exchange holds its snapshot, and so does a busy connection
// until its next request, or until it was idle for some seconds.
type Snapshot struct {
	Config *config.Config

	sites     map[string]*site // by listener
	orphan    *site            // for connections of listeners that are gone
	specs     []listeners.Spec
	plugins   map[config.ID]*placed         // the enabled ones
	services  map[config.ID]compiledService // the enabled ones
	routes    []*l7.Route                   // those that are routed to, in the order of their declaration
	router    *l7.Router
	plans     map[string]*sharedPlan[l7.Plan]
	streams   streams
	balancers map[string]*upstream.Balancer
	accessLog *sharedLog
	groups    []group       // the upstreams, by name
	checks    []health.Spec // of those that are probed

	edge   *Edge        // that it was applied to
	users  atomic.Int64 // connections with exchanges, and one for being the current snapshot
	retire func()       // called once, when users falls to zero
}

// site is a listener's part of a snapshot.
type site struct {
	*l7.Pipeline
	snapshot *Snapshot
	settings *h1.Settings
	serve    string      // of config.Listener
	tls      *tls.Config // for HTTPS; nil: plaintext
	stream   streamSite
	guard    *guard
}

var _ h1.Site = (*site)(nil)

// Settings returns what bounds the clients of the listener.
func (s *site) Settings() *h1.Settings { return s.settings }

// Current reports whether the snapshot still is the one that serves.
func (s *site) Current() bool { return s.snapshot.edge.current.Load() == s.snapshot }

// Release ends one use of the snapshot.
func (s *site) Release() { s.snapshot.release() }

// site returns the part for a listener.
func (s *Snapshot) site(listener string) *site {
	if t := s.sites[listener]; t != nil {
		return t
	}
	return s.orphan
}

func (s *Snapshot) release() {
	if s.users.Add(-1) == 0 {
		s.retire()
	}
}

// releaseAside is release for the loops of streams, which must not wait: what is
// closed with the snapshot, such as logs, is closed by another goroutine.
func (s *Snapshot) releaseAside() {
	if s.users.Add(-1) > 0 {
		return
	}
	s.edge.retiring.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				s.edge.env.Metrics.Panics.Inc()
				s.edge.env.Log.Error("recovering from a panic in the end of a snapshot", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		s.retire()
	})
}

// acquire takes a use of the snapshot unless it is already retired.
func (s *Snapshot) acquire() bool {
	for {
		n := s.users.Load()
		if n == 0 {
			return false
		}
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
