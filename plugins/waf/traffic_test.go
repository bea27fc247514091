package waf_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// scrapeText returns what /metrics answers.
func scrapeText(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := &recorder{header: http.Header{}}
	req, err := http.NewRequest("GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Handler().ServeHTTP(w, req)
	return w.text.String()
}

type recorder struct {
	header http.Header
	text   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.text.Write(p) }
func (r *recorder) WriteHeader(int)             {}

// zeros is n bytes of content.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// resident returns the process's memory in bytes, and from then on counts its peak
// anew.
func resident(t *testing.T) int64 {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return peak(t)
}

// peak returns the most memory that the process has had since it was counted anew.
func peak(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nVmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestLongUpload sends a gigabyte through the plugin as a browser sends a file, by
// the defaults, and a quarter of one as programs do: the beginning is inspected, the
// rest is streamed, and memory stays flat.
func TestLongUpload(t *testing.T) {
	const before, behind = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"film.mkv\"\r\n\r\n", "\r\n--b--\r\n"
	for _, tt := range []struct {
		name, contentType, config string
		size                      int64
		before, behind            string
	}{
		{"file", "multipart/form-data; boundary=b", "", 1 << 30, before, behind},
		{"binary", "application/octet-stream", "allowed_content_types: [application/octet-stream]", 1 << 28, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got int64
			at := testkit.StartTCP(t, func(c net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				got, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(c, noContent)
			})
			e := testkit.StartEdge(t, guarded(at, "", tt.config))
			wantStatus(t, e, attack, 403) // what the engine allocates once is here
			start := resident(t)
			content := io.MultiReader(strings.NewReader(tt.before), &zeros{tt.size}, strings.NewReader(tt.behind))
			status, body := ask(t, e, "POST", "/upload", content, "Content-Type", tt.contentType)
			if want := tt.size + int64(len(tt.before)+len(tt.behind)); status != 204 || got != want {
				t.Fatalf("answered with %d, the upstream got %d bytes of %d: %s", status, got, want, body)
			}
			if grown := peak(t) - start; grown > 64<<20 {
				t.Errorf("memory has grown by %d MB", grown>>20)
			}
			e.Stop() // from then on all is counted
			if n := scrape(t, e.Metrics())[`bulwark_waf_uninspected_parts_total{reason="request_body_limit"}`]; n != "1" {
				t.Errorf("what was not inspected is counted %q times", n)
			}
		})
	}
}

// TestLongDownload lets a long answer of a type that is inspected pass: its
// beginning is held back, the rest is streamed.
func TestLongDownload(t *testing.T) {
	const size = 256 << 20
	at := testkit.StartTCP(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n")
		_, _ = io.Copy(c, &zeros{size})
	})
	e := testkit.StartEdge(t, guarded(at, "", ""))
	resp, err := http.Get("http://" + e.At("http").String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	before := resident(t)
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 || n != size || err != nil {
		t.Fatalf("answered with %d and %d bytes: %v", resp.StatusCode, n, err)
	}
	if grown := peak(t) - before; grown > 64<<20 {
		t.Errorf("memory has grown by %d MB", grown>>20)
	}
}

// TestEventStream: each event is with the client before the next one is made.
func TestEventStream(t *testing.T) {
	next := make(chan struct{})
	at := testkit.StartTCP(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range next {
			if _, err := io.WriteString(c, "9\r\ndata: 1\n\n\r\n"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})
	e := testkit.StartEdge(t, guarded(at, "", ""))
	resp, err := http.Get("http://" + e.At("http").String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		next <- struct{}{}
		var event [9]byte
		if _, err := io.ReadFull(resp.Body, event[:]); err != nil || string(event[:]) != "data: 1\n\n" {
			t.Fatalf("event %d is %q: %v", i, event, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("behind the events came %q: %v", rest, err)
	}
}

// TestHeldAnswerIsNotLeaked: however an upstream cuts its answer, and however long
// it waits between the pieces, nothing of one that is replaced is seen.
func TestHeldAnswerIsNotLeaked(t *testing.T) {
	secret := "<p>hello, the beginning is harmless</p>"
	go1 := make(chan struct{})
	at := testkit.StartTCP(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"+secret)
		<-go1
		_, _ = io.WriteString(c, "Warning: mysql_fetch_array() expects parameter 1 to be resource, boolean given in /var/www/html/index.php on line 12")
	})
	cfg := strings.Replace(guarded(at, "", ""), "paths: [/]", "paths: [/], response_buffering: false", 1)
	e := testkit.StartEdge(t, cfg)
	done := make(chan string)
	go func() {
		status, body := ask(t, e, "GET", "/", nil)
		done <- strconv.Itoa(status) + " " + body
	}()
	close(go1)
	if got := <-done; !strings.HasPrefix(got, "403 ") || strings.Contains(got, "hello") {
		t.Errorf("the client got %s", got)
	}
}
