package prometheus

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// one is a collector of one metric.
type one struct{ prometheus.Metric }

func (o one) Describe(ch chan<- *prometheus.Desc) { ch <- o.Desc() }
func (o one) Collect(ch chan<- prometheus.Metric) { ch <- o.Metric }

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 6 * time.Second, 7 * time.Second} {
		h.observe(d, kongBounds)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(one{h.metric(kongDesc, kongBounds, "s", "r", "w")})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := families[0].GetMetric()[0].GetHistogram()
	b := got.GetBucket()
	if got.GetSampleCount() != 5 || got.GetSampleSum() < 13002 || got.GetSampleSum() > 13002.1 ||
		b[0].GetCumulativeCount() != 2 || b[1].GetCumulativeCount() != 3 || b[len(b)-1].GetCumulativeCount() != 4 {
		t.Errorf("histogram %v", got)
	}
	if len(kongBounds) > maxBounds || len(externalBounds) > maxBounds {
		t.Error("there are more bounds than buckets")
	}
}

// TestConsumersBound lets more consumers come than are told apart: each route has
// one cell for the others, and a consumer who is gone makes room.
func TestConsumersBound(t *testing.T) {
	r := newRegistry(telemetry.NewMetrics(telemetry.Options{}))
	r.most = 10
	routes := []*l7.Route{newRoute(1), newRoute(2)}
	cell := func(route *l7.Route, n int) *cell {
		c := &config.Consumer{ID: config.ID{1, byte(n)}, Username: fmt.Sprint("c", n)}
		return r.cell(owner{route.Entity, route.Service.Entity, c})
	}
	for n := range 10 {
		if c := cell(routes[n%2], n); c.consumer != fmt.Sprint("c", n) {
			t.Errorf("consumer %d has the label %q", n, c.consumer)
		}
	}
	shared := cell(routes[0], 10)
	if shared.consumer != other || cell(routes[0], 11) != shared || cell(routes[0], 10) != shared {
		t.Error("the consumers beyond the bound do not share a cell of their route")
	}
	if c := cell(routes[1], 12); c.consumer != other || c == shared {
		t.Error("the others of another route share the cell")
	}
	if c := cell(routes[0], 4); c.consumer != "c4" {
		t.Errorf("one who was there before has the label %q", c.consumer)
	}
	if len(r.all) != 12 || r.consumers != 10 {
		t.Errorf("%d cells, %d of consumers, want 12 and 10", len(r.all), r.consumers)
	}
	r.follow(new(config.Config))
	if len(r.all) != 0 || r.consumers != 0 || len(*r.ready.Load()) != 0 {
		t.Errorf("%d cells are left, %d of consumers", len(r.all), r.consumers)
	}
}

func newRoute(n byte) *l7.Route {
	return &l7.Route{
		Entity:  &config.Route{ID: config.ID{n}, Name: fmt.Sprint("r", n)},
		Service: &l7.Service{Entity: &config.Service{Name: "shop"}},
	}
}
