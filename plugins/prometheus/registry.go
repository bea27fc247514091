package prometheus

import (
	"cmp"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// maxConsumerCells bounds the pairs of a route and a consumer that are counted by
// themselves.
const maxConsumerCells = 1 << 16

// other is the label of what is beyond a bound.
const other = "other"

// otherConsumer stands for the consumers beyond maxConsumerCells.
var otherConsumer = config.ID{0: 0xff}

// cellKey is what series are kept by.
type cellKey struct {
	route    config.ID
	consumer config.ID // zero: all, or those who are not told apart
	stream   bool      // the route is one of streams
}

// registry holds what the instances of a process count. It outlives reloads.
// Safe for concurrent use.
type registry struct {
	metrics *telemetry.Metrics
	node    string // id of this process among others
	most    int    // cells of consumers there may be

	// ready is read without a lock. It is never written to: all is what it will be
	// replaced by, once enough look-ups had to take the lock.
	ready atomic.Pointer[map[cellKey]*cell]

	mu        sync.Mutex
	all       map[cellKey]*cell
	missed    int            // look-ups since ready was replaced that found theirs only in all
	consumers int            // cells of a consumer in all
	cfg       *config.Config // what serves; nil: not known
	remove    func()         // takes the series from /metrics
	instances int
	latency   int // instances with these flags
	consumer  int
	health    int
}

func newRegistry(m *telemetry.Metrics) *registry {
	r := &registry{metrics: m, node: m.Node(), most: maxConsumerCells}
	r.clear()
	return r
}

func (r *registry) clear() {
	r.all, r.missed, r.consumers = make(map[cellKey]*cell), 0, 0
	r.ready.Store(new(map[cellKey]*cell))
}

// join counts an instance in; the first one opens the series.
func (r *registry) join(cfg *Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.instances == 0 {
		r.remove = r.metrics.Register(collector{r})
	}
	r.add(cfg, 1)
}

// leave counts an instance out; the last one ends the series.
func (r *registry) leave(cfg *Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(cfg, -1)
	if r.instances == 0 {
		r.remove()
		r.clear()
		r.cfg = nil
	}
}

func (r *registry) add(cfg *Config, n int) {
	r.instances += n
	if cfg.LatencyMetrics {
		r.latency += n
	}
	if cfg.PerConsumer {
		r.consumer += n
	}
	if cfg.UpstreamHealthMetrics {
		r.health += n
	}
}

// owner is whom an exchange or a stream is counted for.
type owner struct {
	route    *config.Route
	service  *config.Service
	consumer *config.Consumer // nil: consumers are not told apart
}

func (o *owner) key() cellKey {
	key := cellKey{route: o.route.ID, stream: o.route.Stream()}
	if o.consumer != nil {
		key.consumer = o.consumer.ID
	}
	return key
}

// cell returns where an exchange or a stream with a service is counted, or nil if
// its route or consumer is gone.
func (r *registry) cell(o owner) *cell {
	key := o.key()
	if c := (*r.ready.Load())[key]; c != nil {
		return c
	}
	return r.find(key, &o)
}

// find is cell for what ready does not have.
func (r *registry) find(key cellKey, o *owner) *cell {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.all[key]
	if c == nil {
		if c = r.grow(key, o); c == nil {
			return nil
		}
	}
	// As many look-ups as there are cells pay for a copy of them.
	if r.missed++; r.missed >= len(r.all) {
		all := maps.Clone(r.all)
		r.ready.Store(&all)
		r.missed = 0
	}
	return c
}

// grow adds the cell of a key.
func (r *registry) grow(key cellKey, o *owner) *cell {
	if r.cfg != nil && !known(r.cfg, key) {
		return nil // it is of a configuration that is gone
	}
	c := &cell{labels: labelsOf(o.route, o.service), stream: key.stream}
	if !key.consumer.IsZero() {
		if r.consumers >= r.most {
			shared := cellKey{key.route, otherConsumer, key.stream}
			if old := r.all[shared]; old != nil {
				return old
			}
			key, c.consumer = shared, other
		} else {
			r.consumers++
			c.consumer = nameOf(o.consumer)
		}
	}
	r.all[key] = c
	return c
}

// follow makes cfg what serves, and drops the cells of what it does not have or
// has under other names.
func (r *registry) follow(cfg *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg == cfg {
		return // another instance was told
	}
	r.cfg = cfg
	for key, c := range r.all {
		if !known(cfg, key) || !c.fits(cfg, key) {
			delete(r.all, key)
			if key.consumer != otherConsumer && !key.consumer.IsZero() {
				r.consumers--
			}
		}
	}
	all := maps.Clone(r.all)
	r.ready.Store(&all)
	r.missed = 0
}

// known reports whether cfg serves the route and has the consumer of a key.
func known(cfg *config.Config, key cellKey) bool {
	route, ok := cfg.Routes.Get(key.route)
	if !ok || route.Stream() != key.stream {
		return false
	}
	service, ok := cfg.Services.Get(route.Service.ID)
	if !ok || !service.Enabled {
		return false
	}
	if key.consumer.IsZero() || key.consumer == otherConsumer {
		return true
	}
	_, ok = cfg.Consumers.Get(key.consumer)
	return ok
}

// labelsOf returns the labels that do not tell consumers apart.
func labelsOf(route *config.Route, service *config.Service) labels {
	return labels{service: cmp.Or(service.Name, service.Host), route: cmp.Or(route.Name, route.ID.String())}
}

func nameOf(c *config.Consumer) string { return cmp.Or(c.Username, c.ID.String()) }

// fits reports whether a cell's labels are those of cfg, which has its key.
func (c *cell) fits(cfg *config.Config, key cellKey) bool {
	route, _ := cfg.Routes.Get(key.route)
	service, _ := cfg.Services.Get(route.Service.ID)
	want := labelsOf(route, service)
	if key.consumer == otherConsumer {
		want.consumer = other
	} else if consumer, ok := cfg.Consumers.Get(key.consumer); ok {
		want.consumer = nameOf(consumer)
	}
	return c.labels == want
}
