package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// scrape returns what /metrics answers.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// filled returns metrics in which every series exists.
func filled() *Metrics {
	m := NewMetrics(Options{
		Version:        "1.2.3",
		Reasons:        []string{"none", "client_gone"},
		UpstreamErrors: []string{"connect", "timeout"},
	})
	l := m.Listener("http")
	l.Accepted.Add(5)
	l.Active.Add(3)
	l.Waiting.Inc()
	l.Refuse(RefusedPerAddress)
	l.Refuse(RefusedAccept)
	l.Request(204)
	l.Request(499)
	l.Request(42)
	m.Requests.Observe(2 * time.Millisecond)
	m.Requests.Observe(2 * time.Minute)
	m.Terminations.Inc(1)
	m.UpstreamErrors.Inc(1)
	m.UpstreamRetries.Add(2)
	m.UpstreamRetriesRefused.Add(3)
	m.UpstreamHedges.Add(6)
	m.UpstreamHedgesWon.Add(4)
	m.UpstreamHedgesRefused.Add(7)
	m.UpstreamConnects.Inc()
	m.AccessLog.Lines.Add(9)
	m.AccessLog.Dropped.Add(4)
	m.ConfigReloadErrors.Inc()
	m.SetConfig("0123456789abcdef0123456789abcdef", time.UnixMilli(1_700_000_000_250))
	m.SetUpstreams(func() []UpstreamStatus { return []UpstreamStatus{twoTargets()} })
	return m
}

func TestMetricsText(t *testing.T) {
	text := scrape(t, filled())
	for _, want := range []string{
		`bulwark_connections_accepted_total{listener="http"} 5`,
		`bulwark_connections_active{listener="http",state="waiting"} 1`,
		`bulwark_connections_active{listener="http",state="writing"} 2`,
		`bulwark_connections_refused_total{listener="http",reason="limit_per_address"} 1`,
		`bulwark_connections_refused_total{listener="http",reason="accept_error"} 1`,
		`bulwark_connections_refused_total{listener="http",reason="limit"} 0`,
		`bulwark_requests_total{class="2xx",listener="http"} 1`,
		`bulwark_requests_total{class="4xx",listener="http"} 1`,
		`bulwark_requests_total{class="other",listener="http"} 1`,
		`bulwark_request_duration_seconds_bucket{le="0.001"} 0`,
		`bulwark_request_duration_seconds_bucket{le="0.0025"} 1`,
		`bulwark_request_duration_seconds_bucket{le="60"} 1`,
		`bulwark_request_duration_seconds_bucket{le="+Inf"} 2`,
		`bulwark_request_duration_seconds_sum 120.002`,
		`bulwark_request_duration_seconds_count 2`,
		`bulwark_terminations_total{reason="client_gone"} 1`,
		`bulwark_terminations_total{reason="none"} 0`,
		`bulwark_upstream_errors_total{kind="timeout"} 1`,
		`bulwark_upstream_retries_total 2`,
		`bulwark_upstream_retries_refused_total 3`,
		`bulwark_upstream_hedges_total 6`,
		`bulwark_upstream_hedges_won_total 4`,
		`bulwark_upstream_hedges_refused_total 7`,
		`bulwark_upstream_connections_total 1`,
		`bulwark_access_log_lines_total 9`,
		`bulwark_access_log_dropped_lines_total 4`,
		`bulwark_access_log_write_errors_total 0`,
		`bulwark_config_reloads_total{result="failed"} 1`,
		`bulwark_config_reloads_total{result="ok"} 0`,
		`bulwark_config_info{hash="0123456789abcdef0123456789abcdef"} 1`,
		`bulwark_config_loaded_timestamp_seconds 1.70000000025e+09`,
		`bulwark_panics_total 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, want := range []string{`bulwark_build_info{go_version="go1.`, `version="1.2.3"} 1`, "\ngo_goroutines ", "\nprocess_open_fds "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestMetricNames holds every name against the one grammar, so that a reader
// of one name can guess the others.
func TestMetricNames(t *testing.T) {
	grammar := regexp.MustCompile(`^bulwark(_[a-z]+)+$`)
	unit := map[string]*regexp.Regexp{
		"counter":   regexp.MustCompile(`_total$`),
		"gauge":     regexp.MustCompile(`_(active|info|seconds|bytes|health|addresses)$`),
		"histogram": regexp.MustCompile(`_(seconds|bytes)$`),
	}
	own := 0
	for line := range strings.Lines(scrape(t, filled())) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "# TYPE ")
		if !ok {
			continue
		}
		name, kind, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		own++
		if !grammar.MatchString(name) {
			t.Errorf("%s does not match %v", name, grammar)
		}
		if re := unit[kind]; re == nil || !re.MatchString(name) {
			t.Errorf("%s is a %s but does not match %v", name, kind, re)
		}
		if kind != "counter" && strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s, not a counter", name, kind)
		}
	}
	if want := strings.Count(scrape(t, filled()), "# HELP bulwark_"); own != want || own == 0 {
		t.Errorf("%d metrics were held against the grammar, %d exist", own, want)
	}
}

func TestListenerSeriesAreBounded(t *testing.T) {
	m := NewMetrics(Options{})
	first := m.Listener("a")
	if second := m.Listener("a"); first != second {
		t.Error("the same name gives two series")
	}
	for i := range 3 * maxListenerSeries {
		m.Listener(fmt.Sprint("n", i)).Accepted.Inc()
	}
	if got, want := len(m.listeners), maxListenerSeries+1; got != want {
		t.Errorf("%d series, want %d", got, want)
	}
	if got, want := m.Listener("one more").Accepted.Load(), uint64(2*maxListenerSeries+1); got != want {
		t.Errorf("the shared series counts %d, want %d", got, want)
	}
}

func TestConnections(t *testing.T) {
	m := filled()
	l := m.Listener("https")
	l.Accepted.Add(2)
	l.Active.Inc()
	l.Reading.Inc()
	want := ServerStatus{Active: 4, Accepted: 7, Handled: 6, Reading: 1, Writing: 2, Waiting: 1, TotalRequests: 3}
	if diff := cmp.Diff(want, m.Connections()); diff != "" {
		t.Errorf("Connections (-want +got):\n%s", diff)
	}
}

// TestRegister adds a collector to a running scrape and removes it.
func TestRegister(t *testing.T) {
	m := NewMetrics(Options{})
	handler := m.Handler()
	look := func() string {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return rec.Body.String()
	}
	gauge := func(name string) prometheus.Collector {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "A guest."})
		g.Set(3)
		return g
	}
	removeOne, removeTwo := m.Register(gauge("guest_one")), m.Register(gauge("guest_two"))
	if text := look(); !strings.Contains(text, "\nguest_one 3\n") || !strings.Contains(text, "\nguest_two 3\n") {
		t.Error("what was registered is not there")
	}
	removeOne()
	removeOne() // a second time does nothing
	if text := look(); strings.Contains(text, "guest_one") || !strings.Contains(text, "\nguest_two 3\n") {
		t.Error("what was removed is still there, or the other is gone too")
	}
	removeTwo()
	if text := look(); strings.Contains(text, "guest_") || !strings.Contains(text, "bulwark_panics_total") {
		t.Error("what was removed is still there, or what is ours is gone")
	}
}
