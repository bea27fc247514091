package edge

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/stream"
	"github.com/bulwark-edge/bulwark/l4/udp"
	"github.com/bulwark-edge/bulwark/tls/policy"
	"github.com/bulwark-edge/bulwark/upstream"
)

// streams are the parts of a snapshot that serve streams.
type streams struct {
	services map[config.ID]compiledStreamService // the enabled ones
	routes   []compiledStream                    // those that are routed to, in the order of their declaration
	router   *l4.Router
	plans    map[string]*sharedPlan[l4.Plan]
}

// compiledStream is a route of streams, with what a later snapshot needs to adopt
// it.
type compiledStream struct {
	*l4.Route
	plan *sharedPlan[l4.Plan]
}

// compiledStreamService is a service of streams, with what a later snapshot needs
// to adopt it.
type compiledStreamService struct {
	*l4.Service
	balancer string // its balancer's key in the snapshot
}

func (c *compiler) buildStreamService(e *config.Service, targets map[config.ID][]upstream.Target) compiledStreamService {
	b := c.balanced(e, targets)
	s := &l4.Service{
		Entity:         e,
		Balancer:       b.balancer,
		Tries:          1 + e.Retries,
		ConnectTimeout: e.ConnectTimeout.Duration(),
		IdleTimeout:    e.ReadTimeout.Duration(),
	}
	if b.upstream != nil {
		s.Host, s.HashOn = b.upstream.HostHeader, streamHash(b.upstream)
	}
	if e.SpeaksTLS() {
		s.Identity = upstream.NewIdentity(c.identity(e, b.upstream))
	}
	return compiledStreamService{s, b.key}
}

// hashIP is the only input of consistent hashing that streams have.
const hashIP = "ip"

// streamHash compiles what an upstream's consistent hashing goes by: the
// client's address, be it as a fallback from what only requests have.
func streamHash(e *config.Upstream) l4.HashOn {
	if e.HashOn == hashIP || e.HashFallback == hashIP {
		return l4.HashOnClient
	}
	return l4.HashOnNothing
}

// adoptStreamService takes over a service of the old snapshot if it is still
// right.
func (c *compiler) adoptStreamService(e *config.Service) bool {
	if c.touched.service(e) {
		return false
	}
	old, ok := c.prev.streams.services[e.ID]
	if !ok || old.Entity != e {
		return false
	}
	c.snap.streams.services[e.ID] = old
	c.snap.balancers[old.balancer] = old.Balancer
	return true
}

// buildStreamRoutes compiles the routes of streams, but for those of disabled
// services, or adopts them.
func (c *compiler) buildStreamRoutes() {
	old := make(map[config.ID]compiledStream)
	if c.touched != nil {
		for _, r := range c.prev.streams.routes {
			old[r.Entity.ID] = r
		}
	}
	for _, e := range c.cfg.Routes.All() {
		service := c.snap.streams.services[e.Service.ID].Service
		if !e.Stream() || service == nil && !e.Service.IsZero() || c.adoptStreamRoute(e, service, old) {
			continue
		}
		plan := c.streamPlans.forRoute(e)
		c.snap.streams.routes = append(c.snap.streams.routes, compiledStream{&l4.Route{Entity: e, Service: service, Plan: plan.plan}, plan})
	}
}

// adoptStreamRoute takes over a route of the old snapshot if it is still right.
func (c *compiler) adoptStreamRoute(e *config.Route, service *l4.Service, old map[config.ID]compiledStream) bool {
	r, ok := old[e.ID]
	if !ok || c.touched.route(e) || r.Entity != e || r.Service != service {
		return false
	}
	if c.touched.plan(e) {
		if c.streamPlans.forRoute(e) != r.plan {
			return false
		}
	} else {
		c.streamPlans.keep(r.plan.plan)
	}
	c.snap.streams.routes = append(c.snap.streams.routes, r)
	return true
}

