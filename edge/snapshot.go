package edge

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1"
	"github.com/bulwark-edge/bulwark/l7/h2"
	"github.com/bulwark-edge/bulwark/listeners"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
	"github.com/bulwark-edge/bulwark/tls/policy"
	"github.com/bulwark-edge/bulwark/upstream"
	"github.com/bulwark-edge/bulwark/upstream/health"
)

// Snapshot is a configuration ready to serve. It is immutable but for the count
// of who uses it: an exchange holds its snapshot, and so does a busy connection
// until its next request, or until it was idle for some seconds.
type Snapshot struct {
	Config *config.Config
	*lease

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
	local     *certs.Authority // nil: none
	ech       *policy.ECH      // nil: hellos are not encrypted
	terms     []issuer.Terms   // by which certificates are ordered
	records   *records         // nil: none are
	groups    []group          // the upstreams, by name
	checks    []health.Spec    // of those that are probed

	endsOnce sync.Once
	ends     []telemetry.CertificateStatus // of certificates of entities, when first asked for

	byID     sync.Once
	routesBy map[config.ID]*l7.Route // routes, when first asked for
}

// lease counts who uses a snapshot, and has what is closed when nobody does any
// more. It is apart from the snapshot because a stream may last for days: it
// keeps the lease, its route and its service, and not all routes that there were
// when it began.
type lease struct {
	edge      *Edge        // that the snapshot was applied to
	users     atomic.Int64 // streams, connections with exchanges, and one for being the current snapshot
	instances []*instance  // of plugins
	accessLog *sharedLog   // nil: none
}

// site is a listener's part of a snapshot.
type site struct {
	*l7.Pipeline
	snapshot  *Snapshot
	settings  *h1.Settings
	http2     *h2.Settings
	serve     string      // of config.Listener
	http2Only bool        // HTTP/1 is not spoken
	tls       *policy.Set // for HTTPS; nil: plaintext
	stream    streamSite
	guard     *guard
}

var (
	_ h1.Site = (*site)(nil)
	_ h2.Site = (*site)(nil)
)

// Settings returns what bounds the clients of the listener.
func (s *site) Settings() *h1.Settings { return s.settings }

// HTTP2 returns the same for connections of HTTP/2.
func (s *site) HTTP2() *h2.Settings { return s.http2 }

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

// routeOf returns a route by its entity, nil if it is not routed to.
func (s *Snapshot) routeOf(id config.ID) *l7.Route {
	s.byID.Do(func() {
		s.routesBy = make(map[config.ID]*l7.Route, len(s.routes))
		for _, r := range s.routes {
			s.routesBy[r.Entity.ID] = r
		}
	})
	return s.routesBy[id]
}

func (l *lease) release() {
	if l.users.Add(-1) == 0 {
		l.retire()
	}
}

// releaseAside is release for the loops of streams, which must not wait: what is
// closed with the snapshot, such as logs, is closed by another goroutine.
func (l *lease) releaseAside() {
	if l.users.Add(-1) > 0 {
		return
	}
	l.edge.retiring.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				l.edge.env.Metrics.Panics.Inc()
				l.edge.env.Log.Error("recovering from a panic in the end of a snapshot", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		l.retire()
	})
}

// acquire takes a use of the snapshot unless it is already retired.
func (l *lease) acquire() bool {
	for {
		n := l.users.Load()
		if n == 0 {
			return false
		}
		if l.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// begin lets the snapshot serve an edge: it counts in as a user of what snapshots
// share, and as one that is current.
func (s *Snapshot) begin(e *Edge) {
	e.retiring.Add(1)
	l := s.lease
	l.edge, l.accessLog = e, s.accessLog
	l.instances = make([]*instance, 0, len(s.plugins))
	for _, in := range s.plugins {
		in.users.Add(1)
		l.instances = append(l.instances, in.instance)
	}
	if l.accessLog != nil {
		l.accessLog.users.Add(1)
	}
	l.users.Store(1)
}

// retire gives up what the snapshot shares and closes what nobody uses any more.
// It is called once, when users falls to zero.
func (l *lease) retire() {
	defer l.edge.retiring.Done()
	log := l.edge.env.Log
	for _, in := range l.instances {
		if in.users.Add(-1) == 0 {
			in.close(log)
		}
	}
	if l.accessLog != nil && l.accessLog.users.Add(-1) == 0 {
		l.accessLog.close(log)
	}
}
