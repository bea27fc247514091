package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func measure(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// answering is a server that counts requests and connections.
type answering struct {
	*httptest.Server
	requests, conns atomic.Int64
}

func newAnswering(t *testing.T, secure bool, h http.HandlerFunc) *answering {
	t.Helper()
	a := new(answering)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		h(w, r)
	}))
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.conns.Add(1)
		}
	}
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		a.StartTLS()
	} else {
		a.Start()
	}
	t.Cleanup(a.Close)
	return a
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestExactCounts(t *testing.T) {
	tests := []struct {
		name   string
		secure bool
		o      Options
		conns  int64
	}{
		{"closed loop", false, Options{Requests: 500, Connections: 5}, 5},
		{"closed loop over TLS", true, Options{Requests: 200, Connections: 5, Insecure: true}, 5},
		{"more connections than requests", false, Options{Requests: 3, Connections: 5}, 3},
		{"connection per request", false, Options{Requests: 50, Connections: 5, Reconnect: true}, 50},
		{"connection per request over TLS", true, Options{Requests: 20, Connections: 2, Reconnect: true, Insecure: true}, 20},
		{"open loop", false, Options{Requests: 200, Connections: 5, Rate: 1000}, 5},
		{"open loop by time", false, Options{Duration: 200 * time.Millisecond, Connections: 5, Rate: 1000}, 5},
		{"open loop, the earlier end", false, Options{Duration: time.Hour, Requests: 200, Connections: 5, Rate: 1000}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := newAnswering(t, tt.secure, hello)
			tt.o.URL = srv.URL
			want := tt.o.Requests
			if want == 0 {
				want = 200
			}
			r := measure(t, tt.o)
			if r.Answers != want || srv.requests.Load() != want || r.Status["2xx"] != want {
				t.Errorf("got %d answers, %d seen, status %v; want %d", r.Answers, srv.requests.Load(), r.Status, want)
			}
			if r.Opened != tt.conns || srv.conns.Load() != tt.conns {
				t.Errorf("got %d connections opened, %d seen; want %d", r.Opened, srv.conns.Load(), tt.conns)
			}
			if r.Failures() != 0 || r.Unsent != 0 || r.Interrupted {
				t.Errorf("got errors %v, %d unsent, interrupted %t", r.Errors, r.Unsent, r.Interrupted)
			}
			if tt.secure != strings.HasPrefix(r.TLS, "TLS 1.3 ") {
				t.Errorf("got TLS %q", r.TLS)
			}
		})
	}
}

func TestClosedLoopByTime(t *testing.T) {
	srv := newAnswering(t, false, hello)
	var progress bytes.Buffer
	r := measure(t, Options{URL: srv.URL, Connections: 2, Duration: 1500 * time.Millisecond, Progress: &progress})
	if r.Answers == 0 || r.Answers != srv.requests.Load() || r.Seconds < 1.5 {
		t.Errorf("got %d answers, %d seen, in %.3f s", r.Answers, srv.requests.Load(), r.Seconds)
	}
	if n := strings.Count(progress.String(), "\n"); n < 1 {
		t.Errorf("got %d lines of progress: %q", n, progress.String())
	}
	if r.Latency != r.Service {
		t.Errorf("a closed loop's latency is its service time; got %+v and %+v", r.Latency, r.Service)
	}
}

// TestOpenLoopShowsStall is what the open loop is for: the server stands still
// for a second. The closed loop sends nothing meanwhile and sees one slow
// answer; the open loop sees all that were due.
func TestOpenLoopShowsStall(t *testing.T) {
	const (
		requests = 400
		rate     = 200 // So the stall lasts for half of the run.
		stall    = time.Second
		slow     = int64(500 * time.Millisecond / time.Microsecond)
	)
	stalling := func(t *testing.T) string {
		var n atomic.Int64
		srv := newAnswering(t, false, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 100 {
				<-time.After(stall)
			}
			hello(w, r)
		})
		return srv.URL
	}
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		r := measure(t, Options{URL: stalling(t), Connections: 1, Requests: requests})
		if r.Answers != requests || r.Latency.P90 > slow || r.Latency.Max < slow {
			t.Errorf("got %d answers, latency %+v", r.Answers, r.Latency)
		}
	})
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		r := measure(t, Options{URL: stalling(t), Connections: 1, Requests: requests, Rate: rate})
		if r.Answers != requests || r.Latency.P90 < slow || r.Service.P90 > slow {
			t.Errorf("got %d answers, latency %+v, service %+v", r.Answers, r.Latency, r.Service)
		}
	})
}

