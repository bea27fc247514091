package proxycache_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// origin is an upstream that counts its requests.
type origin struct {
	addr  string
	asked atomic.Int64
}

func startOrigin(t *testing.T, serve func(http.ResponseWriter, *http.Request)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{addr: ln.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		serve(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-done })
	return o
}

func (o *origin) config(node, plugin string) string {
	return fmt.Sprintf(`
node: {limits: {%s}}
services:
  - name: shop
    url: http://%s
    plugins: [{name: proxy-cache, config: {strategy: memory%s}}]
    routes: [{name: shop, paths: [/]}]
`, node, o.addr, plugin)
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 8 * time.Second}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// get asks for a path and returns the content and what the cache says.
func get(c *http.Client, e *testkit.Edge, path string) (content, status string, err error) {
	resp, err := c.Get("http://" + e.At("http").String() + path)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp.Header.Get("X-Cache-Status"), err
}

// TestCollapse lets many clients ask for the same while the upstream has not
// answered: it is asked once.
func TestCollapse(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "one")
	})
	e := testkit.StartEdge(t, o.config("", ""))
	client := newClient(t)
	const clients = 20
	var work sync.WaitGroup
	var hits atomic.Int64
	for range clients {
		work.Go(func() {
			content, status, err := get(client, e, "/")
			if err != nil || content != "one" {
				t.Errorf("got %q, %v", content, err)
			}
			if status == "Hit" {
				hits.Add(1)
			}
		})
	}
	active := func() int64 { return e.Metrics().Listener("http").Active.Load() }
	for deadline := time.Now().Add(5 * time.Second); active() < clients; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d connections", active(), clients)
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	work.Wait()
	if o.asked.Load() != 1 || hits.Load() != clients-1 {
		t.Errorf("the upstream was asked %d times, there were %d hits; want 1 and %d", o.asked.Load(), hits.Load(), clients-1)
	}
}

// TestCollapseFails lets the first of two requests leave: the second one is not
// left waiting for it.
func TestCollapseFails(t *testing.T) {
	started := make(chan struct{}, 2)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		if r.Header.Get("X-First") != "" {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "one")
	})
	e := testkit.StartEdge(t, o.config("", ""))
	client := newClient(t)
	ctx, leave := context.WithCancel(context.Background())
	first, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.At("http").String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Header.Set("X-First", "1")
	left := make(chan struct{})
	go func() {
		defer close(left)
		if resp, err := client.Do(first); err == nil {
			resp.Body.Close()
		}
	}()
	<-started
	leave()
	<-left
	began := time.Now()
	content, status, err := get(client, e, "/")
	if err != nil || content != "one" || status != "Miss" {
		t.Errorf("got %q, %q, %v", content, status, err)
	}
	if took := time.Since(began); took > 4500*time.Millisecond {
		t.Errorf("waited %v for a request that had ended", took)
	}
}

// TestTooLarge asks for what is larger than one answer may be, announced and
// not.
func TestTooLarge(t *testing.T) {
	content := strings.Repeat("x", 3<<10)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, content[:1<<10])
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, content[1<<10:])
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = io.WriteString(w, content)
	})
	e := testkit.StartEdge(t, o.config("cache_bytes: 128KiB", "")) // 2 KiB for one
	client := newClient(t)
	for _, tt := range []struct{ path, status string }{{"/", "Bypass"}, {"/", "Bypass"}, {"/stream", "Miss"}, {"/stream", "Miss"}} {
		if got, status, err := get(client, e, tt.path); err != nil || got != content || status != tt.status {
			t.Errorf("%s: %d bytes, %q, %v; want %d and %q", tt.path, len(got), status, err, len(content), tt.status)
		}
	}
	if o.asked.Load() != 4 {
		t.Errorf("the upstream was asked %d times, want 4", o.asked.Load())
	}
}

// TestReload changes the configuration: what is stored stays, and the bound is
// the new one.
func TestReload(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one") })
	e := testkit.StartEdge(t, o.config("", ""))
	client := newClient(t)
	step := func(want string) {
		t.Helper()
		if content, status, err := get(client, e, "/"); err != nil || content != "one" || status != want {
			t.Errorf("got %q, %q, %v; want %q", content, status, err, want)
		}
	}
	step("Miss")
	step("Hit")
	if err := e.Use(o.config("", ", cache_ttl: 200")); err != nil {
		t.Fatal(err)
	}
	step("Hit")
	if err := e.Use(o.config("cache_bytes: 0", ", cache_ttl: 200, response_headers: {age: false}")); err != nil {
		t.Fatal(err)
	}
	step("Hit") // what is stored still serves
	if content, status, err := get(client, e, "/other"); err != nil || content != "one" || status != "Bypass" {
		t.Errorf("got %q, %q, %v", content, status, err)
	}
}
