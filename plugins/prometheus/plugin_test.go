package prometheus_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"AI", `{ai_metrics: true}`, `config.ai_metrics: not served by this version of Bulwark`},
		{"Wasm", `{wasm_metrics: true}`, `config.wasm_metrics: not served by this version of Bulwark`},
		{"type", `{latency_metrics: 1}`, `config.latency_metrics: expected a boolean`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: prometheus, config: "+tt.config+"}]", tt.want)
		})
	}
}

// rig is an edge with a status listener and an origin that answers with the
// status it is asked for.
type rig struct {
	*testkit.Edge
	origin string
}

func start(t *testing.T, plugin string) *rig {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		_, _ = fmt.Sscanf(r.URL.RawQuery, "%d", &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "12345")
	}))
	t.Cleanup(origin.Close)
	r := &rig{origin: origin.URL}
	r.Edge = testkit.StartEdge(t, r.config(plugin, "shop"))
	return r
}

// config is a configuration with a named and a nameless service, and a route
// whose name is to be given.
func (r *rig) config(plugin, route string) string {
	return fmt.Sprintf(`
node: {status: "127.0.0.1:0"}
plugins: [%s]
services:
  - name: shop
    url: %s
    routes:
      - {name: %s, paths: [/shop]}
      - {name: closed, paths: [/closed], plugins: [{name: request-termination, config: {message: closed}}]}
  - id: 00000000-0000-4000-8000-000000000001
    url: %s
    routes: [{id: 00000000-0000-4000-8000-000000000002, paths: [/nameless]}]
routes: [{name: alone, paths: [/alone]}]
`, plugin, r.origin, route, r.origin)
}

func (r *rig) use(t *testing.T, yaml string) {
	t.Helper()
	if err := r.Use(yaml); err != nil {
		t.Fatal(err)
	}
}

// get asks for paths one after the other.
func (r *rig) get(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		read(t, "http://"+r.At("http").String()+path)
	}
}

func read(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // so that the edge has no connection to drain
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHealthSubsystems tells whose targets they are.
func TestHealthSubsystems(t *testing.T) {
	r := start(t, "{name: prometheus}")
	r.use(t, `
node: {status: "127.0.0.1:0"}
plugins: [{name: prometheus, config: {upstream_health_metrics: true}}]
services:
  - {name: web, host: web}
  - {name: shared, host: shared}
  - {name: syslog, url: "udp://syslog:514"}
  - {name: db, url: "tcp://shared:5432"}
  - {name: off, url: "http://syslog:80", enabled: false}
upstreams:
  - {name: web, targets: [{target: "192.0.2.1:80"}]}
  - {name: syslog, targets: [{target: "192.0.2.2:80"}]}
  - {name: shared, targets: [{target: "192.0.2.3:80"}]}
  - {name: unused, targets: [{target: "192.0.2.4:80"}]}
`)
	line := func(upstream, address, subsystem string) string {
		return fmt.Sprintf(`kong_upstream_target_health{address="%[2]s",state="healthchecks_off",subsystem="%[3]s",target="%[2]s",upstream="%[1]s"} 1`, upstream, address, subsystem)
	}
	r.want(t, "^kong_upstream_target_health.* 1$",
		line("web", "192.0.2.1:80", "http"),
		line("syslog", "192.0.2.2:80", "stream"),
		line("shared", "192.0.2.3:80", "http"), line("shared", "192.0.2.3:80", "stream"),
		line("unused", "192.0.2.4:80", "http"))
}

// TestHealth holds what is told of targets, while an instance wants it.
func TestHealth(t *testing.T) {
	r := start(t, "{name: prometheus}")
	const series = "^kong_upstream_target_health"
	with := func(flag string) string {
		return r.config("{name: prometheus, config: {upstream_health_metrics: "+flag+"}}", "shop") + `
upstreams:
  - name: api
    targets: [{target: "192.0.2.1:80", weight: 10}]
  - name: lost
    targets: [{target: "lost.invalid:80"}]
`
	}
	r.use(t, with("false"))
	r.want(t, series)
	r.use(t, with("true"))
	r.want(t, series+`.*192.0.2.1.* 1$`,
		`kong_upstream_target_health{address="192.0.2.1:80",state="healthchecks_off",subsystem="http",target="192.0.2.1:80",upstream="api"} 1`)
	r.want(t, series+`.*_off".*lost`,
		`kong_upstream_target_health{address="",state="healthchecks_off",subsystem="http",target="lost.invalid:80",upstream="lost"} 1`)
	if got := r.series(t, series); len(got) != 8 {
		t.Errorf("%d series, want 8: one for each state of both", len(got))
	}
	if body := read(t, "http://"+r.StatusAddr().String()+"/upstreams/api/health?balancer_health=1"); !strings.Contains(body, `"dns":"A"`) || !regexp.MustCompile(`"node_id":"[0-9a-f-]{36}"`).MatchString(body) {
		t.Errorf("health of the balancer: %s", body)
	}
	r.use(t, with("false"))
	r.want(t, series)
}

var nodeID = regexp.MustCompile(`node_id="[0-9a-f-]{36}"`)

// series returns the lines of /metrics that match, sorted.
func (r *rig) series(t *testing.T, match string) []string {
	t.Helper()
	text := read(t, "http://"+r.StatusAddr().String()+"/metrics")
	re := regexp.MustCompile(match)
	var found []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "#") && re.MatchString(line) {
			found = append(found, nodeID.ReplaceAllString(line, `node_id="<uuid>"`))
		}
	}
	slices.Sort(found)
	return found
}

