package edge

import (
	"reflect"
	"slices"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

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
	case config.KindCertificate:
		t.trust = true
	case config.KindCACertificate:
		t.trust = true
		for _, e := range c.Plugins.All() {
			if trusts, ok := e.Config.(config.Truster); ok && slices.Contains(trusts.Authorities(), key.ID) {
				t.plugin(e)
			}
		}
	case config.KindPlugin:
		if e, ok := c.Plugins.Get(key.ID); ok {
			t.plugin(e)
		}
	}
}

// plugin adds whose plans an instance may be part of.
func (t *touched) plugin(e *config.Plugin) {
	switch {
	case !e.Consumer.IsZero(): // plans of routes are for no consumer
	case !e.Route.IsZero():
		t.routes[e.Route.ID] = true
	case !e.Service.IsZero():
		t.services[e.Service.ID] = true
	default:
		t.plans = true
	}
}

func (t *touched) host(c *config.Config, upstream config.ID) {
	if e, ok := c.Upstreams.Get(upstream); ok {
		t.hosts[e.Name] = true
	}
}

// balancing reports whether a service, or an upstream and how it is checked, may
// have to be compiled anew. On nil everything must.
func (t *touched) balancing() bool {
	if t == nil || t.trust || len(t.hosts) > 0 {
		return true
	}
	for key := range t.entities {
		if key.Kind == config.KindService || key.Kind == config.KindUpstream || key.Kind == config.KindTarget {
			return true
		}
	}
	return false
}

// service reports whether a service must be compiled anew. On nil everything
// must.
func (t *touched) service(e *config.Service) bool {
	return t == nil || t.entities[config.Key{Kind: config.KindService, ID: e.ID}] || t.hosts[e.Host] ||
		t.trust && e.SpeaksTLS()
}

// route reports whether a route must be compiled anew, apart from its service
// and its plan. On nil everything must.
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

// adoptBalancing takes over all services, and all upstreams with their checks,
// if nothing may have changed in them.
func (c *compiler) adoptBalancing() bool {
	if c.touched.balancing() {
		return false
	}
	c.snap.services, c.snap.balancers = c.prev.services, c.prev.balancers
	c.snap.streams.services = c.prev.streams.services
	c.snap.groups, c.snap.checks = c.prev.groups, c.prev.checks
	return true
}

// adoptRoute takes over a route of the old snapshot if it is still right.
func (c *compiler) adoptRoute(e *config.Route, service *l7.Service, old *oldRoutes) bool {
	r := old.find(e)
	if r == nil || r.Service != service {
		return false
	}
	if c.touched.plan(e) {
		if c.plans.forRoute(e).plan != r.Plan {
			return false
		}
	} else {
		c.plans.keep(r.Plan)
	}
	c.snap.routes = append(c.snap.routes, r)
	return true
}

// oldRoutes finds the routes of the old snapshot. Mostly they are asked for in
// their own order.
type oldRoutes struct {
	touched *touched
	left    []*l7.Route               // those behind the last one that was found
	byID    map[config.ID][]*l7.Route // each with what is behind it; nil until one is asked for out of order
	all     []*l7.Route
}

// oldRoutes returns the routes of the old snapshot, none if everything is to be
// compiled anew.
func (c *compiler) oldRoutes() *oldRoutes {
	if c.touched == nil {
		return new(oldRoutes)
	}
	return &oldRoutes{touched: c.touched, left: c.prev.routes, all: c.prev.routes}
}

// find returns the route of an entity, nil if the old snapshot has none of it
// as it is now.
func (o *oldRoutes) find(e *config.Route) *l7.Route {
	if len(o.left) > 0 && o.left[0].Entity == e {
		r := o.left[0]
		o.left = o.left[1:]
		return r
	}
	if o.touched.route(e) {
		return nil
	}
	for len(o.left) > 0 && o.touched.route(o.left[0].Entity) {
		o.left = o.left[1:] // changed, or gone
	}
	if len(o.left) == 0 || o.left[0].Entity != e {
		if o.byID == nil {
			o.byID = make(map[config.ID][]*l7.Route, len(o.all))
			for i, r := range o.all {
				o.byID[r.Entity.ID] = o.all[i:]
			}
		}
		found := o.byID[e.ID]
		if len(found) == 0 || found[0].Entity != e {
			return nil
		}
		o.left = found
	}
	r := o.left[0]
	o.left = o.left[1:]
	return r
}

// buildRouter makes the router of the snapshot's routes: of the old one and of
// what differs, unless everything is compiled anew.
func (c *compiler) buildRouter() (err error) {
	if c.touched == nil {
		c.snap.router, err = l7.NewFlavoredRouter(c.cfg.Node.Flavor, c.snap.routes)
	} else {
		c.snap.router, err = c.prev.router.With(c.snap.routes)
	}
	return err
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
