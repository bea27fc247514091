package telemetry

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
)

// maxListenerSeries bounds the values of the label "listener". Listeners beyond
// it, which only many reloads with ever new names can reach, share the value
// "other".
const maxListenerSeries = 256

// otherListener is the label value of listeners beyond the bound.
const otherListener = "other"

// Refusal says why a connection was not served.
type Refusal uint8

// The refusals.
const (
	RefusedLimit       Refusal = iota // node.limits.connections or the listener's own bound was reached
	RefusedPerAddress                 // connections_per_address was reached
	RefusedDraining                   // the process or the listener was ending
	RefusedAccept                     // accept failed: too few file descriptors or no memory
	RefusedProxyHeader                // the PROXY header that is required was missing or malformed
	RefusedProxyLate                  // it did not come in time
	RefusedPlugin                     // a plugin of the listener refused it
	RefusedBanned                     // its client is banned
	RefusedRate                       // new_connections_per_second was reached
	RefusedPerNetwork                 // connections_per_network was reached
)

// refusalNames are the label values of Refusal.
var refusalNames = [...]string{
	RefusedLimit:      "limit",
	RefusedPerAddress: "limit_per_address",
	RefusedDraining:   "draining",
	RefusedAccept:     "accept_error",

	RefusedProxyHeader: "proxy_header",
	RefusedProxyLate:   "proxy_header_timeout",
	RefusedPlugin:      "plugin",
	RefusedBanned:      "banned",
	RefusedRate:        "rate",
	RefusedPerNetwork:  "limit_per_network",
}

// String returns the label value.
func (r Refusal) String() string { return refusalNames[r] }

// classNames are the label values of a status class; statuses that no class
// fits, which an upstream may invent, count as "other".
var classNames = [...]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Listener holds what is counted for one listener. It lives as long as the
// process, whatever reloads do to the listener, so that counters never fall.
type Listener struct {
	Accepted Counter // connections taken from the kernel, refused ones included
	Active   Gauge   // connections being served
	Reading  Gauge   // of the active ones: a request head is being read
	Waiting  Gauge   // of the active ones: idle between two requests

	Streams StreamCounts

	refused  [len(refusalNames)]Counter
	requests [len(classNames)]Counter
}

// Refuse counts a connection that was not served.
func (l *Listener) Refuse(why Refusal) { l.refused[why].Inc() }

// Request counts an answered request by its status. Requests whose client left
// before an answer count under 499.
func (l *Listener) Request(status int) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	l.requests[class].Inc()
}

// Options are what Metrics is made of.
type Options struct {
	Version        string   // Bulwark's version, for bulwark_build_info
	Reasons        []string // codes of early terminations, by index
	StreamReasons  []string // codes of why streams ended, by index
	UpstreamErrors []string // kinds of upstream errors, by index
	HTTP2Glitches  []string // kinds of glitches, by index
}

// Metrics is everything the edge counts. The fields are for the hot path; what
// reads them is the collector behind Handler.
type Metrics struct {
	Requests     Histogram   // bulwark_request_duration_seconds: head read to answer written
	Terminations *CounterVec // bulwark_terminations_total, by Options.Reasons

	UpstreamRetries        Counter     // bulwark_upstream_retries_total: endpoints tried after a first one
	UpstreamRetriesRefused Counter     // bulwark_upstream_retries_refused_total: retries that node.resilience.retry_budget did not allow
	UpstreamHedges         Counter     // bulwark_upstream_hedges_total: second tries beside a first one that was slow
	UpstreamHedgesWon      Counter     // bulwark_upstream_hedges_won_total: hedges whose answer was taken
	UpstreamHedgesRefused  Counter     // bulwark_upstream_hedges_refused_total: hedges that node.resilience did not allow
	UpstreamConnects       Counter     // bulwark_upstream_connections_total: the tries that needed a new connection
	UpstreamErrors         *CounterVec // bulwark_upstream_errors_total, by Options.UpstreamErrors
	Streams                StreamMetrics
	AccessLog              LineCounters
	ConfigReloads          Counter     // bulwark_config_reloads_total{result="ok"}
	ConfigReloadErrors     Counter     // bulwark_config_reloads_total{result="failed"}
	RefusedFields          Counter     // bulwark_refused_fields_total: header fields a plugin made that may not stand in a message
	Panics                 Counter     // bulwark_panics_total: recovered at a connection's or an exchange's border
	HTTP2Glitches          *CounterVec // bulwark_client_glitches_total, by Options.HTTP2Glitches
	CheckPanics            Counter     // bulwark_upstream_check_panics_total: recovered in probes
	Names                  NameCounters

	version  string
	revision string
	node     string

	mu        sync.Mutex
	listeners map[string]*Listener
	guests    map[*guest]struct{} // what Register has added
	hash      string
	loaded    time.Time
	upstreams func() []UpstreamStatus // nil: none are told
	bans      func() int              // nil: not told
}

