package edge

import (
	"slices"
	"sync"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// scope is what an instance is limited to; a zero id is no limit.
type scope struct{ route, service, consumer config.ID }

// planner chooses, for a route and a consumer, the one instance of each kind
// that runs: the most specific one (Kong's plugin precedence).
type planner struct {
	kinds     []map[scope]*instance // by order
	global    *l7.Plan
	routes    []l7.Instance             // of the global plan
	consumers map[config.ID]bool        // consumers with an instance of their own
	mu        sync.Mutex                // guards cache
	cache     map[[2]config.ID]*l7.Plan // by route and consumer
}

// maxCachedPlans bounds the plans kept for pairs of route and consumer. Beyond
// it they are made for each exchange.
const maxCachedPlans = 1 << 16

func newPlanner(kinds []plugins.Kind, cfg *config.Config, built map[pluginKey]*instance) *planner {
	p := &planner{
		kinds:     make([]map[scope]*instance, len(kinds)),
		consumers: make(map[config.ID]bool),
		cache:     make(map[[2]config.ID]*l7.Plan),
	}
	for _, in := range built {
		// The entity of this configuration, since an adopted instance may have
		// been moved to another scope.
		e, ok := cfg.Plugins.Get(in.entity.ID)
		if !ok {
			continue
		}
		s := scope{e.Route.ID, e.Service.ID, e.Consumer.ID}
		if p.kinds[in.order] == nil {
			p.kinds[in.order] = make(map[scope]*instance)
		}
		p.kinds[in.order][s] = in
		if !s.consumer.IsZero() {
			p.consumers[s.consumer] = true
		}
	}
	p.routes = p.choose(scope{})
	p.global = l7.NewPlan(p.routes)
	return p
}

// forRoute returns what runs on a route while no consumer is known.
func (p *planner) forRoute(r *config.Route) *l7.Plan {
	instances := p.choose(scope{route: r.ID, service: r.Service.ID})
	if slices.Equal(instances, p.routes) {
		return p.global
	}
	return l7.NewPlan(instances)
}

// consumerPlan returns the function that finds a consumer's plan, or nil if no
// instance is limited to a consumer.
func (p *planner) consumerPlan() func(*l7.Route, *config.Consumer) *l7.Plan {
	if len(p.consumers) == 0 {
		return nil
	}
	return func(r *l7.Route, c *config.Consumer) *l7.Plan {
		if c == nil || !p.consumers[c.ID] {
			return r.Plan
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		key := [2]config.ID{r.Entity.ID, c.ID}
		plan := p.cache[key]
		if plan == nil {
			plan = l7.NewPlan(p.choose(scope{r.Entity.ID, r.Entity.Service.ID, c.ID}))
			if len(p.cache) < maxCachedPlans {
				p.cache[key] = plan
			}
		}
		return plan
	}
}

// choose returns the instances that run within s, in order.
func (p *planner) choose(s scope) []l7.Instance {
	var chosen []l7.Instance
	for order, instances := range p.kinds {
		if in := mostSpecific(instances, s); in != nil {
			chosen = append(chosen, l7.Instance{Order: order, Kind: in.kind.Name, Plugin: in.plugin})
		}
	}
	return chosen
}

// mostSpecific returns the instance whose limits are all met by s and come
// first in Kong's order.
func mostSpecific(instances map[scope]*instance, s scope) *instance {
	if len(instances) == 0 {
		return nil
	}
	for _, limit := range [...]scope{
		{s.route, s.service, s.consumer},
		{route: s.route, consumer: s.consumer},
		{service: s.service, consumer: s.consumer},
		{route: s.route, service: s.service},
		{consumer: s.consumer},
		{route: s.route},
		{service: s.service},
		{},
	} {
		if in := instances[limit]; in != nil {
			return in
		}
	}
	return nil
}
