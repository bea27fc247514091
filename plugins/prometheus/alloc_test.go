//go:build !race

package prometheus_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/prometheus"
)

func TestAllocations(t *testing.T) {
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true, LatencyMetrics: true, BandwidthMetrics: true, PerConsumer: true}, newEnv())
	rig := testkit.NewRig(t, p)
	rig.Consumer = consumer(1, "ann")
	if n := rig.Extra(t, nil, "GET", "/", func(*l7.Exchange) {}); n > 0 {
		t.Errorf("%v allocations more than without the plugin", n)
	}
}

// TestStreamAllocations counts what a stream costs.
func TestStreamAllocations(t *testing.T) {
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true, LatencyMetrics: true, BandwidthMetrics: true, PerConsumer: true}, newEnv())
	s := &l4.Session{
		Route:    &l4.Route{Entity: &config.Route{Name: "mail", Protocols: []config.Protocol{config.TCP}}, Service: &l4.Service{Entity: &config.Service{Name: "mail"}}},
		Received: 10, Sent: 20, Started: 1, Connected: 2, Ended: 3,
	}
	if n := testing.AllocsPerRun(1000, func() { p.LogSession(s) }); n > 0 {
		t.Errorf("%v allocations for a stream", n)
	}
}

func BenchmarkLog(b *testing.B) {
	p := newPlugin(b, prometheus.Config{StatusCodeMetrics: true, LatencyMetrics: true, BandwidthMetrics: true}, newEnv())
	rig := testkit.NewRig(b, p)
	b.ReportAllocs()
	for b.Loop() {
		rig.Serve("GET", "/")
	}
}
