package edge

import (
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// balancer returns the snapshot's balancer of that key: the old one if it is of
// the same making, else one that adopts what the old one knows.
func (c *compiler) balancer(key string, spec upstream.Spec) *upstream.Balancer {
	b := c.snap.balancers[key]
	if b == nil {
		b = upstream.NewBalancer(c.env.Upstreams, spec, c.prev.balancers[key])
		c.snap.balancers[key] = b
	}
	return b
}

func (c *compiler) upstreamSpec(e *config.Upstream, targets []upstream.Target) upstream.Spec {
	algorithm, ok := upstream.ParseAlgorithm(e.Algorithm)
	if !ok {
		panic("BUG: algorithm " + e.Algorithm + " passed validation")
	}
	return upstream.Spec{
		Targets:    targets,
		Algorithm:  algorithm,
		Slots:      e.Slots,
		UseSRVName: e.UseSRVName,
		Checks:     checks(&e.Healthchecks),
		Resilience: c.resilience(),
	}
}

func (c *compiler) resilience() upstream.Resilience {
	r := &c.cfg.Node.Resilience
	return upstream.Resilience{
		Retry:       upstream.RetryBudget{Percent: r.RetryBudget.Percent, MinPerSecond: r.RetryBudget.MinPerSecond},
		Connections: r.Breaker.Connections,
		Pending:     r.Breaker.Pending,
		SlowStart:   r.SlowStart.Std(),
		Hedge: upstream.Hedge{
			Delay:  r.Hedge.Delay.Std(),
			Budget: upstream.RetryBudget{Percent: r.Hedge.Percent, MinPerSecond: r.Hedge.MinPerSecond},
		},
	}
}

// checks compiles an upstream's health checks. As in Kong they are on if probes
// are sent or if traffic can make a target unhealthy.
func checks(h *config.Healthchecks) upstream.Checks {
	active, passive := &h.Active, &h.Passive
	return upstream.Checks{
		Active: upstream.CheckRules{
			Successes:    active.Healthy.Successes,
			HTTPFailures: active.Unhealthy.HTTPFailures,
			TCPFailures:  active.Unhealthy.TCPFailures,
			Timeouts:     active.Unhealthy.Timeouts,
			Healthy:      upstream.NewStatusSet(active.Healthy.HTTPStatuses),
			Unhealthy:    upstream.NewStatusSet(active.Unhealthy.HTTPStatuses),
			AnyStatus:    active.Type == config.ProbeTCP || active.Type == config.ProbeUDP,
		},
		Passive: upstream.CheckRules{
			Successes:    passive.Healthy.Successes,
			HTTPFailures: passive.Unhealthy.HTTPFailures,
			TCPFailures:  passive.Unhealthy.TCPFailures,
			Timeouts:     passive.Unhealthy.Timeouts,
			Healthy:      upstream.NewStatusSet(passive.Healthy.HTTPStatuses),
			Unhealthy:    upstream.NewStatusSet(passive.Unhealthy.HTTPStatuses),
			AnyStatus:    passive.Type == config.ProbeTCP,
		},
		On: active.Healthy.Interval > 0 || active.Unhealthy.Interval > 0 ||
			passive.Unhealthy.HTTPFailures > 0 || passive.Unhealthy.TCPFailures > 0 || passive.Unhealthy.Timeouts > 0,
		Threshold: h.Threshold,
	}
}

// hashPolicy compiles what an upstream's consistent hashing goes by, or nil.
func hashPolicy(e *config.Upstream) *l7.HashPolicy {
	on, ok := l7.ParseHashKind(e.HashOn)
	fallback, okFallback := l7.ParseHashKind(e.HashFallback)
	if !ok || !okFallback {
		panic("BUG: hash_on " + e.HashOn + " or hash_fallback " + e.HashFallback + " passed validation")
	}
	if on == l7.HashNone {
		return nil
	}
	return &l7.HashPolicy{
		On:         l7.HashSource{Kind: on, Name: e.HashOnName()},
		Fallback:   l7.HashSource{Kind: fallback, Name: e.HashFallbackName()},
		CookiePath: e.HashOnCookiePath,
	}
}
