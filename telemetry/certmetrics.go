package telemetry

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxCertificateSeries bounds the certificates whose end is told in one answer
// to /metrics; those that end first are. All are counted by their state.
const maxCertificateSeries = 100

// certificateStates are all states, each of which has its series.
var certificateStates = [...]CertificateState{
	CertificateValid, CertificateExpiring, CertificateExpired, CertificateEarly, CertificateMissing,
}

// certificateCollector tells what becomes of certificates.
type certificateCollector struct {
	list       func() []CertificateStatus
	now        func() time.Time
	end, count *prometheus.Desc
}

// CertificateCollector returns a collector that tells when the certificates end
// that list returns, and how many are in which state. List is called by any
// number of goroutines.
func CertificateCollector(list func() []CertificateStatus) prometheus.Collector {
	return &certificateCollector{
		list:  list,
		now:   time.Now,
		end:   prometheus.NewDesc("bulwark_tls_certificate_not_after_timestamp_seconds", "When a certificate ends: of those that clients may be shown the 100 that end first.", []string{"source", "name"}, nil),
		count: prometheus.NewDesc("bulwark_tls_certificates", "Certificates that clients may be shown, by state: valid, expiring (soon), expired, not_yet_valid, or missing.", []string{"state"}, nil),
	}
}

// Describe sends every description.
func (c *certificateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.end
	ch <- c.count
}

// Collect sends the present values.
func (c *certificateCollector) Collect(ch chan<- prometheus.Metric) {
	now := c.now()
	counts := make(map[CertificateState]int)
	type series struct{ source, name string }
	sent := make(map[series]bool) // one that is sent twice spoils the whole scrape
	all := c.list()
	for i := range all {
		counts[all[i].State(now)]++
	}
	// Twice as many, since one of another key type may have the same name.
	for _, cert := range soonest(all, 2*maxCertificateSeries) {
		s := series{cert.Source, cert.label()}
		if sent[s] || len(sent) == maxCertificateSeries {
			continue
		}
		sent[s] = true
		ch <- prometheus.MustNewConstMetric(c.end, prometheus.GaugeValue, math.Floor(seconds(cert.NotAfter)), s.source, s.name)
	}
	for _, state := range certificateStates {
		ch <- prometheus.MustNewConstMetric(c.count, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
}

// soonest returns the n certificates that end first, in that order, without sorting
// all.
func soonest(all []CertificateStatus, n int) []*CertificateStatus {
	first := make([]*CertificateStatus, 0, 2*n)
	var last time.Time // from which on none is wanted; zero: not known yet
	cut := func() {
		slices.SortFunc(first, compareEnds)
		if len(first) >= n {
			first, last = first[:n], first[n-1].NotAfter
		}
	}
	for i := range all {
		c := &all[i]
		if c.NotAfter.IsZero() || !last.IsZero() && last.Before(c.NotAfter) {
			continue
		}
		if first = append(first, c); len(first) == 2*n {
			cut()
		}
	}
	cut()
	return first
}

// label returns what tells the certificate apart in metrics: the first server
// name that it is used for, else its id or digest.
func (c *CertificateStatus) label() string {
	if len(c.Names) > 0 {
		return c.Names[0]
	}
	return cmp.Or(c.ID, c.SHA256)
}
