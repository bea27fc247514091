package telemetry

import (
	"math"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds one answer to /metrics, scrapesAtOnce how many are made
// at the same time; further ones get 503.
const (
	scrapeTimeout = 10 * time.Second
	scrapesAtOnce = 4
)

// Handler returns what serves /metrics: the metrics themselves, the Go
// runtime's and the process's.
func (m *Metrics) Handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		newCollector(m),
		guests{m},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTimeout,
	})
}

// collector turns the counters of Metrics into Prometheus metrics when a
// scrape asks for them, so that the hot path knows only its own atomics.
type collector struct {
	m *Metrics

	accepted, active, refused, requests, duration, terminations *prometheus.Desc
	tries, refusedTries, connects, upstreamErrors               *prometheus.Desc
	hedges, hedgesWon, refusedHedges                            *prometheus.Desc
	lines, dropped, writeErrors                                 *prometheus.Desc
	reloads, config, loaded, build, panics, refusedFields       *prometheus.Desc
	health, omitted, bans, checkPanics, glitches                *prometheus.Desc
	lookups, lookupTime, stale, negative, dnsPanics             *prometheus.Desc
	streams                                                     streamDescs
}

func newCollector(m *Metrics) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		m:              m,
		streams:        newStreamDescs(desc),
		accepted:       desc("bulwark_connections_accepted_total", "Connections accepted, refused ones included.", "listener"),
		active:         desc("bulwark_connections_active", "Connections being served.", "listener", "state"),
		refused:        desc("bulwark_connections_refused_total", "Connections that were not served.", "listener", "reason"),
		requests:       desc("bulwark_requests_total", "Requests answered, by the class of the status.", "listener", "class"),
		duration:       desc("bulwark_request_duration_seconds", "Time from a request's head to the end of its answer."),
		terminations:   desc("bulwark_terminations_total", "Exchanges that ended early, by reason code.", "reason"),
		tries:          desc("bulwark_upstream_retries_total", "Further endpoints tried for requests after a first one."),
		refusedTries:   desc("bulwark_upstream_retries_refused_total", "Further endpoints that the retry budget did not allow to be tried."),
		hedges:         desc("bulwark_upstream_hedges_total", "Second tries of requests beside a first one that was slow."),
		hedgesWon:      desc("bulwark_upstream_hedges_won_total", "Hedges whose answer came first."),
		refusedHedges:  desc("bulwark_upstream_hedges_refused_total", "Hedges that the budgets did not allow."),
		connects:       desc("bulwark_upstream_connections_total", "Tries that needed a new connection."),
		upstreamErrors: desc("bulwark_upstream_errors_total", "Tries that went wrong, by kind.", "kind"),
		lines:          desc("bulwark_access_log_lines_total", "Access log lines taken into the buffer."),
		dropped:        desc("bulwark_access_log_dropped_lines_total", "Access log lines lost."),
		writeErrors:    desc("bulwark_access_log_write_errors_total", "Writes of the access log that went wrong."),
		reloads:        desc("bulwark_config_reloads_total", "Configurations offered to the edge, by result.", "result"),
		config:         desc("bulwark_config_info", "The configuration that serves.", "hash"),
		loaded:         desc("bulwark_config_loaded_timestamp_seconds", "When the serving configuration was swapped in."),
		build:          desc("bulwark_build_info", "The binary that runs.", "version", "revision", "go_version"),
		refusedFields:  desc("bulwark_refused_fields_total", "Header fields made by a plugin that may not stand in a message."),
		panics:         desc("bulwark_panics_total", "Panics recovered at the border of a connection or an exchange."),
		health:         desc("bulwark_upstream_target_health", "1 for the state that an address of a target is in, 0 for the others.", "upstream", "target", "address", "state"),
		glitches:       desc("bulwark_client_glitches_total", "Frames on connections of HTTP/2 that cost more than they are worth, by kind.", "kind"),
		bans:           desc("bulwark_bans_active", "Clients that no listener lets in at present."),
		checkPanics:    desc("bulwark_upstream_check_panics_total", "Panics recovered in probes of active checks."),
		lookups:        desc("bulwark_dns_lookups_total", "Names that were looked up, by what came of it: ok, not_found or failed.", "result"),
		lookupTime:     desc("bulwark_dns_lookup_duration_seconds", "Time that looking a name up took."),
		stale:          desc("bulwark_dns_stale_answers_total", "Times that an answer past its time was used."),
		negative:       desc("bulwark_dns_negative_hits_total", "Times that it was known, without asking, that a name has no answer."),
		dnsPanics:      desc("bulwark_dns_panics_total", "Panics recovered while name servers were asked."),
		omitted:        desc("bulwark_upstream_omitted_addresses", "Addresses of targets beyond the bound of bulwark_upstream_target_health."),
	}
}

