package origin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// start runs the origin on a free port and returns its address and a function
// that stops it and returns what Run returned.
func start(t *testing.T) (addr string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ready := make(chan netip.AddrPort, 1)
	done := make(chan error, 1)
	out := new(strings.Builder)
	go func() {
		done <- Run(ctx, Options{Address: "127.0.0.1:0", Ready: func(a netip.AddrPort) { ready <- a }}, out)
	}()
	select {
	case a := <-ready:
		if want := "origin listening on http://" + a.String() + "\n"; out.String() != want {
			t.Errorf("announced %q, want %q", out, want)
		}
		return a.String(), func() error { cancel(); return <-done }
	case err := <-done:
		t.Fatalf("Run ended early: %v", err)
		return "", nil
	}
}

func TestFixedAnswers(t *testing.T) {
	addr, stop := start(t)
	tests := []struct {
		name, method, path string
		status             int
		length             int64 // As announced; -1 for chunked.
		read               int64
	}{
		{"hello", "GET", "/", 200, 30, 30},
		{"unknown path", "GET", "/nope", 404, 19, 19},
		{"empty", "GET", "/size/0", 200, 0, 0},
		{"bytes", "GET", "/size/128", 200, 128, 128},
		{"text", "POST", "/text/2k", 200, 2048, 2048},
		{"kibibytes", "GET", "/size/100k", 200, 102400, 102400},
		{"mebibytes", "GET", "/size/10m", 200, 10485760, 10485760},
		{"head of the largest", "HEAD", "/size/1024m", 200, 1 << 30, 0},
		{"too large", "GET", "/size/1025m", 400, 79, 79},
		{"negative size", "GET", "/size/-1", 400, 76, 76},
		{"chunked", "GET", "/chunked/200k", 200, -1, 204800},
		{"chunked, empty", "GET", "/chunked/0", 200, -1, 0},
		{"delay", "GET", "/delay/1ms", 200, 11, 11},
		{"delay too long", "GET", "/delay/6m", 400, 44, 44},
		{"delay malformed", "GET", "/delay/soon", 400, 46, 46},
		{"teapot", "GET", "/status/418", 418, 17, 17},
		{"status without a name", "GET", "/status/599", 599, 4, 4},
		{"no content", "GET", "/status/204", 204, 0, 0},
		{"not modified", "GET", "/status/304", 304, 0, 0},
		{"informational refused", "GET", "/status/101", 400, 44, 44},
		{"status malformed", "GET", "/status/x", 400, 42, 42},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+addr+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || resp.ContentLength != tt.length || n != tt.read {
				t.Errorf("got status %d, length %d, %d bytes; want %d, %d, %d",
					resp.StatusCode, resp.ContentLength, n, tt.status, tt.length, tt.read)
			}
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestEcho(t *testing.T) {
	srv := httptest.NewServer(Handler())
	defer srv.Close()
	addr := srv.Listener.Addr().String()

	t.Run("json", func(t *testing.T) {
		raw := exchange(t, addr, "POST /echo/a%2Fb?c=<d> HTTP/1.1\r\nHost: shop\r\nX-Two: b\r\nX-Two: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		var got echoed
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			t.Fatalf("decoding %q: %v", raw, err)
		}
		want := echoed{
			Method: "POST", Target: "/echo/a%2Fb?c=<d>", Proto: "HTTP/1.1", Host: "shop",
			Headers: [][2]string{{"Connection", "close"}, {"Transfer-Encoding", "chunked"}, {"X-Two", "b"}, {"X-Two", "a"}},
			Body:    "abc",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("echo (-want +got):\n%s", diff)
		}
	})
	t.Run("text", func(t *testing.T) {
		got := exchange(t, addr, "PUT /echo HTTP/1.1\r\nHost: shop\r\nAccept: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		want := "PUT /echo HTTP/1.1\r\nHost: shop\r\nAccept: text/plain\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("too large", func(t *testing.T) {
		resp, err := srv.Client().Post(srv.URL+"/echo", "text/plain", strings.NewReader(strings.Repeat("x", MaxEcho+1)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got status %d, want 413", resp.StatusCode)
		}
	})
}

// exchange sends raw bytes and returns the body of the answer.
func exchange(t *testing.T, addr, raw string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestStopLetsAnswersFinish(t *testing.T) {
	addr, stop := start(t)
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The 100 says that the handler waits for the body, so the request is under
	// way when the origin is told to stop.
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if _, err := io.WriteString(conn, "late"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got echoed
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Body != "late" {
		t.Errorf("got body %q, %v", got.Body, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = Run(t.Context(), Options{Address: ln.Addr().String()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "address already in use; stop the process") {
		t.Errorf("got %v", err)
	}
}
