package edge

import (
	"errors"
	"fmt"
	"sync"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// guard is what a listener's own plugins do.
type guard struct {
	conn  []l4.ConnHook // judge a connection, in order
	first *l7.Plan      // runs before the plan of each exchange; nil: nothing

	streams []*instance // run before the plan of each stream, in order
}

// buildGuard builds the plugins of a listener, or adopts them.
func (c *compiler) buildGuard(l *config.Listener) (*guard, error) {
	g := new(guard)
	var errs []error
	byOrder := make([]*instance, len(c.env.Kinds))
	for _, p := range l.Plugins {
		in, err := c.buildPlugin(&config.Plugin{ID: p.ID, Name: p.Name, Config: p.Config, Enabled: true})
		if err != nil {
			errs = append(errs, fmt.Errorf("building plugin %q of listener %q: %w", p.Name, l.Name, err))
			continue
		}
		byOrder[in.order] = in
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var instances []l7.Instance
	for order, in := range byOrder {
		if in == nil {
			continue
		}
		if h, ok := in.plugin.(l4.ConnHook); ok {
			g.conn = append(g.conn, h)
			continue
		}
		if in.kind.Speaks&plugins.Stream != 0 {
			g.streams = append(g.streams, in)
		}
		// Below zero, so that they stand before every instance of other scopes.
		instances = append(instances, l7.Instance{Order: order - len(byOrder), Kind: in.kind.Name, Plugin: in.plugin, Build: in.build})
	}
	if len(instances) > 0 {
		g.first = l7.NewPlan(instances)
	}
	return g, nil
}

// listeners returns the listeners that there are, and those that this snapshot
// takes away: what they have accepted by then is served by their own rules.
func (c *compiler) listeners() []*config.Listener {
	var all []*config.Listener
	names := make(map[string]bool)
	add := func(list []config.Listener) {
		for i := range list {
			if l := &list[i]; !names[l.Name] {
				names[l.Name] = true
				all = append(all, l)
			}
		}
	}
	add(c.cfg.Node.Listeners)
	if c.prev.Config != nil {
		add(c.prev.Config.Node.Listeners)
	}
	return all
}

// refuses reports whether a plugin refuses a connection.
func (g *guard) refuses(info *l4.Info) bool {
	for _, h := range g.conn {
		if h.Conn(info) {
			return true
		}
	}
	return false
}

// put lets a pipeline run the guard's plan before the others.
func (g *guard) put(p *l7.Pipeline, routes []*l7.Route) {
	if g.first == nil {
		return
	}
	f := &front{first: g.first, fixed: make(map[*l7.Plan]*l7.Plan), others: make(map[*l7.Plan]*l7.Plan)}
	p.Global = f.add(p.Global)
	for _, r := range routes {
		f.add(r.Plan)
	}
	p.RoutePlan = func(r *l7.Route) *l7.Plan { return f.fixed[r.Plan] }
	if of := p.ConsumerPlan; of != nil {
		p.ConsumerPlan = func(r *l7.Route, c *config.Consumer) *l7.Plan { return f.plan(of(r, c)) }
	}
}

// front finds the plan that begins with a listener's own and goes on with
// another one.
type front struct {
	first *l7.Plan
	fixed map[*l7.Plan]*l7.Plan // those that are known when the snapshot is compiled

	mu     sync.Mutex
	others map[*l7.Plan]*l7.Plan // those of consumers, at most maxCachedPlans
}

// add makes a plan known, while the snapshot is compiled.
func (f *front) add(p *l7.Plan) *l7.Plan {
	joined := f.fixed[p]
	if joined == nil {
		joined = f.first.Join(p)
		f.fixed[p] = joined
	}
	return joined
}

func (f *front) plan(p *l7.Plan) *l7.Plan {
	if joined := f.fixed[p]; joined != nil {
		return joined
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	joined := f.others[p]
	if joined == nil {
		joined = f.first.Join(p)
		if len(f.others) < maxCachedPlans {
			f.others[p] = joined
		}
	}
	return joined
}
