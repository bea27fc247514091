package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/forward"
	"github.com/bulwark-edge/bulwark/l7/h1"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/l7/h2"
	"github.com/bulwark-edge/bulwark/listeners"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Env is what snapshots of one edge have in common.
type Env struct {
	Kinds       []plugins.Kind // in the order they run
	Product     string         // "bulwark/1.2"
	Log         *slog.Logger
	Metrics     *telemetry.Metrics
	Upstreams   *upstream.Set
	Calls       *h2.Client // that services of HTTP/2 are asked by
	DefaultCert *tls.Certificate
	Shared      *l7.Shared
	State       *plugins.State
	Bans        *l4.Bans
	Issuer      *issuer.Issuer
	Keys        *policy.Keys
	Peers       *peer.Revocation
	Stapler     *certs.Stapler

	standing *standing // nil: nothing that lasts is looked after
	checking bool      // the snapshot is not to serve: nothing is made or written to for it
}

// Compile makes a snapshot of a valid configuration, aside of what serves. What
// prev, which may be nil, has of the same kind is adopted: plugin instances,
// balancers with their addresses, the access log. Errors are of what cannot be
// known from the file alone, such as a log that cannot be opened.
//
// changed are the keys of the entities in which cfg differs from prev's
// configuration, as Config.Adopt finds them; nil if that is not known. All
// others are the same pointers in both, and what was compiled of them for prev
// is adopted.
func Compile(cfg *config.Config, changed []config.Key, prev *Snapshot, env Env) (*Snapshot, error) {
	if prev == nil {
		prev = new(Snapshot)
	}
	c := &compiler{env: env, cfg: cfg, prev: prev, touched: touch(cfg, changed, prev.Config), snap: &Snapshot{
		lease:   new(lease),
		Config:  cfg,
		sites:   make(map[string]*site),
		plugins: make(map[config.ID]*placed, cfg.Plugins.Len()),
		routes:  make([]*l7.Route, 0, cfg.Routes.Len()),
	}}
	if err := c.compile(); err != nil {
		c.snap.discard()
		return nil, err
	}
	return c.snap, nil
}

type compiler struct {
	env     Env
	cfg     *config.Config
	prev    *Snapshot
	touched *touched // nil: everything
	snap    *Snapshot
	plans   *planner[l7.Plan]

	policies    []*policy.Policy // the configured ones
	streamPlans *planner[l4.Plan]
}

func (c *compiler) compile() error {
	if err := c.openAccessLog(); err != nil {
		return err
	}
	if err := errors.Join(c.buildPlugins(), c.compilePolicies()); err != nil {
		return err
	}
	if err := c.openRecords(); err != nil {
		return err
	}
	requests := func(p config.Protocol) bool { return !p.Stream() }
	c.plans = newPlanner(c.env.Kinds, c.snap.plugins, requests, newPlan, c.prev.plans)
	c.streamPlans = newPlanner(c.env.Kinds, c.snap.plugins, config.Protocol.Stream, newStreamPlan, c.prev.streams.plans)
	if !c.adoptBalancing() {
		c.buildServices()
		if err := c.buildGroups(); err != nil {
			return err
		}
	}
	c.buildRoutes()
	c.buildStreamRoutes()
	c.snap.plans, c.snap.streams.plans = c.plans.done(), c.streamPlans.done()
	if err := c.buildRouter(); err != nil {
		return fmt.Errorf("building the router: %w", err)
	}
	if err := c.buildStreamRouter(); err != nil {
		return fmt.Errorf("building the router of streams: %w", err)
	}
	return c.buildSites(c.snap.router, c.snap.routes)
}

// openAccessLog opens the access log, or goes on with the one that is open.
func (c *compiler) openAccessLog() error {
	target := c.cfg.Node.Log.Access
	if target == config.LogOff {
		return nil
	}
	if old := c.prev.accessLog; old != nil && old.Target() == target {
		c.snap.accessLog = old
		return nil
	}
	log, err := telemetry.OpenLineLog(target, &c.env.Metrics.AccessLog, c.env.Log)
	if err != nil {
		return fmt.Errorf("opening node.log.access: %w", err)
	}
	c.snap.accessLog = &sharedLog{LineLog: log}
	return nil
}