// want waits until the series that match are those of want: a client has its
// answer a moment before the exchange is counted.
func (r *rig) want(t *testing.T, match string, want ...string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		diff := cmp.Diff(want, r.series(t, match))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the series %s differ (-want +got):\n%s", match, diff)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDefaults: without flags there is only what is told of the process.
func TestDefaults(t *testing.T) {
	r := start(t, "{name: prometheus}")
	r.get(t, "/shop", "/nowhere")
	r.want(t, `^kong_`,
		`kong_datastore_reachable 1`,
		`kong_nginx_connections_total{node_id="<uuid>",state="accepted",subsystem="http"} 2`,
		`kong_nginx_connections_total{node_id="<uuid>",state="active",subsystem="http"} 0`,
		`kong_nginx_connections_total{node_id="<uuid>",state="handled",subsystem="http"} 2`,
		`kong_nginx_connections_total{node_id="<uuid>",state="reading",subsystem="http"} 0`,
		`kong_nginx_connections_total{node_id="<uuid>",state="total",subsystem="http"} 2`,
		`kong_nginx_connections_total{node_id="<uuid>",state="waiting",subsystem="http"} 0`,
		`kong_nginx_connections_total{node_id="<uuid>",state="writing",subsystem="http"} 0`,
		`kong_nginx_requests_total{node_id="<uuid>",subsystem="http"} 2`,
		`kong_node_info{node_id="<uuid>",version="test"} 1`,
	)
}

func TestStatusCodes(t *testing.T) {
	r := start(t, "{name: prometheus, config: {status_code_metrics: true}}")
	r.get(t, "/shop", "/shop?200", "/shop?404", "/closed", "/nameless?503", "/alone", "/nowhere")
	const nameless = `route="00000000-0000-4000-8000-000000000002",service="127.0.0.1"`
	r.want(t, `^kong_(http|bandwidth|.*_ms)`,
		`kong_http_requests_total{code="200",consumer="",route="shop",service="shop",source="service",workspace="default"} 2`,
		`kong_http_requests_total{code="404",consumer="",route="shop",service="shop",source="service",workspace="default"} 1`,
		`kong_http_requests_total{code="503",consumer="",`+nameless+`,source="service",workspace="default"} 1`,
		`kong_http_requests_total{code="503",consumer="",route="closed",service="shop",source="kong",workspace="default"} 1`,
	)
}

func TestLatencies(t *testing.T) {
	r := start(t, "{name: prometheus, config: {latency_metrics: true}}")
	r.get(t, "/shop", "/shop", "/closed")
	r.want(t, `_ms_count`,
		`kong_kong_latency_ms_count{route="closed",service="shop",workspace="default"} 1`,
		`kong_kong_latency_ms_count{route="shop",service="shop",workspace="default"} 2`,
		`kong_request_latency_ms_count{route="closed",service="shop",workspace="default"} 1`,
		`kong_request_latency_ms_count{route="shop",service="shop",workspace="default"} 2`,
		`kong_upstream_latency_ms_count{route="shop",service="shop",workspace="default"} 2`,
	)
	for name, want := range map[string]string{
		"kong":     "1 2 5 7 10 15 20 30 50 75 100 200 500 750 1000 3000 6000 +Inf",
		"upstream": "25 50 80 100 250 400 700 1000 2000 5000 10000 30000 60000 +Inf",
		"request":  "25 50 80 100 250 400 700 1000 2000 5000 10000 30000 60000 +Inf",
	} {
		var bounds []string
		for _, bound := range strings.Fields(want) {
			if n := len(r.series(t, `^kong_`+name+`_latency_ms_bucket\{route="shop".*le="`+regexp.QuoteMeta(bound)+`"`)); n == 1 {
				bounds = append(bounds, bound)
			}
		}
		if got := strings.Join(bounds, " "); got != want || len(r.series(t, `^kong_`+name+`_latency_ms_bucket\{route="shop"`)) != len(bounds) {
			t.Errorf("%s: bounds %q, want %q and no more", name, got, want)
		}
	}
}

func TestBandwidth(t *testing.T) {
	r := start(t, "{name: prometheus, config: {bandwidth_metrics: true}}")
	r.get(t, "/shop", "/shop")
	r.want(t, `^kong_bandwidth_bytes.*egress`, `kong_bandwidth_bytes{consumer="",direction="egress",route="shop",service="shop",workspace="default"} 10`)
	if got := r.series(t, `^kong_bandwidth_bytes.*ingress`); len(got) != 1 || !regexp.MustCompile(`route="shop",service="shop",workspace="default"} [1-9][0-9]+$`).MatchString(got[0]) {
		t.Errorf("ingress %q", got)
	}
}

// TestStreams: streams have series of their own once they have ended, and share
// those of bytes and of the time in the gateway with requests.
func TestStreams(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") }))
	t.Cleanup(origin.Close)
	text := `
node:
  status: "127.0.0.1:0"
  listeners:
    - {name: http, address: "127.0.0.1:0", serve: http}
    - {name: tcp, address: "127.0.0.1:0", serve: tcp}
    - {name: lost, address: "127.0.0.1:0", serve: tcp}
plugins: [{name: prometheus, protocols: [http, tcp], config: {status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true}}]
upstreams: [{name: empty}]
services:
  - {name: web, url: "` + origin.URL + `", routes: [{name: web, paths: [/]}]}
  - {name: raw, url: "` + strings.Replace(origin.URL, "http", "tcp", 1) + `", routes: [{name: raw, protocols: [tcp], sources: [{ip: 127.0.0.1}]}]}
  - {name: lost, url: "tcp://empty", routes: [{name: lost, protocols: [tcp], sources: [{ip: 127.0.0.2}]}]}
`
	r := &rig{Edge: testkit.StartEdge(t, text), origin: origin.URL}
	r.get(t, "/")
	const request = "GET / HTTP/1.0\r\n\r\n"
	var received int
	for range 2 {
		received += len(stream(t, "127.0.0.1", r.At("tcp").String(), request))
	}
	if got := stream(t, "127.0.0.2", r.At("lost").String(), ""); got != "" {
		t.Errorf("a service without targets sent %q", got)
	}
	r.want(t, `^kong_(stream|http|session_duration_ms_count)`,
		`kong_http_requests_total{code="200",consumer="",route="web",service="web",source="service",workspace="default"} 1`,
		`kong_session_duration_ms_count{route="lost",service="lost",workspace="default"} 1`,
		`kong_session_duration_ms_count{route="raw",service="raw",workspace="default"} 2`,
		`kong_stream_sessions_total{code="200",route="raw",service="raw",source="service",workspace="default"} 2`,
		`kong_stream_sessions_total{code="503",route="lost",service="lost",source="kong",workspace="default"} 1`,
	)
	r.want(t, `^kong_(bandwidth.*raw|kong_latency_ms_count)`,
		fmt.Sprintf(`kong_bandwidth_bytes{consumer="",direction="egress",route="raw",service="raw",workspace="default"} %d`, received),
		fmt.Sprintf(`kong_bandwidth_bytes{consumer="",direction="ingress",route="raw",service="raw",workspace="default"} %d`, 2*len(request)),
		`kong_kong_latency_ms_count{route="lost",service="lost",workspace="default"} 1`,
		`kong_kong_latency_ms_count{route="raw",service="raw",workspace="default"} 2`,
		`kong_kong_latency_ms_count{route="web",service="web",workspace="default"} 1`,
	)

	// A route that turns from streams to requests counts anew.
	text = strings.Replace(text, `{name: raw, protocols: [tcp], sources: [{ip: 127.0.0.1}]}`, `{name: raw, paths: [/raw]}`, 1)
	r.use(t, strings.Replace(text, "tcp://127", "http://127", 1))
	r.want(t, `^kong_stream.*raw`)
}

// stream sends text from an address and returns what comes until the end.
func stream(t *testing.T, from, to, text string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, text) // who is refused is closed before
	b, _ := io.ReadAll(c)
	return string(b)
}

