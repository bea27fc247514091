package edge

import (
	"reflect"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// compiledRoute is a route of a snapshot, with what a later snapshot needs to
// adopt it.
type compiledRoute struct {
	*l7.Route
	plan *sharedPlan
}

// compiledService is a service of a snapshot, with what a later snapshot needs
// to adopt it.
type compiledService struct {
	*l7.Service
	balancer string // its balancer's key in the snapshot
}

// touched is what a change of configuration may have an effect on. Entities
// that are not touched are compiled to the same as before.
type touched struct {
	entities map[config.Key]bool // the changed ones themselves
	hosts    map[string]bool     // of services, whose upstream or its targets changed
	trust    bool                // a certificate or an authority changed
	plans    bool                // of every route
	routes   map[config.ID]bool  // whose plugins changed
	services map[config.ID]bool  // whose plugins changed
}

// touch works out what follows from the keys that differ between two
// configurations. It returns nil if everything may: if prev is none, if it is
// not known what has changed, or if settings of the node have.
func touch(cfg *config.Config, changed []config.Key, prev *config.Config) *touched {
	if prev == nil || changed == nil || !reflect.DeepEqual(cfg.Node, prev.Node) {
		return nil
	}
	t := &touched{
		entities: make(map[config.Key]bool, len(changed)),
		hosts:    make(map[string]bool),
		routes:   make(map[config.ID]bool),
		services: make(map[config.ID]bool),
	}
	for _, key := range changed {
		t.entities[key] = true
		for _, c := range [...]*config.Config{prev, cfg} { // as it was, and as it is
			t.follow(key, c)
		}
	}
	return t
}

// follow adds what depends on the entity as it stands in c.
func (t *touched) follow(key config.Key, c *config.Config) {
	switch key.Kind {
	case config.KindUpstream:
		t.host(c, key.ID)
	case config.KindTarget:
		if e, ok := c.Targets.Get(key.ID); ok {
			t.host(c, e.Upstream.ID)
		}
	case config.KindCertificate, config.KindCACertificate:
		t.trust = true
	case config.KindPlugin:
		e, ok := c.Plugins.Get(key.ID)
		switch {
		case !ok || !e.Consumer.IsZero(): // plans of routes are for no consumer
		case !e.Route.IsZero():
			t.routes[e.Route.ID] = true
		case !e.Service.IsZero():
			t.services[e.Service.ID] = true
		default:
			t.plans = true
		}
	}
}

func (t *touched) host(c *config.Config, upstream config.ID) {
	if e, ok := c.Upstreams.Get(upstream); ok {
		t.hosts[e.Name] = true
	}
}

// service reports whether a service must be compiled anew. On nil everything
// must.
func (t *touched) service(e *config.Service) bool {
	return t == nil || t.entities[config.Key{Kind: config.KindService, ID: e.ID}] || t.hosts[e.Host] ||
		t.trust && e.Protocol == config.HTTPS
}

// route reports whether a route must be compiled anew, apart from its service
// and its plan.
func (t *touched) route(e *config.Route) bool {
	return t == nil || t.entities[config.Key{Kind: config.KindRoute, ID: e.ID}]
}

// plan reports whether the plan of a route that stayed the same, and with the
// same service, may be another one.
func (t *touched) plan(e *config.Route) bool {
	return t == nil || t.plans || t.routes[e.ID] || t.services[e.Service.ID]
}

// adoptService takes over a service of the old snapshot if it is still right.
func (c *compiler) adoptService(e *config.Service) bool {
	if c.touched.service(e) {
		return false
	}
	old, ok := c.prev.services[e.ID]
	if !ok || old.Entity != e {
		return false
	}
	c.snap.services[e.ID] = old
	c.snap.balancers[old.balancer] = old.Balancer
	return true
}

// adoptRoute takes over a route of the old snapshot if it is still right.
func (c *compiler) adoptRoute(e *config.Route, service *l7.Service, old map[config.ID]compiledRoute) bool {
	if c.touched.route(e) {
		return false
	}
	r, ok := old[e.ID]
	if !ok || r.Entity != e || r.Service != service {
		return false
	}
	if c.touched.plan(e) {
		if c.plans.forRoute(e) != r.plan {
			return false
		}
	} else {
		c.plans.keep(r.plan)
	}
	c.snap.routes = append(c.snap.routes, r)
	return true
}

// oldRoutes returns the routes of the old snapshot by id, none if everything is
// to be compiled anew.
func (c *compiler) oldRoutes() map[config.ID]compiledRoute {
	if c.touched == nil {
		return nil
	}
	old := make(map[config.ID]compiledRoute, len(c.prev.routes))
	for _, r := range c.prev.routes {
		old[r.Entity.ID] = r
	}
	return old
}

// buildRouter makes the router of the snapshot's routes, or adopts the old one
// if they are the same in the same order. It returns the routes.
func (c *compiler) buildRouter() (routes []*l7.Route, err error) {
	routes = make([]*l7.Route, len(c.snap.routes))
	same := c.touched != nil && len(routes) == len(c.prev.routes)
	for i, r := range c.snap.routes {
		routes[i] = r.Route
		same = same && r.Route == c.prev.routes[i].Route
	}
	if same {
		c.snap.router = c.prev.router
		return routes, nil
	}
	c.snap.router, err = l7.NewFlavoredRouter(c.cfg.Node.Flavor, routes)
	return routes, err
}

// targetsOf returns the targets of every upstream.
func targetsOf(cfg *config.Config) map[config.ID][]upstream.Target {
	targets := make(map[config.ID][]upstream.Target)
	for _, t := range cfg.Targets.All() {
		id := t.Upstream.ID
		targets[id] = append(targets[id], upstream.Target{Host: t.Host(), Port: t.Port(), Weight: t.Weight})
	}
	return targets
}
