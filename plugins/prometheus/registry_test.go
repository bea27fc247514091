package prometheus_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/prometheus"
	"github.com/bulwark-edge/bulwark/telemetry"
)

func newPlugin(t testing.TB, cfg prometheus.Config, env plugins.Env) *prometheus.Plugin {
	t.Helper()
	built, err := prometheus.New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	p := built.(*prometheus.Plugin)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newEnv() plugins.Env {
	return plugins.Env{State: new(plugins.State), Metrics: telemetry.NewMetrics(telemetry.Options{Version: "1"})}
}

var counterLine = regexp.MustCompile(`(?m)^kong_(?:http_requests_total|bandwidth_bytes)\{(?:code="(.*?)",)?consumer="(.*?)",(?:direction="(.*?)",)?.*\} (.*)$`)

// sums returns the counters of a scrape, by consumer and code or direction.
func sums(t testing.TB, env plugins.Env) map[string]float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	env.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK { // as when a series is there twice
		t.Fatalf("scraping: %d: %s", rec.Code, rec.Body)
	}
	got := make(map[string]float64)
	for _, m := range counterLine.FindAllStringSubmatch(rec.Body.String(), -1) {
		n, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimSpace(m[2]+" "+m[1]+m[3])] += n
	}
	return got
}

func consumer(n int, username string) *config.Consumer {
	c := &config.Consumer{Username: username}
	binary.BigEndian.PutUint32(c.ID[:], uint32(n)+1)
	return c
}

func TestConsumers(t *testing.T) {
	env := newEnv()
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true, BandwidthMetrics: true, PerConsumer: true}, env)
	rig := testkit.NewRig(t, p)
	nameless := consumer(7, "")
	for _, c := range []*config.Consumer{nil, consumer(1, "ann"), consumer(1, "ann"), nameless} {
		rig.Consumer = c
		rig.Serve("GET", "/")
	}
	want := map[string]float64{
		"200": 1, "ingress": 100, "egress": 2,
		"ann 200": 2, "ann ingress": 200, "ann egress": 4,
		nameless.ID.String() + " 200": 1, nameless.ID.String() + " ingress": 100, nameless.ID.String() + " egress": 2,
	}
	got := sums(t, env)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%q: %v, want %v", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("series %v, want %d", got, len(want))
	}
}

// TestConsumersNotTold: without per_consumer a consumer is counted with the rest.
func TestConsumersNotTold(t *testing.T) {
	env := newEnv()
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true}, env)
	rig := testkit.NewRig(t, p)
	rig.Consumer = consumer(1, "ann")
	rig.Serve("GET", "/")
	if got := sums(t, env); got["200"] != 1 || len(got) != 1 {
		t.Errorf("series %v", got)
	}
}

// TestSameLabels: a consumer whose name is another's id does not spoil the scrape.
func TestSameLabels(t *testing.T) {
	env := newEnv()
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true, PerConsumer: true}, env)
	rig := testkit.NewRig(t, p)
	a := consumer(1, "")
	for _, c := range []*config.Consumer{a, consumer(2, a.ID.String())} {
		rig.Consumer = c
		rig.Serve("GET", "/")
	}
	if got := sums(t, env); len(got) != 1 {
		t.Errorf("series %v", got)
	}
}

// TestCodes sends more statuses than there may be series of.
func TestCodes(t *testing.T) {
	const codes, sent = 64, 300
	env := newEnv()
	rig := testkit.NewRig(t, newPlugin(t, prometheus.Config{StatusCodeMetrics: true}, env))
	for status := range sent {
		rig.Status = 200 + status
		rig.Serve("GET", "/")
	}
	if got := sums(t, env); len(got) != codes+1 || got["other"] != sent-codes || got["200"] != 1 {
		t.Errorf("%d series, %v others", len(got), got["other"])
	}
}

// TestConcurrently lets exchanges, scrapes and reloads happen at once.
func TestConcurrently(t *testing.T) {
	env := newEnv()
	p := newPlugin(t, prometheus.Config{StatusCodeMetrics: true, LatencyMetrics: true, BandwidthMetrics: true, PerConsumer: true}, env)
	const workers, rounds = 4, 300
	rigs := make([]*testkit.Rig, workers)
	for i := range rigs {
		rigs[i] = testkit.NewRig(t, p)
	}
	var work sync.WaitGroup
	for i, rig := range rigs {
		work.Go(func() {
			for n := range rounds {
				rig.Consumer = consumer(n%17, fmt.Sprint("c", n%17))
				rig.Status = 200 + (n+i)%5
				rig.Serve("GET", "/")
			}
		})
	}
	work.Go(func() {
		for range 20 {
			sums(t, env)
		}
	})
	work.Wait()
	total := 0.0
	for name, n := range sums(t, env) {
		if !strings.HasSuffix(name, "gress") {
			total += n
		}
	}
	if total != workers*rounds {
		t.Errorf("%v exchanges were counted, want %d", total, workers*rounds)
	}
	p.Follow(new(config.Config))
	if got := sums(t, env); len(got) != 0 {
		t.Errorf("series of routes that are gone: %v", got)
	}
	rigs[0].Serve("GET", "/")
	if got := sums(t, env); len(got) != 0 {
		t.Errorf("an exchange of a route that is gone made series: %v", got)
	}
}
