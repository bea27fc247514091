package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// guest is a collector that is not of this package.
type guest struct{ prometheus.Collector }

// Register adds what c collects to /metrics, until remove is called. Series that
// are there already, by name and labels, make the whole scrape an error: names
// begin with something of their own. c is asked by several scrapes at once and
// must not call back into m's Register.
func (m *Metrics) Register(c prometheus.Collector) (remove func()) {
	g := &guest{c}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guests[g] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.guests, g)
	}
}

// guests collects what is registered at the time of a scrape.
type guests struct{ m *Metrics }

// Describe sends nothing: what there is changes while the process runs.
func (guests) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present values of all.
func (g guests) Collect(ch chan<- prometheus.Metric) {
	g.m.mu.Lock()
	all := make([]*guest, 0, len(g.m.guests))
	for c := range g.m.guests {
		all = append(all, c)
	}
	g.m.mu.Unlock()
	for _, c := range all {
		c.Collect(ch)
	}
}