// Describe sends every description.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.accepted, c.active, c.refused, c.requests, c.duration, c.terminations,
		c.tries, c.refusedTries, c.connects, c.upstreamErrors, c.hedges, c.hedgesWon, c.refusedHedges,
		c.lines, c.dropped, c.writeErrors,
		c.reloads, c.config, c.loaded, c.build, c.refusedFields, c.panics,
		c.health, c.omitted, c.bans, c.checkPanics, c.glitches,
		c.lookups, c.lookupTime, c.stale, c.negative, c.dnsPanics,
		c.streams.sessions, c.streams.active, c.streams.bytes, c.streams.datagrams, c.streams.ends, c.streams.connect, c.streams.duration,
	} {
		ch <- d
	}
}

// Collect sends the present values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m := c.m

	m.mu.Lock()
	listeners := make(map[string]*Listener, len(m.listeners))
	for name, l := range m.listeners {
		listeners[name] = l
	}
	hash, loaded, bans := m.hash, m.loaded, m.bans
	m.mu.Unlock()

	for name, l := range listeners {
		counter(c.accepted, l.Accepted.Load(), name)
		active, reading, waiting := l.Active.Load(), l.Reading.Load(), l.Waiting.Load()
		gauge(c.active, float64(reading), name, "reading")
		gauge(c.active, float64(max(0, active-reading-waiting)), name, "writing")
		gauge(c.active, float64(waiting), name, "waiting")
		for i := range l.refused {
			counter(c.refused, l.refused[i].Load(), name, refusalNames[i])
		}
		for i := range l.requests {
			counter(c.requests, l.requests[i].Load(), name, classNames[i])
		}
	}
	vec := func(d *prometheus.Desc, v *CounterVec) {
		for i, name := range v.names {
			counter(d, v.cells[i].Load(), name)
		}
	}
	for name, l := range listeners {
		c.streams.collectListener(counter, gauge, name, &l.Streams)
	}
	vec(c.streams.ends, m.Streams.Ends)
	ch <- m.Streams.Connect.metric(c.streams.connect)
	ch <- m.Streams.Duration.metric(c.streams.duration)
	vec(c.terminations, m.Terminations)
	vec(c.upstreamErrors, m.UpstreamErrors)
	vec(c.glitches, m.HTTP2Glitches)
	ch <- m.Requests.metric(c.duration)
	counter(c.tries, m.UpstreamRetries.Load())
	counter(c.refusedTries, m.UpstreamRetriesRefused.Load())
	counter(c.connects, m.UpstreamConnects.Load())
	counter(c.hedges, m.UpstreamHedges.Load())
	counter(c.hedgesWon, m.UpstreamHedgesWon.Load())
	counter(c.refusedHedges, m.UpstreamHedgesRefused.Load())
	counter(c.lines, m.AccessLog.Lines.Load())
	counter(c.dropped, m.AccessLog.Dropped.Load())
	counter(c.writeErrors, m.AccessLog.Errors.Load())
	counter(c.reloads, m.ConfigReloads.Load(), "ok")
	counter(c.reloads, m.ConfigReloadErrors.Load(), "failed")
	counter(c.refusedFields, m.RefusedFields.Load())
	counter(c.panics, m.Panics.Load())
	counter(c.checkPanics, m.CheckPanics.Load())
	counter(c.lookups, m.Names.Found.Load(), "ok")
	counter(c.lookups, m.Names.NotFound.Load(), "not_found")
	counter(c.lookups, m.Names.Failed.Load(), "failed")
	ch <- m.Names.Duration.metric(c.lookupTime)
	counter(c.stale, m.Names.Stale.Load())
	counter(c.negative, m.Names.Negative.Load())
	counter(c.dnsPanics, m.Names.Panics.Load())
	gauge(c.build, 1, m.version, m.revision, runtime.Version())
	if hash != "" {
		gauge(c.config, 1, hash)
		gauge(c.loaded, seconds(loaded))
	}
	if bans != nil {
		gauge(c.bans, float64(bans()))
	}
	if omitted, ok := m.EachTarget(func(t TargetSeries, v float64) {
		gauge(c.health, v, t.Upstream, t.Target, t.Address, t.State)
	}); ok {
		gauge(c.omitted, float64(omitted))
	}
}

// metric returns the histogram as Prometheus wants it: each bucket counts all
// those below it too.
func (h *Histogram) metric(d *prometheus.Desc) prometheus.Metric {
	sum := h.Sum().Seconds() // before the buckets, so that it never runs ahead of the count by much
	var n uint64
	buckets := make(map[float64]uint64, len(durationBounds))
	for i, bound := range durationBounds {
		n += h.buckets[i].Load()
		buckets[bound.Seconds()] = n
	}
	n += h.buckets[len(durationBounds)].Load()
	return prometheus.MustNewConstHistogram(d, n, sum, buckets)
}

func seconds(t time.Time) float64 {
	return math.Round(float64(t.UnixNano())/1e6) / 1e3
}