// buildServices compiles the enabled services, or adopts them.
func (c *compiler) buildServices() {
	c.snap.services = make(map[config.ID]compiledService, c.cfg.Services.Len())
	c.snap.balancers = make(map[string]*upstream.Balancer)
	c.snap.streams.services = make(map[config.ID]compiledStreamService)
	targets := targetsOf(c.cfg)
	for _, e := range c.cfg.Services.All() {
		switch {
		case !e.Enabled:
		case e.Protocol.Stream():
			if !c.adoptStreamService(e) {
				c.snap.streams.services[e.ID] = c.buildStreamService(e, targets)
			}
		case !c.adoptService(e):
			c.snap.services[e.ID] = c.buildService(e, targets)
		}
	}
}

func (c *compiler) buildService(e *config.Service, targets map[config.ID][]upstream.Target) compiledService {
	s := &l7.Service{
		Entity:         e,
		Path:           e.Path,
		HTTP2:          e.SpeaksHTTP2(),
		Tries:          1 + e.Retries,
		ConnectTimeout: e.ConnectTimeout.Duration(),
		WriteTimeout:   e.WriteTimeout.Duration(),
		ReadTimeout:    e.ReadTimeout.Duration(),
	}
	b := c.balanced(e, targets)
	s.Balancer = b.balancer
	if b.upstream != nil {
		s.Host, s.Hash = b.upstream.HostHeader, hashPolicy(b.upstream)
	}
	if e.SpeaksTLS() {
		s.Identity = upstream.NewIdentity(c.identity(e, b.upstream))
	}
	return compiledService{s, b.key}
}

// balanced is what balances a service.
type balanced struct {
	balancer *upstream.Balancer
	key      string           // the balancer's in the snapshot
	upstream *config.Upstream // nil: the service names a host
}

// balanced returns the balancer of the upstream that a service names, or one of
// its host.
func (c *compiler) balanced(e *config.Service, targets map[config.ID][]upstream.Target) (b balanced) {
	if up, ok := c.cfg.Upstreams.Lookup(e.Host); ok {
		b.upstream, b.key = up, "upstream "+up.ID.String()
		b.balancer = c.balancer(b.key, c.upstreamSpec(up, targets[up.ID]))
		return b
	}
	t := upstream.Target{Host: e.Host, Port: uint16(e.Port), Weight: 1}
	b.key = fmt.Sprintf("host %s %d", t.Host, t.Port)
	b.balancer = c.balancer(b.key, upstream.Spec{Targets: []upstream.Target{t}, Resilience: c.resilience()})
	return b
}

// defaultVerifyDepth is what a service without tls_verify_depth has, as in Kong.
const defaultVerifyDepth = 1

// identity returns how TLS to a service is spoken. up may be nil.
func (c *compiler) identity(e *config.Service, up *config.Upstream) upstream.IdentityConfig {
	id := upstream.IdentityConfig{Depth: defaultVerifyDepth, Stream: e.Protocol.Stream(), HTTP2: e.SpeaksHTTP2()}
	if e.TLSVerify != nil {
		id.Verify = *e.TLSVerify
	}
	if e.TLSVerifyDepth != nil {
		id.Depth = *e.TLSVerifyDepth
	}
	for _, ca := range e.CACertificates {
		if cert, ok := c.cfg.CACertificates.Get(ca); ok {
			id.CAs = append(id.CAs, cert.X509())
		}
	}
	clientCert := e.ClientCertificate.ID
	if clientCert.IsZero() && up != nil {
		clientCert = up.ClientCertificate.ID
	}
	if cert, ok := c.cfg.Certificates.Get(clientCert); ok {
		id.Certificate = &cert.Pairs()[0]
	}
	return id
}

// buildRoutes compiles the routes, but for those of disabled services, or
// adopts them.
func (c *compiler) buildRoutes() {
	old := c.oldRoutes()
	var id config.ID // that service is of: neighbours mostly have the same
	var service *l7.Service
	for _, e := range c.cfg.Routes.All() {
		if e.Stream() {
			continue
		}
		if e.Service.ID != id {
			id = e.Service.ID
			service = c.snap.services[id].Service
		}
		if service == nil && !id.IsZero() || c.adoptRoute(e, service, old) {
			continue
		}
		c.snap.routes = append(c.snap.routes, &l7.Route{
			Entity:  e,
			Service: service,
			Plan:    c.plans.forRoute(e).plan,
			HTTP:    slices.Contains(e.Protocols, config.HTTP),
			HTTPS:   slices.Contains(e.Protocols, config.HTTPS),
			GRPC:    slices.Contains(e.Protocols, config.GRPC),
			GRPCS:   slices.Contains(e.Protocols, config.GRPCS),
		})
	}
}

