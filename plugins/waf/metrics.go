package waf

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/telemetry"
	engine "github.com/bulwark-edge/bulwark/waf"
)

// The series.
var (
	inspectedDesc   = prometheus.NewDesc("bulwark_waf_inspected_requests_total", "Requests that the plugin waf has inspected.", nil, nil)
	blockedDesc     = prometheus.NewDesc("bulwark_waf_blocked_requests_total", "Of them, those that it has denied, by what was: the request or the response.", []string{"part"}, nil)
	refusedDesc     = prometheus.NewDesc("bulwark_waf_refused_requests_total", "Of them, those that were refused before the rules were asked, and shown to them for the log.", nil, nil)
	matchesDesc     = prometheus.NewDesc("bulwark_waf_rule_matches_total", "Matches of rules, by their id; those beyond the first thousand ids are counted as other.", []string{"rule"}, nil)
	uninspectedDesc = prometheus.NewDesc("bulwark_waf_uninspected_parts_total", "Parts of exchanges that the rules have not seen, by what it was and why.", []string{"reason"}, nil)
	scoreDesc       = prometheus.NewDesc("bulwark_waf_score", "Anomaly scores of exchanges, of their requests (inbound) and responses (outbound), at the detection level.", []string{"direction"}, nil)
	phaseDesc       = prometheus.NewDesc("bulwark_waf_phase_seconds_total", "Time that inspecting took, by what was inspected.", []string{"phase"}, nil)
	panicsDesc      = prometheus.NewDesc("bulwark_waf_panics_total", "Panics of the rule engine, each of which ended one inspection.", nil, nil)
	enginesDesc     = prometheus.NewDesc("bulwark_waf_engines_active", "Rule engines in memory: one for each text of rules.", nil, nil)
	rulesDesc       = prometheus.NewDesc("bulwark_waf_rules_info", "What the rules that serve say of their versions.", []string{"name", "version"}, nil)
	linesDesc       = prometheus.NewDesc("bulwark_waf_log_lines_total", "Lines of the WAF's own logs taken into a buffer.", nil, nil)
	droppedDesc     = prometheus.NewDesc("bulwark_waf_log_dropped_lines_total", "Lines of the WAF's own logs lost.", nil, nil)
	failuresDesc    = prometheus.NewDesc("bulwark_waf_log_write_errors_total", "Writes of the WAF's own logs that went wrong.", nil, nil)
)

// scoreBounds are the upper bounds of the buckets of scores.
var scoreBounds = [...]int{0, 1, 2, 3, 4, 5, 7, 10, 15, 25, 50}

// phases are the steps of an inspection, in their order.
var phases = [...]string{"request_head", "request_body", "response_head", "response_body"}

// Bounds of labels.
const (
	maxRuleSeries   = 1000
	maxReasonSeries = 50
	otherSeries     = "other"
)

// counts are what is counted of all instances. Safe for concurrent use.
type counts struct {
	inspected   atomic.Uint64
	refused     atomic.Uint64
	blocked     [2]atomic.Uint64 // requests, responses
	scores      [2]scoreCounts   // inbound, outbound
	phases      [len(phases)]atomic.Int64
	panics      atomic.Int64 // of engines that are gone
	rules       series
	uninspected series
	log         telemetry.LineCounters
}

func newCounts() *counts {
	c := new(counts)
	c.rules.most, c.uninspected.most = maxRuleSeries, maxReasonSeries
	return c
}

// exchange counts one that has ended; e may be nil.
func (c *counts) exchange(i *inspected, e *engine.Event) {
	c.inspected.Add(1)
	if i.refused {
		c.refused.Add(1)
	}
	for n, d := range i.ins.Phases() {
		c.phases[n].Add(int64(d))
	}
	if i.verdict.Action != engine.Pass {
		part := 0
		if i.outbound {
			part = 1
		}
		c.blocked[part].Add(1)
	}
	if e == nil {
		c.scores[0].observe(0)
		c.scores[1].observe(0)
		return
	}
	c.scores[0].observe(e.Scores.Inbound.Detection)
	c.scores[1].observe(e.Scores.Outbound.Detection)
	for k := range e.Matches {
		c.rules.inc(strconv.Itoa(e.Matches[k].Rule))
	}
	for _, reason := range e.Uninspected {
		c.uninspected.inc(strings.ReplaceAll(reason, ": ", "_"))
	}
}

// scoreCounts is a histogram of scores.
type scoreCounts struct {
	buckets [len(scoreBounds) + 1]atomic.Uint64 // the last one has no bound
	sum     atomic.Int64
}

func (s *scoreCounts) observe(score int) {
	n := 0
	for n < len(scoreBounds) && score > scoreBounds[n] {
		n++
	}
	s.buckets[n].Add(1)
	s.sum.Add(int64(score))
}

func (s *scoreCounts) metric(direction string) prometheus.Metric {
	cumulative, total := make(map[float64]uint64, len(scoreBounds)), uint64(0)
	for n, bound := range scoreBounds {
		total += s.buckets[n].Load()
		cumulative[float64(bound)] = total
	}
	total += s.buckets[len(scoreBounds)].Load()
	return prometheus.MustNewConstHistogram(scoreDesc, total, float64(s.sum.Load()), cumulative, direction)
}

// series are counters by a label, most of them at the most. Those for which there
// is no room are counted together.
type series struct {
	most int

	mu     sync.Mutex
	counts map[string]uint64
}

func (s *series) inc(label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	if _, ok := s.counts[label]; !ok && len(s.counts) >= s.most {
		label = otherSeries
	}
	s.counts[label]++
}

func (s *series) collect(ch chan<- prometheus.Metric, desc *prometheus.Desc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for label, n := range s.counts {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), label)
	}
}

// collector tells what is counted.
type collector struct{ *shared }

// Describe sends every description.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		inspectedDesc, blockedDesc, refusedDesc, matchesDesc, uninspectedDesc, scoreDesc, phaseDesc, panicsDesc, enginesDesc, rulesDesc,
		linesDesc, droppedDesc, failuresDesc,
	} {
		ch <- d
	}
}

// Collect sends the present values.
func (s collector) Collect(ch chan<- prometheus.Metric) {
	c := s.counts
	counter := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, v, labels...)
	}
	counter(inspectedDesc, float64(c.inspected.Load()))
	counter(blockedDesc, float64(c.blocked[0].Load()), "request")
	counter(blockedDesc, float64(c.blocked[1].Load()), "response")
	counter(refusedDesc, float64(c.refused.Load()))
	c.rules.collect(ch, matchesDesc)
	c.uninspected.collect(ch, uninspectedDesc)
	ch <- c.scores[0].metric("inbound")
	ch <- c.scores[1].metric("outbound")
	for n, name := range phases {
		counter(phaseDesc, time.Duration(c.phases[n].Load()).Seconds(), name)
	}
	panics, engines := s.enginesNow()
	counter(panicsDesc, float64(panics))
	ch <- prometheus.MustNewConstMetric(enginesDesc, prometheus.GaugeValue, float64(engines))
	for _, v := range s.versionsNow() {
		ch <- prometheus.MustNewConstMetric(rulesDesc, prometheus.GaugeValue, 1, v.Name, v.Version)
	}
	counter(linesDesc, float64(c.log.Lines.Load()))
	counter(droppedDesc, float64(c.log.Dropped.Load()))
	counter(failuresDesc, float64(c.log.Errors.Load()))
}
