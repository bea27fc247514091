package edge

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
	"github.com/bulwark-edge/bulwark/upstream/health"
)

// group is an upstream of a snapshot and what balances it.
type group struct {
	entity   *config.Upstream
	balancer *upstream.Balancer
	targets  map[string]string // ids by host:port
}

// buildGroups lists the upstreams, by name, and how they are checked.
func (c *compiler) buildGroups() error {
	ids := make(map[config.ID]map[string]string)
	targets := make(map[config.ID][]upstream.Target)
	for _, t := range c.cfg.Targets.All() {
		up := t.Upstream.ID
		if ids[up] == nil {
			ids[up] = make(map[string]string)
		}
		ids[up][t.Target] = t.ID.String()
		targets[up] = append(targets[up], upstream.Target{Host: t.Host(), Port: t.Port(), Weight: t.Weight})
	}
	for _, up := range c.cfg.Upstreams.All() {
		g := group{
			entity:   up,
			balancer: c.balancer("upstream "+up.ID.String(), c.upstreamSpec(up, targets[up.ID])),
			targets:  ids[up.ID],
		}
		c.snap.groups = append(c.snap.groups, g)
		if !probes(&up.Healthchecks.Active) {
			continue
		}
		spec, err := c.checkSpec(&g)
		if err != nil {
			return fmt.Errorf("building the health check of upstream %q: %w", up.Name, err)
		}
		c.snap.checks = append(c.snap.checks, spec)
	}
	slices.SortFunc(c.snap.groups, func(a, b group) int { return strings.Compare(a.entity.Name, b.entity.Name) })
	return nil
}

// probes reports whether active checks run.
func probes(a *config.ActiveCheck) bool { return a.Healthy.Interval > 0 || a.Unhealthy.Interval > 0 }

// defaultProbeTimeout is what a timeout of 0 means.
const defaultProbeTimeout = 60 * time.Second

func (c *compiler) checkSpec(g *group) (health.Spec, error) {
	active := &g.entity.Healthchecks.Active
	probe := &health.Probe{
		Timeout: cmp.Or(active.Timeout.Duration(), defaultProbeTimeout),
		Kind:    probeKind(active.Type),
		Path:    active.HTTPPath,
		Host:    g.entity.HostHeader,
		Headers: active.Headers,
		Agent:   c.env.Product,
		Payload: []byte(active.UDPSend),
		Answer:  []byte(active.UDPExpect),
	}
	text, err := json.Marshal(active)
	if err != nil {
		return health.Spec{}, err
	}
	version := sha256.New()
	fmt.Fprintf(version, "%s\n%s\n%s\n", text, g.entity.Name, probe.Host)
	if active.Type == "https" {
		var own *tls.Certificate
		if cert, ok := c.cfg.Certificates.Get(g.entity.ClientCertificate.ID); ok {
			own = &cert.Pairs()[0]
			for _, der := range own.Certificate {
				fmt.Fprintf(version, "own %d\n%s", len(der), der)
			}
		}
		authorities := c.authorities(g.entity)
		for _, ca := range authorities {
			fmt.Fprintf(version, "ca %d\n%s", len(ca.Raw), ca.Raw)
		}
		if probe.TLS, err = probeTLS(active, own, authorities); err != nil {
			return health.Spec{}, err
		}
	}
	return health.Spec{
		Key:         g.entity.ID.String(),
		Version:     string(version.Sum(nil)),
		Name:        g.entity.Name,
		Healthy:     active.Healthy.Interval.Duration(),
		Unhealthy:   active.Unhealthy.Interval.Duration(),
		Concurrency: active.Concurrency,
		Probe:       probe,
		Balancer:    g.balancer,
	}, nil
}

// probeKind compiles the type of an active check.
func probeKind(name string) health.Kind {
	switch name {
	case config.ProbeTCP:
		return health.TCP
	case config.ProbeUDP:
		return health.UDP
	}
	return health.HTTP // be it over TLS
}

// authorities returns the certificates that the services which use an upstream
// trust in, each once.
func (c *compiler) authorities(up *config.Upstream) []*x509.Certificate {
	var found []*x509.Certificate
	seen := make(map[config.ID]bool)
	for _, s := range c.cfg.Services.All() {
		if !s.Enabled || s.Host != up.Name {
			continue
		}
		for _, id := range s.CACertificates {
			if ca, ok := c.cfg.CACertificates.Get(id); ok && !seen[id] {
				seen[id] = true
				found = append(found, ca.X509())
			}
		}
	}
	return found
}

// probeTLS says how TLS is spoken to an endpoint that is probed. own may be nil.
func probeTLS(active *config.ActiveCheck, own *tls.Certificate, authorities []*x509.Certificate) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         active.HTTPSSNI,
		InsecureSkipVerify: !active.HTTPSVerifyCertificate,
		NextProtos:         []string{"http/1.1"},
	}
	if own != nil {
		cfg.Certificates = []tls.Certificate{*own}
	}
	if !active.HTTPSVerifyCertificate || len(authorities) == 0 {
		return cfg, nil // the system's authorities, if any are asked
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	for _, ca := range authorities {
		roots.AddCert(ca)
	}
	cfg.RootCAs = roots
	return cfg, nil
}

// Upstreams tells the status listener how the upstreams are, by name.
func (e *Edge) Upstreams() []telemetry.UpstreamStatus {
	snap := e.Current()
	if snap == nil {
		return nil
	}
	all := make([]telemetry.UpstreamStatus, 0, len(snap.groups))
	used := snap.upstreamUse()
	for i := range snap.groups {
		u := snap.groups[i].status()
		u.Used = used[snap.groups[i].balancer]
		all = append(all, u)
	}
	return all
}

// upstreamUse tells which kinds of services the balancers serve.
func (s *Snapshot) upstreamUse() map[*upstream.Balancer]telemetry.UpstreamUse {
	all := make(map[*upstream.Balancer]telemetry.UpstreamUse)
	for _, service := range s.services {
		use := all[service.Balancer]
		use.Requests = true
		all[service.Balancer] = use
	}
	for _, service := range s.streams.services {
		use := all[service.Balancer]
		use.Streams = true
		all[service.Balancer] = use
	}
	return all
}

func (g *group) status() telemetry.UpstreamStatus {
	h := g.balancer.Health()
	u := telemetry.UpstreamStatus{ID: g.entity.ID.String(), Name: g.entity.Name, Algorithm: h.Algorithm.String(), Health: healthOf(h.State)}
	for _, t := range h.Targets {
		ts := telemetry.TargetStatus{
			ID: g.targets[t.Target.String()], Host: t.Target.Host, Port: t.Target.Port,
			Weight: t.Target.Weight, Health: healthOf(t.State), Error: t.Why, DNS: t.Source,
		}
		for _, a := range t.Addresses {
			ts.Addresses = append(ts.Addresses, telemetry.AddressStatus{
				Address: a.Addr, Weight: a.Weight, Health: healthOf(a.State), Open: a.Open, Since: a.Since, Reason: a.Why,
			})
		}
		u.Targets = append(u.Targets, ts)
	}
	return u
}

// healthOf returns the status listener's word for a state.
func healthOf(h upstream.Health) telemetry.Health {
	switch h {
	case upstream.HealthHealthy:
		return telemetry.Healthy
	case upstream.HealthUnhealthy:
		return telemetry.Unhealthy
	case upstream.HealthDNSError:
		return telemetry.DNSError
	}
	return telemetry.ChecksOff
}
