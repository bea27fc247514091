package telemetry

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixed is a StatusSource that never changes.
type fixed Status

func (f fixed) Status() Status { return Status(f) }

func (fixed) Upstreams() []UpstreamStatus { return nil }

func (fixed) Certificates() []CertificateStatus { return nil }

// metricsStub stands for the handler of Metrics.
var metricsStub = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "metrics\n")
})

func TestStatusAnswer(t *testing.T) {
	loaded := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	tests := []struct {
		name   string
		status Status
		want   string
	}{
		{
			name:   "at the start",
			status: Status{},
			want: `{
				"server": {"connections_active": 0, "connections_accepted": 0, "connections_handled": 0,
					"connections_reading": 0, "connections_writing": 0, "connections_waiting": 0, "total_requests": 0},
				"database": {"reachable": true},
				"configuration_hash": "00000000000000000000000000000000",
				"bulwark": {"version": "1.2.3", "draining": false, "config": {
					"hash": "00000000000000000000000000000000", "loaded_at": null, "last_error": null, "last_error_at": null},
					"upstreams": {"list": [], "omitted": 0}}
			}`,
		},
		{
			name: "serving, the last reload refused",
			status: Status{
				Server:     ServerStatus{Active: 6, Accepted: 10, Handled: 9, Reading: 1, Writing: 2, Waiting: 3, TotalRequests: 40},
				ConfigHash: "0123456789abcdef0123456789abcdef", LoadedAt: loaded,
				LastError: "line 3: a\nline 4: b", LastErrorAt: loaded.Add(time.Hour),
				Draining: true,
			},
			want: `{
				"server": {"connections_active": 6, "connections_accepted": 10, "connections_handled": 9,
					"connections_reading": 1, "connections_writing": 2, "connections_waiting": 3, "total_requests": 40},
				"database": {"reachable": true},
				"configuration_hash": "0123456789abcdef0123456789abcdef",
				"bulwark": {"version": "1.2.3", "draining": true, "config": {
					"hash": "0123456789abcdef0123456789abcdef", "loaded_at": "2026-03-04T04:06:07Z",
					"last_error": "line 3: a\nline 4: b", "last_error_at": "2026-03-04T05:06:07Z"},
					"upstreams": {"list": [], "omitted": 0}}
			}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			StatusHandler(fixed(tt.status), metricsStub, "1.2.3").ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/status", nil))
			if rec.Code != http.StatusOK {
				t.Fatalf("status %d", rec.Code)
			}
			var got, want map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, rec.Body)
			}
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			memory, ok := got["memory"].(map[string]any)
			if !ok {
				t.Fatalf("memory is %v", got["memory"])
			}
			delete(got, "memory")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			live, ok := memory["go"].(map[string]any)
			if !ok || live["heap_objects_bytes"].(float64) <= 0 || live["total_bytes"].(float64) <= live["heap_objects_bytes"].(float64) || live["goroutines"].(float64) < 1 {
				t.Errorf("memory.go is %v", memory["go"])
			}
			delete(memory, "go")
			if diff := cmp.Diff(map[string]any{"workers_lua_vms": []any{}, "lua_shared_dicts": map[string]any{}}, memory); diff != "" {
				t.Errorf("memory (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusRoutes(t *testing.T) {
	const ready, notFound, notAllowed = `{"message":"ready"}`, `{"message":"Not found"}`, `{"message":"Method not allowed"}`
	tests := []struct {
		name, method, path string
		status             Status
		code               int
		body               string
	}{
		{"ready", "GET", "/status/ready", Status{}, 200, ready},
		{"one trailing slash", "GET", "/status/ready/", Status{}, 200, ready},
		{"no configuration", "GET", "/status/ready", Status{NotReady: "no configuration available (empty configuration present)"}, 503, `{"message":"no configuration available (empty configuration present)"}`},
		{"draining", "GET", "/status/ready", Status{Draining: true, NotReady: "x"}, 503, `{"message":"draining"}`},
		{"metrics", "GET", "/metrics", Status{}, 200, "metrics"},
		{"unknown", "GET", "/", Status{}, 404, notFound},
		{"below a known path", "GET", "/status/other", Status{}, 404, notFound},
		{"below ready", "GET", "/status/ready/x", Status{}, 404, notFound},
		{"POST", "POST", "/status", Status{}, 405, notAllowed},
		{"DELETE", "DELETE", "/status/ready", Status{}, 405, notAllowed},
		{"PUT on metrics", "PUT", "/metrics", Status{}, 405, notAllowed},
		{"POST on an unknown path", "POST", "/nothing", Status{}, 404, notFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			StatusHandler(fixed(tt.status), metricsStub, "1.2.3").ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, nil))
			if rec.Code != tt.code || strings.TrimSpace(rec.Body.String()) != tt.body {
				t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.path, rec.Code, rec.Body, tt.code, tt.body)
			}
			if got := rec.Header().Get("Server"); got != "bulwark/1.2.3" {
				t.Errorf("Server: %q", got)
			}
			if tt.body != "metrics" && rec.Header().Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("Content-Type: %q", rec.Header().Get("Content-Type"))
			}
			if tt.code == 405 && rec.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", rec.Header().Get("Allow"))
			}
		})
	}
}

func startStatus(t *testing.T, h http.Handler) *StatusServer {
	t.Helper()
	s := NewStatusServer("127.0.0.1:0", h, slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testWait)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStatusServer(t *testing.T) {
	s := startStatus(t, StatusHandler(fixed{}, metricsStub, "1.2.3"))
	client := http.Client{Timeout: testWait, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+"/status/ready", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || (len(body) == 0) != (method == http.MethodHead) {
			t.Errorf("%s = %d %q, %v", method, resp.StatusCode, body, err)
		}
	}

	taken := NewStatusServer(s.Addr().String(), metricsStub, slog.New(slog.DiscardHandler))
	err := taken.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "node.status") {
		t.Errorf("starting on a taken address = %v", err)
	}
	if err := taken.Close(t.Context()); err != nil {
		t.Errorf("closing a server that never started = %v", err)
	}
}

func TestStatusServerCloseCutsSlowAnswers(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := NewStatusServer("127.0.0.1:0", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}), slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err == nil {
		t.Error("Close did not tell that it cut an answer")
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the listener still accepts after Close")
	}
}

// TestStatusServerCapsConnections fills every slot with idle connections: one
// more waits, and is served as soon as one of them leaves.
func TestStatusServerCapsConnections(t *testing.T) {
	s := startStatus(t, StatusHandler(fixed{}, metricsStub, "1.2.3"))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(testWait)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ask := func(c net.Conn) {
		t.Helper()
		if _, err := io.WriteString(c, "GET /status/ready HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(c net.Conn) {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	var held []net.Conn
	for range statusConnections {
		c := dial()
		ask(c)
		answer(c)
		held = append(held, c)
	}
	extra := dial()
	ask(extra)
	if err := extra.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := extra.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a connection beyond the bound was served %d bytes", n)
	}
	if err := extra.SetReadDeadline(time.Now().Add(testWait)); err != nil {
		t.Fatal(err)
	}
	held[0].Close()
	answer(extra)
}
