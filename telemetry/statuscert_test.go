package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// certificates is a StatusSource of nothing but certificates.
type certificates []CertificateStatus

func (certificates) Status() Status                      { return Status{} }
func (certificates) Upstreams() []UpstreamStatus         { return nil }
func (c certificates) Certificates() []CertificateStatus { return c }

var certNow = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// someCertificates are one of each state.
func someCertificates() certificates {
	day := 24 * time.Hour
	cert := func(id string, from, to time.Duration, names ...string) CertificateStatus {
		return CertificateStatus{
			Source: "certificates", ID: id, Names: names, SHA256: "aa" + id, Subject: "CN=" + id, PEM: "PEM of " + id,
			NotBefore: certNow.Add(from), NotAfter: certNow.Add(to),
		}
	}
	return certificates{
		cert("good", -60*day, 15*day, "good.test", "www.good.test"),
		cert("soon", -60*day, 13*day, "soon.test"),
		cert("gone", -2*day, -day, "gone.test"),
		cert("early", day, 30*day, "early.test"),
		{Source: "acme", Names: []string{"wanted.test"}, Problem: "the authority says no"},
	}
}

func TestCertificateStates(t *testing.T) {
	want := []CertificateState{CertificateValid, CertificateExpiring, CertificateExpired, CertificateEarly, CertificateMissing}
	for i, c := range someCertificates() {
		if got := c.State(certNow); got != want[i] {
			t.Errorf("%s: %s, want %s", c.ID, got, want[i])
		}
	}
	// One of a few days that is renewed by itself is not warned of all its life.
	short := CertificateStatus{NotBefore: certNow, NotAfter: certNow.Add(5 * 24 * time.Hour)}
	for hours, want := range map[int]CertificateState{1: CertificateValid, 4*24 - 1: CertificateValid, 4*24 + 1: CertificateExpiring} {
		if got := short.State(certNow.Add(time.Duration(hours) * time.Hour)); got != want {
			t.Errorf("after %d of its 120 hours: %s, want %s", hours, got, want)
		}
	}
}

func TestStatusCertificates(t *testing.T) {
	h := StatusHandler(someCertificates(), metricsStub, "1.2.3")
	ask := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		return w.Code, w.Body.String()
	}
	for _, tt := range []struct {
		path   string
		status int
		want   []string // parts, in this order
		not    string
	}{
		{"/status/certificates", 200, []string{`"wanted.test"`, `"missing"`, `"the authority says no"`, `"not_before":null`, `"id":"gone"`, `"id":"soon"`, `"id":"good"`, `"omitted":0`}, "PEM of"},
		{"/status/certificates/good", 200, []string{`"id":"good"`, `"pem":"PEM of good"`}, "soon"},
		{"/status/certificates/WWW.good.test", 200, []string{`"id":"good"`}, "soon"},
		{"/status/certificates/AAsoon", 200, []string{`"id":"soon"`}, "good"},
		{"/status/certificates/other.test", 404, []string{"Not found"}, "good"},
	} {
		status, body := ask(tt.path)
		if status != tt.status {
			t.Errorf("%s: status %d, want %d", tt.path, status, tt.status)
		}
		rest := body
		for _, part := range tt.want {
			_, after, ok := strings.Cut(rest, part)
			if !ok {
				t.Fatalf("%s: %s\nwants %s", tt.path, body, part)
			}
			rest = after
		}
		if strings.Contains(body, tt.not) {
			t.Errorf("%s: %s\nholds %s", tt.path, body, tt.not)
		}
	}
}

func TestCertificatesAreBounded(t *testing.T) {
	var many certificates
	for i := range maxStatusCertificates + 5 {
		many = append(many, CertificateStatus{ID: strconv.Itoa(i), NotBefore: certNow, NotAfter: certNow.Add(time.Duration(-i) * time.Second)})
	}
	b := DescribeCertificates(many, certNow)
	if len(b.Data) != maxStatusCertificates || b.Omitted != 5 || b.Data[0].ID != strconv.Itoa(len(many)-1) {
		t.Errorf("%d are shown and %d omitted, %s first", len(b.Data), b.Omitted, b.Data[0].ID)
	}
	c := CertificateCollector(many.Certificates)
	if n := testutil.CollectAndCount(c, "bulwark_tls_certificate_not_after_timestamp_seconds"); n != maxCertificateSeries {
		t.Errorf("%d series, want %d", n, maxCertificateSeries)
	}
}

func TestCertificateMetrics(t *testing.T) {
	some := someCertificates()
	some = append(some, some[0]) // a second one of the same name, as of another key type
	c := CertificateCollector(some.Certificates).(*certificateCollector)
	c.now = func() time.Time { return certNow }
	want := `
# HELP bulwark_tls_certificate_not_after_timestamp_seconds When a certificate ends: of those that clients may be shown the 100 that end first.
# TYPE bulwark_tls_certificate_not_after_timestamp_seconds gauge
bulwark_tls_certificate_not_after_timestamp_seconds{name="early.test",source="certificates"} 1.780643289e+09
bulwark_tls_certificate_not_after_timestamp_seconds{name="gone.test",source="certificates"} 1.777964889e+09
bulwark_tls_certificate_not_after_timestamp_seconds{name="good.test",source="certificates"} 1.779347289e+09
bulwark_tls_certificate_not_after_timestamp_seconds{name="soon.test",source="certificates"} 1.779174489e+09
# HELP bulwark_tls_certificates Certificates that clients may be shown, by state: valid, expiring (soon), expired, not_yet_valid, or missing.
# TYPE bulwark_tls_certificates gauge
bulwark_tls_certificates{state="expired"} 1
bulwark_tls_certificates{state="expiring"} 1
bulwark_tls_certificates{state="missing"} 1
bulwark_tls_certificates{state="not_yet_valid"} 1
bulwark_tls_certificates{state="valid"} 2
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("good.test", some[0].label()); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkCertificateCollector counts 10,000 certificates and finds those that end
// first.
func BenchmarkCertificateCollector(b *testing.B) {
	var many certificates
	for i := range 10_000 {
		end := certNow.Add(time.Duration(i*7919%10_000) * time.Hour)
		many = append(many, CertificateStatus{Source: "certificates", ID: strconv.Itoa(i), Names: []string{strconv.Itoa(i) + ".test"}, NotBefore: certNow, NotAfter: end})
	}
	c := CertificateCollector(many.Certificates)
	ch := make(chan prometheus.Metric, 2*maxCertificateSeries)
	b.ReportAllocs()
	for b.Loop() {
		c.Collect(ch)
		for len(ch) > 0 {
			<-ch
		}
	}
}

// The series are of those that end first, wherever they stand in the list.
func TestSoonest(t *testing.T) {
	var many certificates
	for i := range 1000 {
		many = append(many, CertificateStatus{ID: strconv.Itoa(i * 7919 % 1000), NotAfter: certNow.Add(time.Duration(i*7919%1000) * time.Hour)})
	}
	many = append(many, CertificateStatus{ID: "missing"})
	for _, n := range []int{1, 10, 499, 500, 501, 1000, 2000} {
		got := soonest(many, n)
		if want := min(n, 1000); len(got) != want {
			t.Fatalf("%d of %d, want %d", len(got), n, want)
		}
		for i, c := range got {
			if c.ID != strconv.Itoa(i) {
				t.Fatalf("of %d: %s stands at %d", n, c.ID, i)
			}
		}
	}
}
