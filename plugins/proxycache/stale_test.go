package proxycache_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// answerOf asks for a path with some fields, each with its value, and returns
// the answer, whose content was read.
func answerOf(t *testing.T, c *http.Client, e *testkit.Edge, method, path string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+e.At("http").String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// want asks and holds the answer's content and what the cache says.
func want(t *testing.T, c *http.Client, e *testkit.Edge, content, status, method, path string, fields ...string) {
	t.Helper()
	resp, got := answerOf(t, c, e, method, path, fields...)
	if st := resp.Header.Get("X-Cache-Status"); got != content || st != status {
		t.Errorf("%s %s %v: %q, %q; want %q, %q", method, path, fields, got, st, content, status)
	}
}

// TestOtherRules reloads with other plugins in front of the cache: what they
// would have removed is not answered from the store.
func TestOtherRules(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Secret", "1")
		_, _ = io.WriteString(w, "one")
	})
	const remove = `{name: response-transformer, config: {remove: {headers: [X-Secret]}}}, `
	const allow = `{name: cors, config: {origins: ["*"]}}, `
	with := func(plugins string) string {
		return strings.Replace(o.config("", ""), "plugins: [", "plugins: ["+plugins, 1)
	}
	e := testkit.StartEdge(t, with(allow))
	c := newClient(t)
	step := func(plugins, status, secret, allowed string) {
		t.Helper()
		if err := e.Use(with(plugins)); err != nil {
			t.Fatal(err)
		}
		resp, content := answerOf(t, c, e, "GET", "/", "Origin", "http://a.test")
		h := resp.Header
		if content != "one" || h.Get("X-Cache-Status") != status || h.Get("X-Secret") != secret || h.Get("Access-Control-Allow-Origin") != allowed {
			t.Errorf("%q: %q %v", plugins, content, h)
		}
	}
	step(allow, "Miss", "1", "*")
	step(allow, "Hit", "1", "*")
	step(allow+remove, "Miss", "", "*")
	step(allow+remove, "Hit", "", "*")
	step(remove, "Miss", "", "")
	step(remove, "Hit", "", "")
	step("", "Miss", "1", "")
	step("{name: correlation-id, config: {header_name: X-Correlation-ID}}, ", "Miss", "1", "")
}

// TestForgetByURI changes a resource by a request with other fields than those
// that what is stored depends on.
func TestForgetByURI(t *testing.T) {
	var version atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Method == http.MethodPost {
			version.Add(1)
		}
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", int(version.Load()))+r.Header.Get("X-Team"))
	})
	yaml := o.config("", ", cache_control: true, vary_headers: [X-Team], content_type: ['*/*']")
	yaml = strings.Replace(yaml, "plugins: [", `plugins: [{name: request-transformer, config: {append: {headers: ["X-Agent:$(headers['user-agent'])"]}}}, `, 1)
	e := testkit.StartEdge(t, yaml)
	c := newClient(t)
	want(t, c, e, "red", "Miss", "GET", "/a?x=1", "X-Team", "red")
	want(t, c, e, "blue", "Miss", "GET", "/a?x=1", "X-Team", "blue")
	want(t, c, e, "red", "Miss", "GET", "/b?x=1", "X-Team", "red")
	want(t, c, e, "red", "Hit", "GET", "/a?x=1", "X-Team", "red")
	answerOf(t, c, e, "POST", "/a?x=1", "X-Team", "green", "User-Agent", "another")
	want(t, c, e, "xred", "Miss", "GET", "/a?x=1", "X-Team", "red")
	want(t, c, e, "xblue", "Miss", "GET", "/a?x=1", "X-Team", "blue")
	want(t, c, e, "xblue", "Hit", "GET", "/a?x=1", "X-Team", "blue")
	want(t, c, e, "red", "Hit", "GET", "/b?x=1", "X-Team", "red")

	// One that is refused changes nothing.
	want(t, c, e, "x", "Bypass", "GET", "/refused")
	answerOf(t, c, e, "POST", "/refused")
	want(t, c, e, "xblue", "Hit", "GET", "/a?x=1", "X-Team", "blue")
}

// TestForgetOnOtherRoute changes a resource on a route whose cache goes by other
// query arguments than the one that has stored it.
func TestForgetOnOtherRoute(t *testing.T) {
	var version atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Method == http.MethodPost {
			version.Add(1)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", int(version.Load())))
	})
	const all, some = "", ", vary_query_params: [id]"
	for name, tt := range map[string]struct{ stores, changes string }{
		"some by all": {some, all},
		"all by some": {all, some},
	} {
		t.Run(name, func(t *testing.T) {
			version.Store(0)
			cache := func(query string) string {
				return "plugins: [{name: proxy-cache, config: {strategy: memory, cache_control: true, content_type: ['*/*']" + query + "}}]"
			}
			e := testkit.StartEdge(t, `
services:
  - name: shop
    url: http://`+o.addr+`
    routes:
      - {name: reads, paths: [/], methods: [GET], `+cache(tt.stores)+`}
      - {name: writes, paths: [/], methods: [POST], `+cache(tt.changes)+`}
`)
			c := newClient(t)
			want(t, c, e, "", "Miss", "GET", "/a?id=1&of=2")
			want(t, c, e, "", "Miss", "GET", "/a?id=2&of=2")
			want(t, c, e, "", "Hit", "GET", "/a?id=1&of=2")
			answerOf(t, c, e, "POST", "/a?of=2&id=1")
			want(t, c, e, "x", "Miss", "GET", "/a?id=1&of=2")
			want(t, c, e, "x", "Hit", "GET", "/a?id=1&of=2")
			want(t, c, e, "", "Hit", "GET", "/a?id=2&of=2")
		})
	}
}