// buildSites makes each listener's part.
func (c *compiler) buildSites(router *l7.Router, routes []*l7.Route) error {
	node := &c.cfg.Node
	headers := c.headerPolicy()
	pipeline := l7.Pipeline{
		Config:       c.cfg,
		Router:       router,
		Global:       c.plans.global.plan,
		ConsumerPlan: forConsumers(c.plans),
		Forwarder:    &forward.Client{Limits: responseLimits(&node.Limits), Policy: headers, Metrics: c.env.Metrics, Calls: c.env.Calls},
		Policy:       headers,
		Metrics:      c.env.Metrics,
		Log:          c.env.Log,
		BodyBytes:    int64(node.Limits.BodyBytes),
		BodyBuffers:  int64(node.Limits.BodyBuffers),
		ErrorType:    node.ErrorType,
		Shared:       c.env.Shared,
	}
	if c.env.standing != nil {
		pipeline.Standing, pipeline.Lasting = c.env.standing, &c.env.standing.lasting
	}
	if c.snap.accessLog != nil {
		pipeline.AccessLog = c.snap.accessLog.LineLog
	}
	if c.snap.orders() {
		pipeline.Challenges = c.env.Issuer.HTTPChallenge
	}
	settings := engineSettings(&node.Limits)
	http2 := http2Settings(&node.Limits, settings)
	alone := *settings // where HTTP/1 is the only version
	alone.NoHTTP2 = true
	policies, err := c.buildPolicies()
	if err != nil {
		return err
	}
	build := func(l *config.Listener) (*site, error) {
		g, err := c.buildGuard(l)
		if err != nil {
			return nil, err
		}
		p := pipeline
		p.Listener = c.env.Metrics.Listener(l.Name)
		g.put(&p, routes)
		s := &site{Pipeline: &p, snapshot: c.snap, settings: settings, http2: http2, guard: g, serve: l.Serve, http2Only: !l.HTTP1}
		if !l.HTTP2 {
			s.settings = &alone
		}
		if l.Serve == config.ServeHTTPS {
			if s.tls, err = policies.set(l, true); err != nil {
				return nil, err
			}
			if s.tls.Guards() {
				p.Policies = s.tls
			}
		}
		streamTLS, err := policies.set(l, false)
		if err != nil {
			return nil, err
		}
		s.stream = c.streamSite(l, streamTLS, g)
		s.stream.pipeline.Release = c.snap.releaseAside
		return s, nil
	}
	var errs []error
	for _, l := range c.listeners() {
		s, err := build(l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.snap.sites[l.Name] = s
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for i := range node.Listeners {
		c.snap.specs = append(c.snap.specs, listenerSpec(&node.Listeners[i], &node.Limits))
	}
	if c.snap.orphan, err = build(&config.Listener{Name: "closed", Serve: config.ServeHTTP}); err != nil {
		return err
	}
	c.snap.orphan.Orphan = true
	c.snap.orphan.OrphanGuarded, err = c.guarded(policies)
	return err
}

// headerPolicy returns what is done about header fields, and who the client is.
func (c *compiler) headerPolicy() *l7.HeaderPolicy {
	node := &c.cfg.Node
	headers := l7.NewHeaderPolicy(c.env.Product, node.Headers, prefixes(node.TrustedIPs))
	if node.RealIPHeader != config.RealIPConnection {
		headers.SetRealIP(l7.RealIP{Header: node.RealIPHeader, Recursive: node.RealIPRecursive})
	}
	return headers
}

// guarded reports whether something is asked of clients anywhere: at a listener, or
// at one that would be there.
func (c *compiler) guarded(policies *policies) (bool, error) {
	for _, s := range c.snap.sites {
		if s.tls != nil && s.tls.Guards() {
			return true, nil
		}
	}
	set, err := policies.set(&config.Listener{Name: "closed", Serve: config.ServeHTTPS}, true)
	if err != nil {
		return false, err
	}
	return set.Guards(), nil
}

func prefixes(list []schema.Prefix) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i := range list {
		all[i] = list[i].Prefix
	}
	return all
}

func listenerSpec(l *config.Listener, node *config.Limits) listeners.Spec {
	s := listeners.Spec{
		Name: l.Name, Addr: l.Address.Addr, Port: l.Address.Port, ReusePort: l.ReusePort,
		Raw: l.Serve == config.ServeTCP,
		Limits: listeners.Limits{
			Connections:             node.Connections,
			ConnectionsPerAddress:   valueOr(l.Limits.ConnectionsPerAddress, node.ConnectionsPerAddress),
			ConnectionsPerNetwork:   valueOr(l.Limits.ConnectionsPerNetwork, node.ConnectionsPerNetwork),
			NewConnectionsPerSecond: valueOr(l.Limits.NewConnectionsPerSecond, node.NewConnections),
			BanTime:                 node.BanTime.Std(),
			HeaderTimeout:           node.HeaderTimeout.Std(),
		},
	}
	if l.Serve == config.ServeUDP {
		s.Network = "udp"
	}
	for _, p := range l.ProxyProtocol {
		s.Proxies = append(s.Proxies, p.Prefix)
	}
	if n := l.Limits.Connections; n != nil {
		s.Limits.Connections = *n
	}
	return s
}

func engineSettings(l *config.Limits) *h1.Settings {
	return &h1.Settings{
		Limits: syntax.Limits{
			HeadBytes:           int(l.HeadBytes),
			TargetBytes:         int(l.TargetBytes),
			Fields:              l.HeadFields,
			ChunkExtensionBytes: int(l.ChunkExtensionBytes),
			TrailerBytes:        int(l.TrailerBytes),
		},
		BodyBytes:     int64(l.BodyBytes),
		HeaderTimeout: l.HeaderTimeout.Std(),
		IdleTimeout:   l.IdleTimeout.Std(),
		ReadTimeout:   l.ReadTimeout.Std(),
		WriteTimeout:  l.WriteTimeout.Std(),
		Requests:      l.RequestsPerConnection,
	}
}

// http2Settings returns what bounds clients of HTTP/2, besides what bounds those of
// HTTP/1 too.
func http2Settings(l *config.Limits, s *h1.Settings) *h2.Settings {
	return &h2.Settings{
		Limits: s.Limits, BodyBytes: s.BodyBytes, Requests: s.Requests,
		HeaderTimeout: s.HeaderTimeout, IdleTimeout: s.IdleTimeout, ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout,
		Streams:      l.HTTP2Streams,
		StreamWindow: int(l.HTTP2StreamWindow),
		Window:       int(l.HTTP2Window),
		Unread:       int64(l.HTTP2Unread),
		Glitches:     l.HTTP2Glitches,
	}
}

// maxResponseFields bounds an upstream's header fields; their bytes are bounded
// by node.limits.response_head_bytes.
const maxResponseFields = 1000

func responseLimits(l *config.Limits) syntax.Limits {
	return syntax.Limits{
		HeadBytes:           int(l.ResponseHeadBytes),
		TargetBytes:         int(l.TargetBytes),
		Fields:              maxResponseFields,
		ChunkExtensionBytes: int(l.ChunkExtensionBytes),
		TrailerBytes:        int(l.TrailerBytes),
	}
}

func poolLimits(l *config.Limits) upstream.PoolLimits {
	return upstream.PoolLimits{Idle: l.UpstreamIdle, IdleTimeout: l.UpstreamIdleTimeout.Std(), Requests: l.UpstreamRequests}
}

// callSettings returns what bounds upstreams that speak HTTP/2.
func callSettings(l *config.Limits) h2.ClientSettings {
	return h2.ClientSettings{Limits: responseLimits(l), Idle: l.UpstreamIdle, IdleTimeout: l.UpstreamIdleTimeout.Std(), Requests: l.UpstreamRequests}
}

func logLevel(name string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(name))); err != nil {
		panic("BUG: log level " + name + " passed validation")
	}
	return level
}

// logCloseTime bounds the last writes of an access log that is not used any
// more.
const logCloseTime = 5 * time.Second

// discard closes what was opened for a snapshot that never serves.
func (s *Snapshot) discard() {
	for _, in := range s.plugins {
		if in.users.Load() == 0 {
			in.close(slog.Default())
		}
	}
	if s.accessLog != nil && s.accessLog.users.Load() == 0 {
		s.accessLog.close(slog.Default())
	}
}

func (l *sharedLog) close(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), logCloseTime)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		log.Error("closing the access log", "error", err.Error())
	}
}
