package edge

import (
	"slices"
	"sync"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// scope is what an instance is limited to; a zero id is no limit.
type scope struct{ route, service, consumer config.ID }

// sharedPlan is a plan, an *l7.Plan or *l4.Plan, and what it was made of. Routes
// with the same instances share it, and so do snapshots.
type sharedPlan[P any] struct {
	plan      *P
	key       string // the ids of the instances
	instances []*instance
}

// planner chooses, for a route, the one instance of each kind that runs: the most
// specific one (Kong's plugin precedence). There is one for requests and one for
// streams.
type planner[P any] struct {
	kinds   []map[scope]*instance // by order
	limited map[config.ID]bool    // routes and services with an instance of their own
	global  *sharedPlan[P]
	plans   map[string]*sharedPlan[P] // those in use, by key
	old     map[string]*sharedPlan[P] // those of the old snapshot
	kept    map[*P]bool               // of them, those in use
	build   func([]*instance) *P
}

// consumerPlans finds the plans of requests whose consumer is known.
type consumerPlans struct {
	*planner[l7.Plan]
	consumers map[config.ID]bool // consumers with an instance of their own

	mu    sync.Mutex                // guards cache
	cache map[[2]config.ID]*l7.Plan // by route and consumer
}

// maxCachedPlans bounds the plans kept for pairs of route and consumer. Beyond
// it they are made for each exchange.
const maxCachedPlans = 1 << 16

// newPlanner returns a planner of the instances that run on a protocol for which
// on returns true.
func newPlanner[P any](kinds []plugins.Kind, built map[config.ID]*placed, on func(config.Protocol) bool, build func([]*instance) *P, old map[string]*sharedPlan[P]) *planner[P] {
	p := &planner[P]{
		kinds:   make([]map[scope]*instance, len(kinds)),
		limited: make(map[config.ID]bool),
		plans:   make(map[string]*sharedPlan[P]),
		old:     old,
		kept:    make(map[*P]bool),
		build:   build,
	}
	for _, in := range built {
		if !slices.ContainsFunc(in.protocols, on) {
			continue
		}
		s := in.scope
		if p.kinds[in.order] == nil {
			p.kinds[in.order] = make(map[scope]*instance)
		}
		p.kinds[in.order][s] = in.instance
		if s.consumer.IsZero() {
			p.limited[s.route], p.limited[s.service] = true, true
		}
	}
	delete(p.limited, config.ID{})
	p.global = p.share(p.choose(scope{}))
	return p
}

// forRoute returns what runs on a route while no consumer is known.
func (p *planner[P]) forRoute(r *config.Route) *sharedPlan[P] {
	if !p.limited[r.ID] && !p.limited[r.Service.ID] {
		return p.global
	}
	return p.share(p.choose(scope{route: r.ID, service: r.Service.ID}))
}

// share returns the plan of some instances, the same for the same ones.
func (p *planner[P]) share(instances []*instance) *sharedPlan[P] {
	key := make([]byte, 0, len(instances)*len(config.ID{}))
	for _, in := range instances {
		key = append(key, in.entity.ID[:]...)
	}
	if s := p.plans[string(key)]; s != nil {
		return s
	}
	s := p.old[string(key)]
	if s == nil || !slices.Equal(s.instances, instances) {
		s = &sharedPlan[P]{plan: p.build(instances), key: string(key), instances: instances}
	}
	p.plans[s.key] = s
	return s
}

// keep counts a plan of the old snapshot among those in use.
func (p *planner[P]) keep(plan *P) {
	if plan != p.global.plan {
		p.kept[plan] = true
	}
}

// done lets go of the old snapshot's plans and returns those in use.
func (p *planner[P]) done() map[string]*sharedPlan[P] {
	for key, s := range p.old {
		if p.kept[s.plan] {
			p.plans[key] = s
		}
	}
	p.old, p.kept = nil, nil
	return p.plans
}

func newPlan(instances []*instance) *l7.Plan {
	list := make([]l7.Instance, len(instances))
	for i, in := range instances {
		list[i] = l7.Instance{Order: in.order, Kind: in.kind.Name, Plugin: in.plugin, Build: in.build}
	}
	return l7.NewPlan(list)
}

func newStreamPlan(instances []*instance) *l4.Plan {
	kinds, built := make([]string, len(instances)), make([]any, len(instances))
	for i, in := range instances {
		kinds[i], built[i] = in.kind.Name, in.plugin
	}
	return l4.NewPlan(kinds, built)
}

// forConsumers returns the function that finds a consumer's plan, or nil if no
// instance is limited to a consumer.
func forConsumers(p *planner[l7.Plan]) func(*l7.Route, *config.Consumer) *l7.Plan {
	c := &consumerPlans{planner: p, consumers: make(map[config.ID]bool), cache: make(map[[2]config.ID]*l7.Plan)}
	for _, scopes := range p.kinds {
		for s := range scopes {
			if !s.consumer.IsZero() {
				c.consumers[s.consumer] = true
			}
		}
	}
	if len(c.consumers) == 0 {
		return nil
	}
	return c.plan
}

func (p *consumerPlans) plan(r *l7.Route, c *config.Consumer) *l7.Plan {
	if c == nil || !p.consumers[c.ID] {
		return r.Plan
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]config.ID{r.Entity.ID, c.ID}
	plan := p.cache[key]
	if plan == nil {
		plan = newPlan(p.choose(scope{r.Entity.ID, r.Entity.Service.ID, c.ID}))
		if len(p.cache) < maxCachedPlans {
			p.cache[key] = plan
		}
	}
	return plan
}

// choose returns the instances that run within s, in order.
func (p *planner[P]) choose(s scope) []*instance {
	var chosen []*instance
	for _, instances := range p.kinds {
		if in := mostSpecific(instances, s); in != nil {
			chosen = append(chosen, in)
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
