package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// upstreamsSource tells upstreams and nothing else.
type upstreamsSource []UpstreamStatus

func (upstreamsSource) Status() Status { return Status{NodeID: "n-1"} }

func (s upstreamsSource) Upstreams() []UpstreamStatus { return s }

func (upstreamsSource) Certificates() []CertificateStatus { return nil }

// twoTargets is an upstream with a target of two addresses and one whose name
// has none.
func twoTargets() UpstreamStatus {
	return UpstreamStatus{ID: "u-1", Name: "api", Algorithm: "round-robin", Health: Healthy, Targets: []TargetStatus{
		{ID: "t-1", Host: "api.test", Port: 80, Weight: 100, Health: Healthy, DNS: "SRV", Addresses: []AddressStatus{
			{Address: netip.MustParseAddrPort("192.0.2.1:80"), Weight: 50, Health: Healthy, Open: 3},
			{Address: netip.MustParseAddrPort("[2001:db8::1]:80"), Weight: 50, Health: Unhealthy, Open: -1, Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Reason: "probes: 2 timeouts"},
		}},
		{ID: "t-2", Host: "gone.test", Port: 8000, Weight: 10, Health: DNSError, Error: "no such host"},
	}}
}

// get returns what the status listener answers.
func get(t *testing.T, src StatusSource, path string) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	StatusHandler(src, metricsStub, "1.2.3").ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Code, rec.Body.String()
}

// wantJSON compares a part of an answer with JSON text.
func wantJSON(t *testing.T, want string, got any) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusTellsUpstreams(t *testing.T) {
	_, body := get(t, upstreamsSource{twoTargets()}, "/status")
	var got struct {
		Bulwark struct{ Upstreams any }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, `{"omitted": 0, "list": [{"id": "u-1", "name": "api", "algorithm": "round-robin", "health": "HEALTHY", "targets": [
		{"target": "api.test:80", "weight": 100, "health": "HEALTHY", "addresses": [
			{"address": "192.0.2.1:80", "weight": 50, "health": "HEALTHY", "open": 3, "since": null},
			{"address": "[2001:db8::1]:80", "weight": 50, "health": "UNHEALTHY", "open": null, "since": "2026-03-04T05:06:07Z", "last_reason": "probes: 2 timeouts"}]},
		{"target": "gone.test:8000", "weight": 10, "health": "DNS_ERROR", "error": "no such host", "addresses": []}]}]}`, got.Bulwark.Upstreams)
}