// TestWhileAskedAnew asks for what is stale and may be used while it is asked for
// anew: one request goes to the upstream, the others do not wait for it.
func TestWhileAskedAnew(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 1)
	var asked atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=60")
		w.Header().Set("ETag", `"a"`)
		if asked.Add(1) == 1 {
			w.Header().Set("Age", "70")
			w.Header().Set("Cache-Control", "max-age=71, stale-while-revalidate=60")
			_, _ = io.WriteString(w, "one")
			return
		}
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "two")
	})
	e := testkit.StartEdge(t, o.config("", ", cache_control: true"))
	c := newClient(t)
	want(t, c, e, "one", "Miss", "GET", "/")
	waitStale(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		want(t, newClient(t), e, "two", "Refresh", "GET", "/")
	}()
	<-arrived
	for range 3 {
		want(t, c, e, "one", "Hit", "GET", "/")
	}
	resp, _ := answerOf(t, c, e, "GET", "/", "If-None-Match", `"a"`)
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("status %d", resp.StatusCode)
	}
	close(release)
	<-done
	want(t, c, e, "two", "Hit", "GET", "/")
	if n := asked.Load(); n != 2 {
		t.Errorf("the upstream was asked %d times, want 2", n)
	}
}

// waitStale waits for longer than a second, which is the least that an answer is
// fresh.
func waitStale(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(1100 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
}

// TestIfError lets the upstream fail when what is stored is stale.
func TestIfError(t *testing.T) {
	var fails atomic.Int64
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if status := int(fails.Load()); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "failed")
			return
		}
		control := "max-age=1, stale-if-error=60"
		switch r.URL.Path {
		case "/never":
			control = "max-age=1"
		case "/must":
			control += ", must-revalidate"
		}
		w.Header().Set("Cache-Control", control)
		_, _ = io.WriteString(w, "one")
	})
	yaml := o.config("", ", cache_control: true, storage_ttl: 100")
	e := testkit.StartEdge(t, yaml)
	c := newClient(t)
	for _, path := range []string{"/", "/never", "/must", "/gone"} {
		want(t, c, e, "one", "Miss", "GET", path)
	}
	waitStale(t)
	fails.Store(503)
	want(t, c, e, "one", "Hit", "GET", "/")
	want(t, c, e, "failed", "Bypass", "GET", "/never")
	want(t, c, e, "failed", "Bypass", "GET", "/must")
	want(t, c, e, "failed", "Bypass", "GET", "/", "Cache-Control", "max-age=30")
	fails.Store(404)
	want(t, c, e, "failed", "Bypass", "GET", "/")

	// Nobody answers at all.
	closed := testkit.LastingAddr(t)
	if err := e.Use(strings.Replace(yaml, o.addr, closed, 1)); err != nil {
		t.Fatal(err)
	}
	want(t, c, e, "one", "Hit", "GET", "/gone")
	if resp, _ := answerOf(t, c, e, "GET", "/never"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
}

// TestMetrics holds what the cache counts.
func TestMetrics(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one") })
	e := testkit.StartEdge(t, o.config("", ""))
	c := newClient(t)
	want(t, c, e, "one", "Miss", "GET", "/")
	want(t, c, e, "one", "Hit", "GET", "/")
	want(t, c, e, "one", "Hit", "GET", "/")
	want(t, c, e, "one", "Bypass", "DELETE", "/")
	e.Stop() // the last exchange is counted after its answer
	w := httptest.NewRecorder()
	e.Metrics().Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`bulwark_proxy_cache_requests_total{status="hit"} 2`,
		`bulwark_proxy_cache_requests_total{status="miss"} 1`,
		`bulwark_proxy_cache_requests_total{status="bypass"} 1`,
		`bulwark_proxy_cache_requests_total{status="stale"} 0`,
		`bulwark_proxy_cache_requests_total{status="refresh"} 0`,
		"bulwark_proxy_cache_entries 1\n",
		"bulwark_proxy_cache_evictions_total 0\n",
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("there is no %s in\n%s", line, w.Body.String())
		}
	}
}

// TestVaryOnce holds that what plugins in front of the cache add to Vary stands
// there once, in answers from the store too.
func TestVaryOnce(t *testing.T) {
	for _, upstream := range []string{"", "Origin", "Accept-Encoding, origin"} {
		o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
			if upstream != "" {
				w.Header().Set("Vary", upstream)
			}
			_, _ = io.WriteString(w, "one")
		})
		e := testkit.StartEdge(t, strings.Replace(o.config("", ""), "plugins: [", `plugins: [
			{name: cors, config: {origins: ["http://a.test", "http://b.test"], credentials: true}}, {name: compression, config: {min_length: 0}}, `, 1))
		c := newClient(t)
		for _, status := range []string{"Miss", "Hit", "Hit"} {
			resp, _ := answerOf(t, c, e, "GET", "/", "Origin", "http://a.test", "Accept-Encoding", "gzip")
			if got := resp.Header.Get("X-Cache-Status"); got != status {
				t.Errorf("%q: %s, want %s", upstream, got, status)
			}
			seen := make(map[string]bool)
			for name := range strings.SplitSeq(strings.ToLower(strings.Join(resp.Header.Values("Vary"), ",")), ",") {
				if name = strings.TrimSpace(name); seen[name] {
					t.Errorf("%q: Vary is %q", upstream, resp.Header.Values("Vary"))
				}
				seen[name] = true
			}
			if len(seen) != 2 {
				t.Errorf("%q: Vary is %q", upstream, resp.Header.Values("Vary"))
			}
		}
	}
}