// TestReload: counters go on over reloads, those of a route that is gone or has
// another name vanish, and so do all when the last instance goes.
func TestReload(t *testing.T) {
	const plugin = "{name: prometheus, config: {status_code_metrics: true}}"
	line := func(route string, n int) string {
		return fmt.Sprintf(`kong_http_requests_total{code="200",consumer="",route="%s",service="shop",source="service",workspace="default"} %d`, route, n)
	}
	r := start(t, plugin)
	r.get(t, "/shop")
	r.use(t, strings.Replace(r.config(plugin, "shop"), "status_code_metrics: true", "status_code_metrics: true, bandwidth_metrics: true", 1))
	r.get(t, "/shop")
	r.want(t, `^kong_http`, line("shop", 2))
	r.use(t, r.config(plugin, "store"))
	r.want(t, `^kong_http`)
	r.get(t, "/shop")
	r.want(t, `^kong_http`, line("store", 1))
	r.use(t, r.config("{name: correlation-id}", "store"))
	r.get(t, "/shop")
	r.want(t, `^kong_`)
	r.use(t, r.config(plugin, "store"))
	r.get(t, "/shop")
	r.want(t, `^kong_http`, line("store", 1))
}

// TestScopes: the flags of the instance that runs on a route are those that count.
func TestScopes(t *testing.T) {
	r := start(t, "{name: prometheus}")
	r.use(t, strings.Replace(r.config("{name: prometheus, config: {status_code_metrics: true}}", "shop"), "paths: [/shop]}", "paths: [/shop], plugins: [{name: prometheus, config: {bandwidth_metrics: true}}]}", 1))
	r.get(t, "/shop", "/closed")
	r.want(t, `^kong_(http|bandwidth_bytes.*egress)`,
		`kong_bandwidth_bytes{consumer="",direction="egress",route="shop",service="shop",workspace="default"} 5`,
		`kong_http_requests_total{code="503",consumer="",route="closed",service="shop",source="kong",workspace="default"} 1`,
	)
}
