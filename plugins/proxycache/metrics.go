package proxycache

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/plugins"
)

// storeOf returns the store of the process.
func storeOf(env plugins.Env) *store {
	return env.State.Value("proxy-cache store", func() any {
		s := newStore(env.State)
		if env.Metrics != nil {
			env.Metrics.Register(collector{s}) // as long as the process runs, so that no counter falls
		}
		return s
	}).(*store)
}

// The series.
var (
	requestsDesc = prometheus.NewDesc("bulwark_proxy_cache_requests_total", "Requests that proxy-cache has seen, by what it did: hit, stale, miss, refresh or bypass.", []string{"status"}, nil)
	entriesDesc  = prometheus.NewDesc("bulwark_proxy_cache_entries", "Answers, and lists of what they depend on, that proxy-cache has stored.", nil, nil)
	bytesDesc    = prometheus.NewDesc("bulwark_proxy_cache_bytes", "What they take of node.limits.cache_bytes.", nil, nil)
	evictedDesc  = prometheus.NewDesc("bulwark_proxy_cache_evictions_total", "Answers that made room for others.", nil, nil)
)

// statusLabels are the values of the label.
var statusLabels = [statusCount]string{statusHit: "hit", statusStale: "stale", statusMiss: "miss", statusRefresh: "refresh", statusBypass: "bypass"}

// collector tells what a store holds and did.
type collector struct{ *store }

// Describe sends every description.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- entriesDesc
	ch <- bytesDesc
	ch <- evictedDesc
}

// Collect sends the present values.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for st, label := range statusLabels {
		if label != "" {
			ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(c.counts[st].Load()), label)
		}
	}
	var entries, bytes, evicted int64
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.RLock()
		entries, bytes, evicted = entries+int64(len(sh.entries)), bytes+sh.bytes, evicted+sh.evicted
		sh.mu.RUnlock()
	}
	ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(entries))
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(bytes))
	ch <- prometheus.MustNewConstMetric(evictedDesc, prometheus.CounterValue, float64(evicted))
}