// NameCounters is what the resolver counts. The zero value is ready to use.
type NameCounters struct {
	Found    Counter   // bulwark_dns_lookups_total{result="ok"}: names that servers had addresses for
	NotFound Counter   // result="not_found": names that they said have none
	Failed   Counter   // result="failed": names about which they said nothing of use
	Duration Histogram // bulwark_dns_lookup_duration_seconds: of these
	Stale    Counter   // bulwark_dns_stale_answers_total: times that an answer past its time was used
	Negative Counter   // bulwark_dns_negative_hits_total: times that it was known, without asking, that there is no answer
	Panics   Counter   // bulwark_dns_panics_total: recovered while servers were asked
}

// NewMetrics returns metrics at zero.
func NewMetrics(o Options) *Metrics {
	return &Metrics{
		Terminations:   NewCounterVec(o.Reasons),
		UpstreamErrors: NewCounterVec(o.UpstreamErrors),
		HTTP2Glitches:  NewCounterVec(o.HTTP2Glitches),
		Streams:        StreamMetrics{Ends: NewCounterVec(o.StreamReasons)},
		version:        o.Version,
		revision:       buildRevision(),
		node:           uuid.NewString(),
		listeners:      make(map[string]*Listener),
		guests:         make(map[*guest]struct{}),
	}
}

// Version returns Bulwark's version.
func (m *Metrics) Version() string { return m.version }

// Node returns the id of this process among others. It is a new one each time
// the process starts.
func (m *Metrics) Node() string { return m.node }

// Listener returns the counters of the listener name, the same for every call.
// It takes a lock: it is asked once when a listener opens, not per connection.
func (m *Metrics) Listener(name string) *Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.listeners[name]
	if l != nil {
		return l
	}
	if len(m.listeners) >= maxListenerSeries {
		name = otherListener
		if l = m.listeners[name]; l != nil {
			return l
		}
	}
	l = new(Listener)
	m.listeners[name] = l
	return l
}

// SetConfig records the configuration that serves from now on.
func (m *Metrics) SetConfig(hash string, loaded time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hash, m.loaded = hash, loaded
}

// SetUpstreams lets each scrape tell what list returns: for every target one
// address once. It is called by any number of goroutines.
func (m *Metrics) SetUpstreams(list func() []UpstreamStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.upstreams = list
}

// SetBans lets each scrape tell how many clients are banned.
func (m *Metrics) SetBans(count func() int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bans = count
}

// Connections sums all listeners, in the shape /status tells it.
func (m *Metrics) Connections() ServerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s ServerStatus
	for _, l := range m.listeners {
		accepted := l.Accepted.Load()
		s.Accepted += accepted
		s.Handled += accepted
		for i := range l.refused {
			if Refusal(i) != RefusedAccept { // such a connection was never accepted
				s.Handled -= min(s.Handled, l.refused[i].Load())
			}
		}
		active, reading, waiting := l.Active.Load(), l.Reading.Load(), l.Waiting.Load()
		s.Active += active
		s.Reading += reading
		s.Waiting += waiting
		s.Writing += max(0, active-reading-waiting)
		for i := range l.requests {
			s.TotalRequests += l.requests[i].Load()
		}
	}
	return s
}

// buildRevision returns the commit the binary was built from, or "unknown"
// where the build did not record it.
func buildRevision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