// buildStreamRouter makes the router of the snapshot's streams, or adopts the old
// one if the routes are the same in the same order.
func (c *compiler) buildStreamRouter() (err error) {
	s, prev := &c.snap.streams, &c.prev.streams
	if c.touched != nil && slices.EqualFunc(s.routes, prev.routes, func(a, b compiledStream) bool { return a.Route == b.Route }) {
		s.router = prev.router
		return nil
	}
	routes := make([]*l4.Route, len(s.routes))
	for i, r := range s.routes {
		routes[i] = r.Route
	}
	s.router, err = l4.NewRouter(routes)
	return err
}

// streamSite is what a listener's part of a snapshot has for streams.
type streamSite struct {
	pipeline *stream.Pipeline // apart, for it is what streams keep
	router   *l4.Router
	tls      *policy.Set // to terminate streams
	peeks    bool        // connections may be streams over TLS, of which the ClientHello tells
	hello    int         // most bytes of one
	bounds   udp.Bounds
	proxied  func(peer netip.Addr) bool // of flows; nil: no peer sends a PROXY header
}

func (c *compiler) streamSite(l *config.Listener, set *policy.Set, g *guard) streamSite {
	node := &c.cfg.Node.Limits
	s := streamSite{router: c.snap.streams.router, tls: set, hello: int(node.HelloBytes)}
	s.pipeline = &stream.Pipeline{Plan: routePlan, Listener: c.env.Metrics.Listener(l.Name), Idle: node.FlowIdleTimeout.Std(), Answers: l.Answers}
	if c.snap.accessLog != nil {
		s.pipeline.AccessLog = c.snap.accessLog.LineLog
	}
	switch l.Serve {
	case config.ServeHTTPS:
		s.peeks = s.router.Has(true, config.TLS, config.TLSPassthrough)
	case config.ServeTLS:
		s.peeks = true
	}
	s.bounds = udp.Bounds{
		Flows:             node.Flows,
		FlowsPerAddress:   valueOr(l.Limits.FlowsPerAddress, node.FlowsPerAddress),
		NewFlowsPerSecond: valueOr(l.Limits.NewFlowsPerSecond, node.NewFlowsPerSecond),
	}
	if l.Serve == config.ServeUDP && len(l.ProxyProtocol) > 0 {
		peers := new(bart.Lite)
		for _, p := range l.ProxyProtocol {
			peers.Insert(p.Prefix)
		}
		s.proxied = peers.Contains
	}
	if len(g.streams) == 0 {
		return s
	}
	plans := make(map[*l4.Plan]*l4.Plan)
	for _, r := range c.snap.streams.routes {
		if plans[r.Plan] == nil {
			plans[r.Plan] = newStreamPlan(slices.Concat(g.streams, r.plan.instances))
		}
	}
	// What stands on the listener itself goes before the route's.
	s.pipeline.Plan = func(r *l4.Route) *l4.Plan { return plans[r.Plan] }
	return s
}

// routePlan returns what runs for a stream of a route.
func routePlan(r *l4.Route) *l4.Plan { return r.Plan }

func valueOr(p *int, otherwise int) int {
	if p != nil {
		return *p
	}
	return otherwise
}

// match finds the route of a connection that is not a stream over TLS.
func (s *streamSite) match(c *l4.Conn) *l4.Route {
	return s.router.Match(&l4.Query{Protocol: config.TCP, Source: c.Client, Destination: c.Local})
}

// matchTLS finds the route of a connection whose ClientHello was looked at.
// Passing through goes before terminating. With placed it must name a server or a
// port; see l4.Query.
func (s *streamSite) matchTLS(c *l4.Conn, placed bool) (*l4.Route, config.Protocol) {
	for _, p := range [...]config.Protocol{config.TLSPassthrough, config.TLS} {
		if r := s.matchName(c, c.Hello.ServerName, p, placed); r != nil {
			return r, p
		}
	}
	return nil, ""
}

// matchName is matchTLS for a server name and a protocol.
func (s *streamSite) matchName(c *l4.Conn, name string, p config.Protocol, placed bool) *l4.Route {
	return s.router.Match(&l4.Query{Protocol: p, SNI: name, Source: c.Client, Destination: c.Local, Placed: placed})
}
