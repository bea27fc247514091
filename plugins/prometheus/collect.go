package prometheus

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// The label subsystem. Client connections of streams are not told apart from those
// of HTTP.
const (
	subsystemHTTP   = "http"
	subsystemStream = "stream"
)

// workspace is the label of that name: there is one workspace.
const workspace = "default"

// The series, under Kong's names and labels.
var (
	requestsDesc  = prometheus.NewDesc("kong_http_requests_total", "Answers of a service's routes, by status.", []string{"service", "route", "code", "source", "workspace", "consumer"}, nil)
	sessionsDesc  = prometheus.NewDesc("kong_stream_sessions_total", "Streams of a service's routes, by status.", []string{"service", "route", "code", "source", "workspace"}, nil)
	bandwidthDesc = prometheus.NewDesc("kong_bandwidth_bytes", "Bytes of requests and from clients of streams (ingress), and of responses and to those (egress).", []string{"service", "route", "direction", "workspace", "consumer"}, nil)
	kongDesc      = latencyDesc("kong_kong_latency_ms", "Milliseconds spent in the gateway before the upstream was asked, or all if it was not.")
	upstreamDesc  = latencyDesc("kong_upstream_latency_ms", "Milliseconds until the head of the upstream's answer.")
	requestDesc   = latencyDesc("kong_request_latency_ms", "Milliseconds of the whole exchange.")
	sessionDesc   = latencyDesc("kong_session_duration_ms", "Milliseconds that streams lasted.")

	healthDesc      = prometheus.NewDesc("kong_upstream_target_health", "1 for the state that an address of a target is in, 0 for the others.", []string{"upstream", "target", "address", "state", "subsystem"}, nil)
	connectionsDesc = prometheus.NewDesc("kong_nginx_connections_total", "Client connections, by state.", []string{"node_id", "subsystem", "state"}, nil)
	totalDesc       = prometheus.NewDesc("kong_nginx_requests_total", "Requests answered.", []string{"node_id", "subsystem"}, nil)
	datastoreDesc   = prometheus.NewDesc("kong_datastore_reachable", "Whether the configuration's store can be reached.", nil, nil)
	nodeDesc        = prometheus.NewDesc("kong_node_info", "This process.", []string{"node_id", "version"}, nil)
)

func latencyDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"service", "route", "workspace"}, nil)
}

// collector writes out what a registry has counted.
type collector struct{ *registry }

// Describe sends every description.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requestsDesc, sessionsDesc, bandwidthDesc, kongDesc, upstreamDesc, requestDesc, sessionDesc,
		healthDesc, connectionsDesc, totalDesc, datastoreDesc, nodeDesc,
	} {
		ch <- d
	}
}

// Collect sends the present values.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.sendNode(ch)
	c.mu.Lock()
	cells := slices.Collect(maps.Values(c.all))
	latency, consumer, health := c.latency > 0, c.consumer > 0, c.health > 0
	c.mu.Unlock()
	if health {
		c.metrics.EachTarget(func(t telemetry.TargetSeries, v float64) { sendHealth(ch, &t, v) })
	}
	// Names that equal other's ids would make the same series twice, which would
	// spoil the whole scrape.
	seen := make(map[labels]bool, len(cells))
	for _, cell := range cells {
		if seen[cell.labels] {
			continue
		}
		seen[cell.labels] = true
		if cell.consumer == "" || consumer {
			cell.sendCounts(ch)
		}
		if h := cell.latencies.Load(); h != nil && latency {
			cell.sendLatencies(ch, h)
		}
	}
}

// sendHealth sends the health of a target for each subsystem that uses its
// upstream; one that none uses is told under http.
func sendHealth(ch chan<- prometheus.Metric, t *telemetry.TargetSeries, v float64) {
	send := func(subsystem string) {
		ch <- prometheus.MustNewConstMetric(healthDesc, prometheus.GaugeValue, v, t.Upstream, t.Target, t.Address, t.State, subsystem)
	}
	if t.Used.Requests || !t.Used.Streams {
		send(subsystemHTTP)
	}
	if t.Used.Streams {
		send(subsystemStream)
	}
}

// sendNode sends what does not depend on routes.
func (c collector) sendNode(ch chan<- prometheus.Metric) {
	s := c.metrics.Connections()
	for state, n := range map[string]float64{
		"accepted": float64(s.Accepted), "handled": float64(s.Handled), "total": float64(s.TotalRequests),
		"active": float64(s.Active), "reading": float64(s.Reading), "writing": float64(s.Writing), "waiting": float64(s.Waiting),
	} {
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, n, c.node, subsystemHTTP, state)
	}
	ch <- prometheus.MustNewConstMetric(totalDesc, prometheus.GaugeValue, float64(s.TotalRequests), c.node, subsystemHTTP)
	ch <- prometheus.MustNewConstMetric(datastoreDesc, prometheus.GaugeValue, 1)
	ch <- prometheus.MustNewConstMetric(nodeDesc, prometheus.GaugeValue, 1, c.node, c.metrics.Version())
}

func (c *cell) sendCounts(ch chan<- prometheus.Metric) {
	if all := c.codes.Load(); all != nil {
		for _, k := range *all {
			code, source := other, "kong"
			if k.status != 0 {
				code = strconv.Itoa(k.status)
			}
			if k.proxied {
				source = "service"
			}
			desc, values := requestsDesc, []string{c.service, c.route, code, source, workspace, c.consumer}
			if c.stream {
				desc, values = sessionsDesc, values[:5] // streams have no consumers
			}
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(k.n.Load()), values...)
		}
	}
	if n := c.requestBytes.Load(); n > 0 {
		ch <- prometheus.MustNewConstMetric(bandwidthDesc, prometheus.CounterValue, float64(n), c.service, c.route, "ingress", workspace, c.consumer)
	}
	if n := c.responseBytes.Load(); n > 0 {
		ch <- prometheus.MustNewConstMetric(bandwidthDesc, prometheus.CounterValue, float64(n), c.service, c.route, "egress", workspace, c.consumer)
	}
}

func (c *cell) sendLatencies(ch chan<- prometheus.Metric, h *latencyCounts) {
	ch <- h.kong.metric(kongDesc, kongBounds, c.service, c.route, workspace)
	whole := requestDesc
	if c.stream {
		whole = sessionDesc
	}
	ch <- h.whole.metric(whole, externalBounds, c.service, c.route, workspace)
	if h.upstream.used() {
		ch <- h.upstream.metric(upstreamDesc, externalBounds, c.service, c.route, workspace)
	}
}

func (h *histogram) used() bool {
	for i := range h.buckets {
		if h.buckets[i].Load() > 0 {
			return true
		}
	}
	return false
}

// metric returns the histogram as Prometheus wants it: each bucket counts all
// those below it too.
func (h *histogram) metric(d *prometheus.Desc, bounds []int, values ...string) prometheus.Metric {
	sum := float64(h.sum.Load()) / float64(time.Millisecond) // before the buckets, so that it never runs ahead of the count by much
	var n uint64
	buckets := make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		n += h.buckets[i].Load()
		buckets[float64(bound)] = n
	}
	n += h.buckets[len(bounds)].Load()
	return prometheus.MustNewConstHistogram(d, n, sum, buckets, values...)
}
