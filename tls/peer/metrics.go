package peer

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// counts is what a Revocation counts.
type counts struct {
	accepted, given    telemetry.Counter // verdicts; those that were given up
	reasons            [reasonCount]telemetry.Counter
	states             [revoked + 1]telemetry.Counter // certificates asked about
	ocsp, crl          fetchCounts
	fileErrors, panics telemetry.Counter
}

// fetchCounts counts questions to servers.
type fetchCounts struct {
	ok     telemetry.Counter
	doubts [doubtCount]telemetry.Counter
}

func (c *counts) refused(err error) {
	var e *Error
	if errors.As(err, &e) {
		c.reasons[e.Reason].Inc()
	} else {
		c.given.Inc()
	}
}

// checked counts certificates that were asked about, by state.
func (c *counts) checked(told [revoked + 1]uint64) {
	for i, n := range told {
		if n > 0 {
			c.states[i].Add(n)
		}
	}
}

func (*counts) fetched(of *fetchCounts, err error) {
	if err == nil {
		of.ok.Inc()
	} else {
		of.doubts[doubtOf(err)].Inc()
	}
}

// The series.
var (
	verifiedDesc = prometheus.NewDesc("bulwark_client_certificates_total", "Verdicts on clients' certificates: ok, why they were refused, or given_up if the client did not wait.", []string{"result"}, nil)
	checkedDesc  = prometheus.NewDesc("bulwark_revocation_checks_total", "Certificates asked about: good, revoked or unknown.", []string{"result"}, nil)
	fetchedDesc  = prometheus.NewDesc("bulwark_revocation_fetches_total", "Questions to OCSP responders and CRL servers: ok, or what was wrong.", []string{"source", "result"}, nil)
	filesDesc    = prometheus.NewDesc("bulwark_revocation_file_errors_total", "Times that a changed file of revocation lists could not be read.", nil, nil)
	panicsDesc   = prometheus.NewDesc("bulwark_revocation_panics_total", "Panics recovered while asking about revocation.", nil, nil)
	entriesDesc  = prometheus.NewDesc("bulwark_revocation_cache_entries", "What is kept: verified paths, answers of OCSP, fetched CRLs.", []string{"kind"}, nil)
	bytesDesc    = prometheus.NewDesc("bulwark_revocation_cache_bytes", "What it takes in memory, about.", []string{"kind"}, nil)
)

var _ prometheus.Collector = (*Revocation)(nil)

// Describe sends every description.
func (r *Revocation) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{verifiedDesc, checkedDesc, fetchedDesc, filesDesc, panicsDesc, entriesDesc, bytesDesc} {
		ch <- d
	}
}

// Collect sends the present values.
func (r *Revocation) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, c *telemetry.Counter, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(c.Load()), labels...)
	}
	c := &r.counts
	count(verifiedDesc, &c.accepted, "ok")
	count(verifiedDesc, &c.given, "given_up")
	for i := range c.reasons {
		count(verifiedDesc, &c.reasons[i], Reason(i).String())
	}
	for s, label := range stateNames {
		count(checkedDesc, &c.states[s], label)
	}
	for source, f := range map[string]*fetchCounts{"ocsp": &c.ocsp, "crl": &c.crl} {
		count(fetchedDesc, &f.ok, source, "ok")
		for i := range f.doubts {
			count(fetchedDesc, &f.doubts[i], source, Doubt(i).String())
		}
	}
	count(filesDesc, &c.fileErrors)
	count(panicsDesc, &c.panics)
	r.collectSizes(ch)
}

// answerWeight is about what an answer of OCSP takes in memory.
const answerWeight = 400

func (r *Revocation) collectSizes(ch chan<- prometheus.Metric) {
	size := func(kind string, entries, weight int) {
		ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(entries), kind)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(weight), kind)
	}
	entries, weight := r.paths.size()
	size("path", entries, weight)
	entries, weight = r.crls.size()
	size("crl", entries, weight)
	entries, weight = r.answers.size()
	size("ocsp", entries, weight*answerWeight)
}