func TestUpstreamHealth(t *testing.T) {
	src := upstreamsSource{{ID: "u-0", Name: "other", Health: ChecksOff}, twoTargets()}
	const want = `{"next": null, "node_id": "n-1", "data": [
		{"id": "t-1", "upstream": {"id": "u-1"}, "target": "api.test:80", "weight": 100, "health": "HEALTHY", "data": {
			"host": "api.test", "port": 80, "dns": "SRV", "nodeWeight": 100, "weight": {"total": 100, "available": 50, "unavailable": 50},
			"addresses": [
				{"ip": "192.0.2.1", "port": 80, "weight": 50, "health": "HEALTHY"},
				{"ip": "2001:db8::1", "port": 80, "weight": 50, "health": "UNHEALTHY"}]}},
		{"id": "t-2", "upstream": {"id": "u-1"}, "target": "gone.test:8000", "weight": 10, "health": "DNS_ERROR", "data": {
			"host": "gone.test", "port": 8000, "dns": "no such host", "nodeWeight": 10, "weight": {"total": 0, "available": 0, "unavailable": 0},
			"addresses": []}}]}`
	tests := []struct {
		name, path string
		code       int
		want       string
	}{
		{"by name", "/upstreams/api/health", 200, want},
		{"by id", "/upstreams/u-1/health", 200, want},
		{"as a whole", "/upstreams/api/health?balancer_health=1", 200, `{"next": null, "node_id": "n-1", "data": {
			"id": "u-1", "health": "HEALTHY", "balancer_health": "HEALTHY", "details": {
				"healthy": true, "weight": {"total": 100, "available": 50, "unavailable": 50}, "hosts": [
					{"host": "api.test", "port": 80, "dns": "SRV", "nodeWeight": 100, "weight": {"total": 100, "available": 50, "unavailable": 50}, "addresses": [
						{"ip": "192.0.2.1", "port": 80, "weight": 50, "healthy": true},
						{"ip": "2001:db8::1", "port": 80, "weight": 50, "healthy": false}]},
					{"host": "gone.test", "port": 8000, "dns": "no such host", "nodeWeight": 10, "weight": {"total": 0, "available": 0, "unavailable": 0}, "addresses": []}]}}}`},
		{"another balancer_health", "/upstreams/api/health?balancer_health=0", 200, want},
		{"trailing slash", "/upstreams/api/health/", 200, want},
		{"without targets", "/upstreams/other/health", 200, `{"next": null, "node_id": "n-1", "data": []}`},
		{"unknown", "/upstreams/nobody/health", 404, `{"message": "Not found"}`},
		{"no health", "/upstreams/api", 404, `{"message": "Not found"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, body := get(t, src, tt.path)
			var got any
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("status %d, want %d", code, tt.code)
			}
			wantJSON(t, tt.want, got)
		})
	}
}

// crowd returns upstreams with targets of one address each.
func crowd(upstreams, targets int) upstreamsSource {
	var all upstreamsSource
	for i := range upstreams {
		u := UpstreamStatus{Name: fmt.Sprint("u", i)}
		for j := range targets {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(j >> 8), byte(j)}), 80)
			u.Targets = append(u.Targets, TargetStatus{Host: addr.Addr().String(), Port: 80, Addresses: []AddressStatus{{Address: addr}}})
		}
		all = append(all, u)
	}
	return all
}

func TestStatusIsBounded(t *testing.T) {
	const upstreams, targets = 40, 400
	got := describeUpstreams(crowd(upstreams, targets))
	shown := 0
	for _, u := range got.List {
		shown += len(u.Targets)
	}
	if shown == 0 || shown+len(got.List) != maxStatusAddresses || shown+got.Omitted != upstreams*targets {
		t.Errorf("%d upstreams and %d targets are shown, %d omitted", len(got.List), shown, got.Omitted)
	}
	one := crowd(1, 3*maxStatusAddresses)
	health := describeHealth(&one[0], "")
	if n := len(health.Data); n != maxStatusAddresses || health.Omitted != 2*maxStatusAddresses {
		t.Errorf("%d targets in an answer and %d omitted, want %d", n, health.Omitted, maxStatusAddresses)
	}
	many := twoTargets()
	many.Targets[0].Addresses = make([]AddressStatus, 3*maxStatusAddresses)
	got = describeUpstreams([]UpstreamStatus{many})
	if n := len(got.List[0].Targets[0].Addresses); n != maxStatusAddresses-1 || got.Omitted != 2*maxStatusAddresses+2 {
		t.Errorf("%d addresses of one target are shown, %d omitted", n, got.Omitted)
	}
}

func TestTargetHealthMetric(t *testing.T) {
	m := NewMetrics(Options{})
	u := twoTargets()
	u.Targets[0].Addresses = append(u.Targets[0].Addresses, u.Targets[0].Addresses[0]) // as DNS may tell it
	m.SetUpstreams(func() []UpstreamStatus { return []UpstreamStatus{u} })
	text := scrape(t, m)
	for _, want := range []string{
		`bulwark_upstream_target_health{address="192.0.2.1:80",state="healthy",target="api.test:80",upstream="api"} 1`,
		`bulwark_upstream_target_health{address="192.0.2.1:80",state="unhealthy",target="api.test:80",upstream="api"} 0`,
		`bulwark_upstream_target_health{address="[2001:db8::1]:80",state="unhealthy",target="api.test:80",upstream="api"} 1`,
		`bulwark_upstream_target_health{address="",state="dns_error",target="gone.test:8000",upstream="api"} 1`,
		`bulwark_upstream_target_health{address="",state="healthchecks_off",target="gone.test:8000",upstream="api"} 0`,
		`bulwark_upstream_omitted_addresses 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}

	m.SetUpstreams(func() []UpstreamStatus { return crowd(10, 300) })
	text = scrape(t, m)
	if n, want := strings.Count(text, "\nbulwark_upstream_target_health{"), len(healthNames)*maxTargetSeries; n != want {
		t.Errorf("%d series, want %d", n, want)
	}
	if !strings.Contains(text, fmt.Sprintf("\nbulwark_upstream_omitted_addresses %d\n", 10*300-maxTargetSeries)) {
		t.Error("the addresses left out are not counted")
	}
}
