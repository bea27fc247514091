package prometheus

import (
	"io"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.LogHook       = (*Plugin)(nil)
	_ l4.LogHook       = (*Plugin)(nil)
	_ plugins.Follower = (*Plugin)(nil)
	_ io.Closer        = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "prometheus", Scopes: plugins.Anywhere, Speaks: plugins.HTTP | plugins.Stream, New: New,
	})
}

// Plugin is an instance. What it counts is shared by all of them.
type Plugin struct {
	cfg      Config
	registry *registry
}

// New joins the instances of the process.
func New(cfg Config, env plugins.Env) (any, error) {
	r := env.State.Value("prometheus series", func() any { return newRegistry(env.Metrics) }).(*registry)
	r.join(&cfg)
	return &Plugin{cfg, r}, nil
}

// Log counts the exchange.
func (p *Plugin) Log(x *l7.Exchange) {
	if x.Route == nil || x.Route.Service == nil {
		return
	}
	of := owner{x.Route.Entity, x.Route.Service.Entity, nil}
	if p.cfg.LatencyMetrics {
		if c := p.registry.cell(of); c != nil {
			c.observe(x)
		}
	}
	if !p.cfg.StatusCodeMetrics && !p.cfg.BandwidthMetrics {
		return
	}
	if p.cfg.PerConsumer {
		of.consumer = x.Consumer
	}
	c := p.registry.cell(of)
	if c == nil {
		return
	}
	if p.cfg.StatusCodeMetrics {
		c.count(x.LogStatus(), x.Proxied)
	}
	if p.cfg.BandwidthMetrics {
		c.requestBytes.Add(uint64(int64(x.Req.HeadSize) + max(x.Req.ContentLength, 0)))
		c.responseBytes.Add(uint64(x.Sent))
	}
}

// LogSession counts the stream.
func (p *Plugin) LogSession(s *l4.Session) {
	if s.Route == nil || s.Route.Service == nil {
		return
	}
	c := p.registry.cell(owner{s.Route.Entity, s.Route.Service.Entity, nil})
	if c == nil {
		return
	}
	if p.cfg.LatencyMetrics {
		c.observeSession(s)
	}
	if p.cfg.StatusCodeMetrics {
		c.count(s.Status(), s.Proxied())
	}
	if p.cfg.BandwidthMetrics {
		c.requestBytes.Add(uint64(s.Received))
		c.responseBytes.Add(uint64(s.Sent))
	}
}

// Follow drops the series of what is not in cfg any more.
func (p *Plugin) Follow(cfg *config.Config) { p.registry.follow(cfg) }

// Close leaves the instances of the process.
func (p *Plugin) Close() error {
	p.registry.leave(&p.cfg)
	return nil
}