func TestUnsentIsReported(t *testing.T) {
	release := make(chan struct{})
	srv := newAnswering(t, false, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	const requests = 50
	r := measure(t, Options{URL: srv.URL, Connections: 1, Requests: requests, Rate: 1000, Timeout: 100 * time.Millisecond})
	if r.Answers != 0 || r.Errors["timeout"].Count == 0 || r.Unsent == 0 || r.Failures()+r.Unsent != requests {
		t.Errorf("got %d answers, errors %v, %d unsent; want %d of the last two", r.Answers, r.Errors, r.Unsent, requests)
	}
}

func TestStatusClasses(t *testing.T) {
	var n atomic.Int64
	srv := newAnswering(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader([]int{200, 302, 404, 503}[n.Add(1)%4])
	})
	r := measure(t, Options{URL: srv.URL, Connections: 3, Requests: 40})
	if diff := cmp.Diff(map[string]int64{"2xx": 10, "3xx": 10, "4xx": 10, "5xx": 10}, r.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestRequestAsSent(t *testing.T) {
	var mu sync.Mutex
	var got []string
	srv := newAnswering(t, false, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s %s host=%s agent=%s x=%q type=%s length=%d close=%t body=%s",
			r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Header["X-A"], r.Header.Get("Content-Type"), r.ContentLength, r.Close, body))
	})
	measure(t, Options{
		URL: srv.URL + "/a%2Fb?c=d", Method: "POST", Body: []byte("hi"), Requests: 1, Reconnect: true,
		Headers: []string{"Host: shop.example", "X-A: 1", "X-A:2", "Content-Type: text/plain"},
	})
	measure(t, Options{URL: srv.URL, Requests: 1})
	want := []string{
		`POST /a%2Fb?c=d host=shop.example agent=bulwark-bench x=["1" "2"] type=text/plain length=2 close=true body=hi`,
		`GET / host=` + srv.Listener.Addr().String() + ` agent=bulwark-bench x=[] type= length=0 close=false body=`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestErrorKinds lets a server misbehave on the second connection and after;
// the first one, which opens the run, is answered.
func TestErrorKinds(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
	tests := []struct {
		name, answer, kind string
	}{
		{"closed before the answer", "", "closed"},
		{"torn answer", ok[:len(ok)-1], "read"},
		{"not http", "SSH-2.0-x\r\n\r\n", "protocol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := rawServer(t, func(i int) string {
				if i == 0 {
					return ok
				}
				return tt.answer
			})
			r := measure(t, Options{URL: "http://" + addr, Connections: 1, Requests: 4})
			if r.Answers != 1 || r.Errors[tt.kind].Count != 3 || r.Failures() != 3 || r.Errors[tt.kind].First == "" {
				t.Errorf("got %d answers, errors %+v; want 1 and 3 of kind %q", r.Answers, r.Errors, tt.kind)
			}
		})
	}
}

// rawServer reads one request head per connection, writes reply(i) and closes.
func rawServer(t *testing.T, reply func(i int) string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			rd := &reader{src: conn, buf: make([]byte, readBuffer)}
			for {
				if line, err := rd.line(); err != nil || len(line) == 0 {
					break
				}
			}
			_, _ = io.WriteString(conn, reply(i))
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func TestServerGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	if _, err := Measure(t.Context(), Options{URL: "http://" + addr, Requests: 1}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestCertificateIsVerified(t *testing.T) {
	srv := newAnswering(t, true, hello)
	if _, err := Measure(t.Context(), Options{URL: srv.URL, Requests: 1}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	if n := srv.requests.Load(); n != 0 {
		t.Errorf("the server saw %d requests", n)
	}
}

func TestInterrupt(t *testing.T) {
	for name, rate := range map[string]float64{"closed loop": 0, "open loop": 1000} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			srv := newAnswering(t, false, func(_ http.ResponseWriter, r *http.Request) {
				cancel()
				select {
				case <-release:
				case <-r.Context().Done():
				}
			})
			defer close(release)
			o := Options{URL: srv.URL, Connections: 2, Duration: time.Hour, Timeout: MaxTimeout, Rate: rate}
			r, err := Measure(ctx, o)
			if err != nil || !r.Interrupted || r.Failures() != 0 {
				t.Errorf("got %+v, %v", r, err)
			}
			if _, err := Measure(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("starting after the end of the context: got %v", err)
			}
		})
	}
}

func TestOptionFaults(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{"scheme", Options{URL: "ftp://x"}, []string{`url "ftp://x"`}},
		{"no host", Options{URL: "http:///a"}, []string{`url "http:///a"`}},
		{"method", Options{URL: "http://x", Method: "GE T"}, []string{`method "GE T"`}},
		{"header", Options{URL: "http://x", Headers: []string{"no colon"}}, []string{`header "no colon"`}},
		{"header injection", Options{URL: "http://x", Headers: []string{"A: b\r\nC: d"}}, []string{`header "A: b\r\nC: d"`}},
		{
			"all at once",
			Options{URL: "x", Connections: -1, Rate: -1, Requests: -1, Duration: -1, Timeout: -1},
			[]string{"url", "connections is -1", "rate is -1", "requests is -1", "duration in seconds is", "timeout in seconds is"},
		},
		{
			"too much",
			Options{URL: "http://x", Connections: MaxConnections + 1, Rate: MaxRate + 1, Duration: MaxDuration + 1, Timeout: MaxTimeout + 1},
			[]string{"connections is 60001; want 1 to 60000", "rate", "duration", "timeout"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Measure(t.Context(), tt.o)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want a mention of %q", err, want)
				}
			}
		})
	}
}

func TestRunPrints(t *testing.T) {
	srv := newAnswering(t, false, hello)
	o := Options{URL: srv.URL, Requests: 10, Connections: 1, Rate: 1000}
	var table bytes.Buffer
	if err := Run(t.Context(), o, &table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GET " + srv.URL, "open loop at 1000/s, 1 connections", "10 in ", "status 2xx   10", "when due", "when sent"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	o.JSON = true
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Version != ResultVersion || r.Answers != 10 || r.Latency.Max == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}
