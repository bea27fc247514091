package forward

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// origin is a server whose connections are served by a script.
type origin struct {
	at    netip.AddrPort
	conns atomic.Int32
}

// newOrigin serves each connection by handle, which gets its number, from 1.
func newOrigin(t testing.TB, handle func(n int, c *client)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{at: ln.Addr().(*net.TCPAddr).AddrPort()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			n := int(o.conns.Add(1))
			work.Go(func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(patience))
				handle(n, &client{TCPConn: nc.(*net.TCPConn), r: bufio.NewReader(nc)})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		work.Wait()
	})
	return o
}

// client is a connection as the origin sees it.
type client struct {
	*net.TCPConn
	r *bufio.Reader
}

// request reads a request with its content, or returns nil at the end.
func (c *client) request() *http.Request {
	r, err := http.ReadRequest(c.r)
	if err != nil {
		return nil
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	return r
}

func (c *client) say(text string) { _, _ = io.WriteString(c, text) }

// always answers every request with the same text.
func always(text string) func(int, *client) {
	return func(_ int, c *client) {
		for c.request() != nil {
			c.say(text)
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// wire records an answer.
type wire struct {
	interims []int
	status   int
	head     l7.Header
	size     int64
	content  bytes.Buffer
	trailer  l7.Header
	finished bool
	aborted  bool
	departed atomic.Bool
}

var _ l7.Wire = (*wire)(nil)

func (w *wire) WriteHead(status int, h *l7.Header, size int64) error {
	if status < 200 {
		w.interims = append(w.interims, status)
		return nil
	}
	if w.status != 0 {
		panic("BUG: second final head")
	}
	w.status, w.size = status, size
	w.head.CopyFrom(h)
	return nil
}
func (w *wire) Write(p []byte) (int, error) { return w.content.Write(p) }
func (*wire) Flush() error                  { return nil }

func (w *wire) Finish(trailer *l7.Header) error {
	if trailer != nil {
		w.trailer.CopyFrom(trailer)
	}
	w.finished = true
	return nil
}
func (w *wire) Abort(l7.Reason)          { w.aborted = true }
func (*wire) Tunnel() (l7.Tunnel, error) { return nil, errors.New("no tunnel") }
func (w *wire) Departed() bool           { return w.departed.Load() }
func (w *wire) String() string {
	s := fmt.Sprintf("%d %q", w.status, w.content.String())
	if w.aborted {
		s += " aborted"
	}
	return s
}

// fixture is a pipeline that forwards to origins.
type fixture struct {
	t       testing.TB
	p       *l7.Pipeline
	set     *upstream.Set
	service *l7.Service
	metrics *telemetry.Metrics
	log     *bytes.Buffer
}

// hooks are plugins of the one route.
func newFixture(t testing.TB, hooks []any, origins ...*origin) *fixture {
	t.Helper()
	f := &fixture{t: t, set: upstream.NewSet(), log: new(bytes.Buffer)}
	f.set.SetLimits(upstream.PoolLimits{Idle: 8, IdleTimeout: time.Minute, Requests: 1000})
	t.Cleanup(f.set.Close)
	var targets []upstream.Target
	for _, o := range origins {
		targets = append(targets, upstream.Target{Host: o.at.Addr().String(), Port: o.at.Port(), Weight: 1})
	}
	f.metrics = telemetry.NewMetrics(telemetry.Options{Reasons: l7.ReasonNames(), UpstreamErrors: l7.ReasonNames()})
	f.service = &l7.Service{
		Entity: new(config.Service), Balancer: upstream.NewBalancer(f.set, upstream.Spec{Targets: targets}, nil),
		Tries: 6, ConnectTimeout: patience, WriteTimeout: patience, ReadTimeout: patience,
	}
	var instances []l7.Instance
	for i, h := range hooks {
		instances = append(instances, l7.Instance{Order: i, Kind: "test", Plugin: h})
	}
	route := &l7.Route{
		Entity: &config.Route{Name: "all", Paths: []string{"/"}, PathHandling: config.V0}, Service: f.service,
		Plan: l7.NewPlan(instances), HTTP: true, HTTPS: true,
	}
	router, err := l7.NewRouter([]*l7.Route{route})
	if err != nil {
		t.Fatal(err)
	}
	policy := l7.NewHeaderPolicy("bulwark/test", nil, nil)
	f.p = &l7.Pipeline{
		Router: router, Global: new(l7.Plan), Policy: policy, Metrics: f.metrics, Listener: f.metrics.Listener("web"),
		Log: slog.New(slog.NewTextHandler(f.log, nil)), Shared: new(l7.Shared),
		Forwarder: &Client{
			Limits: syntax.Limits{HeadBytes: 64 << 10, TargetBytes: 8 << 10, Fields: 1000, ChunkExtensionBytes: 256, TrailerBytes: 8 << 10},
			Policy: policy, Metrics: f.metrics,
		},
	}
	return f
}

// body is a request's content that arrives in pieces.
type body struct {
	pieces  chan string
	rest    string
	stopped chan struct{}
	once    sync.Once
	trailer l7.Header
}

func newBody(pieces ...string) *body {
	b := &body{pieces: make(chan string, len(pieces)), stopped: make(chan struct{})}
	for _, p := range pieces {
		b.pieces <- p
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.rest == "" {
		select {
		case s, ok := <-b.pieces:
			if !ok {
				return 0, io.EOF
			}
			b.rest = s
		case <-b.stopped:
			return 0, l7.ErrStopped
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
func (b *body) Trailer() *l7.Header { return &b.trailer }
func (b *body) Stop()               { b.once.Do(func() { close(b.stopped) }) }

// do serves one request and returns its answer. change may change it before.
func (f *fixture) do(method string, change func(x *l7.Exchange)) *wire {
	f.t.Helper()
	w, _ := f.exchange(method, change)
	return w
}

// exchange is do that also returns the tries.
func (f *fixture) exchange(method string, change func(x *l7.Exchange)) (*wire, []l7.Try) {
	f.t.Helper()
	x, w := l7.NewExchange(), new(wire)
	defer x.Release()
	info := l4.NewInfo("web", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:8000"))
	x.Conn, x.Wire, x.ID = &info, w, l7.NewID()
	x.Req.Method, x.Req.Target, x.Req.Path, x.Req.Authority, x.Req.Proto, x.Req.HeadSize = method, "/x", "/x", "a.test", l7.HTTP11, 64
	x.Req.Header.Add("Host", "a.test")
	if change != nil {
		change(x)
	}
	f.p.Serve(x)
	return w, slices.Clone(x.Tries)
}

// want compares an answer.
func (f *fixture) want(w *wire, want string) {
	f.t.Helper()
	got := w.String()
	if i := strings.Index(got, `,\"request_id`); i >= 0 { // which differs each time
		got = got[:i] + `"`
	}
	if got != want {
		f.t.Errorf("answered %s, want %s\n%s", got, want, f.log)
	}
}

func problem(status int, text string) string {
	return fmt.Sprintf("%d %q", status, `{"message":"`+text+`"`)
}

func TestKeepsConnections(t *testing.T) {
	o := newOrigin(t, always(ok))
	f := newFixture(t, nil, o)
	for range 5 {
		f.want(f.do("GET", nil), `200 "ok"`)
	}
	if n := o.conns.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests, want 1", n)
	}
	if retries, connects := f.metrics.UpstreamRetries.Load(), f.metrics.UpstreamConnects.Load(); retries != 0 || connects != 1 {
		t.Errorf("%d retries and %d connections counted", retries, connects)
	}
}

// TestDoubtfulConnections shows after which answers a connection is not used
// again.
func TestDoubtfulConnections(t *testing.T) {
	for name, text := range map[string]string{
		"close":                 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":              "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"more than announced":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
		"an answer too many":    ok + ok,
		"behind the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(_ int, c *client) {
				if c.request() != nil {
					c.say(text)
					c.request() // until the edge closes
				}
			})
			f := newFixture(t, nil, o)
			for range 2 {
				f.want(f.do("GET", nil), `200 "ok"`)
			}
			if n := o.conns.Load(); n != 2 {
				t.Errorf("%d connections for 2 requests, want 2", n)
			}
		})
	}
}

func TestContent(t *testing.T) {
	long := strings.Repeat("0123456789", 30_000)
	tests := []struct {
		name, text, want string
		method           string
		trailer          string
	}{
		{"length", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), long, "GET", ""},
		{"chunked", fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-T: t\r\n\r\n", len(long), long), long, "GET", "t"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n" + long, long, "GET", ""},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "", "HEAD", ""},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", "", "GET", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
				if c.request() != nil {
					c.say(tt.text)
				}
			}))
			w := f.do(tt.method, nil)
			if w.content.String() != tt.want || !w.finished || w.aborted {
				t.Errorf("%d bytes, finished %v, want %d", w.content.Len(), w.finished, len(tt.want))
			}
			if got, _ := w.trailer.Get("X-T"); got != tt.trailer {
				t.Errorf("trailer %q, want %q", got, tt.trailer)
			}
		})
	}
}

func TestInterims(t *testing.T) {
	early := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	t.Run("passed on", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, always("HTTP/1.1 100 Continue\r\n\r\n"+early+early+ok)))
		w := f.do("GET", nil)
		f.want(w, `200 "ok"`)
		if !slices.Equal(w.interims, []int{103, 103}) { // 100 is between us and the upstream
			t.Errorf("interims %v", w.interims)
		}
	})
	t.Run("not to HTTP/1.0", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, always(early+ok)))
		w := f.do("GET", func(x *l7.Exchange) { x.Req.Proto = l7.HTTP10 })
		f.want(w, `200 "ok"`)
		if len(w.interims) != 0 {
			t.Errorf("interims %v", w.interims)
		}
	})
	t.Run("as many as allowed", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, always(strings.Repeat(early, maxInterims)+ok)))
		f.want(f.do("GET", nil), `200 "ok"`)
	})
	t.Run("one too many", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, always(strings.Repeat(early, maxInterims+1)+ok)))
		w, tries := f.exchange("GET", nil)
		f.want(w, problem(502, textInvalid))
		if len(tries) != 1 || !errors.Is(tries[0].Err, errInterims) {
			t.Errorf("tries %v", tries)
		}
	})
}

// TestRetries shows what is sent again, and what is not.
func TestRetries(t *testing.T) {
	silent := func(_ int, c *client) { c.request() }
	nonsense := func(_ int, c *client) {
		if c.request() != nil {
			c.say("nonsense\r\n\r\n")
		}
	}
	tests := []struct {
		name   string
		bad    func(int, *client) // nil: connections are refused
		method string
		want   string
		tries  int
	}{
		{"refused, GET", nil, "GET", `200 "ok"`, 2},
		{"refused, POST", nil, "POST", `200 "ok"`, 2},
		{"closed without an answer, GET", silent, "GET", `200 "ok"`, 2},
		{"closed without an answer, POST", silent, "POST", problem(502, textInvalid), 1},
		{"no HTTP", nonsense, "GET", problem(502, textInvalid), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var bad *origin
			if tt.bad == nil {
				bad = refusing(t)
			} else {
				bad = newOrigin(t, tt.bad)
			}
			f := newFixture(t, nil, bad, newOrigin(t, always(ok)))
			w, tries := f.exchange(tt.method, nil)
			f.want(w, tt.want)
			if len(tries) != tt.tries {
				t.Errorf("%d tries, want %d", len(tries), tt.tries)
			}
			if tries[0].Err == nil {
				t.Error("the first try has no error")
			}
		})
	}
}

func TestRetriesAreBounded(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) { c.request() }))
	f.service.Tries = 3
	w, tries := f.exchange("GET", nil)
	f.want(w, problem(502, textInvalid))
	if len(tries) != 3 {
		t.Errorf("%d tries, want 3", len(tries))
	}
}

// TestStale shows that a kept connection which its peer has closed costs no try
// where that is safe.
func TestStale(t *testing.T) {
	for _, tt := range []struct {
		method, want string
	}{
		{"GET", `200 "ok"`},
		{"POST", `200 "ok"`}, // the look before sending finds it out
	} {
		t.Run(tt.method, func(t *testing.T) {
			closed := make(chan struct{}, 1)
			o := newOrigin(t, func(n int, c *client) {
				if c.request() == nil {
					return
				}
				c.say(ok)
				if n == 1 {
					c.Close()
					closed <- struct{}{}
				}
			})
			f := newFixture(t, nil, o)
			f.want(f.do("GET", nil), `200 "ok"`)
			<-closed
			w, tries := f.exchange(tt.method, nil)
			f.want(w, tt.want)
			if len(tries) != 1 || o.conns.Load() != 2 {
				t.Errorf("%d tries, %d connections", len(tries), o.conns.Load())
			}
		})
	}
}

// TestTruncatedOnKeptConnection shows that an answer which breaks off after its
// head has been passed on is broken off too, and the request not sent again,
// even on a connection that might have been stale.
func TestTruncatedOnKeptConnection(t *testing.T) {
	o := newOrigin(t, func(_ int, c *client) {
		for n := 1; c.request() != nil; n++ {
			if n > 1 {
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
				return
			}
			c.say(ok)
		}
	})
	f := newFixture(t, nil, o)
	f.want(f.do("GET", nil), `200 "ok"`)
	w, tries := f.exchange("GET", nil)
	f.want(w, `200 "half" aborted`)
	if n := o.conns.Load(); n != 1 || len(tries) != 1 || f.metrics.Panics.Load() != 0 {
		t.Errorf("%d connections, %d tries, %d panics", n, len(tries), f.metrics.Panics.Load())
	}
	if tries[0].Err == nil || tries[0].Err.Reason != l7.ReasonUpstreamClosed {
		t.Errorf("error %v", tries[0].Err)
	}
}

func TestTimeouts(t *testing.T) {
	t.Run("no answer", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
			c.request()
			c.request()
		}))
		f.service.ReadTimeout, f.service.Tries = 50*time.Millisecond, 1
		f.want(f.do("GET", nil), problem(504, textTimeout))
	})
	t.Run("within the content", func(t *testing.T) {
		f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			c.request()
		}))
		f.service.ReadTimeout = 50 * time.Millisecond
		f.want(f.do("GET", nil), `200 "half" aborted`)
	})
}

func TestClientDeparts(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
		c.request()
		c.request() // until the edge closes
	}))
	w, tries := f.exchange("GET", func(x *l7.Exchange) { x.Wire.(*wire).departed.Store(true) })
	if !w.aborted || len(tries) != 1 || tries[0].Err.Reason != l7.ReasonClientGone {
		t.Errorf("answered %v after %v", w, tries)
	}
}

func TestUpload(t *testing.T) {
	var got atomic.Value
	o := newOrigin(t, func(_ int, c *client) {
		for r := c.request(); r != nil; r = c.request() {
			content, _ := io.ReadAll(r.Body)
			got.Store(fmt.Sprintf("%v %d %s %v", r.TransferEncoding, r.ContentLength, content, r.Trailer.Get("X-T")))
			c.say(ok)
		}
	})
	f := newFixture(t, nil, o)
	f.want(f.do("POST", func(x *l7.Exchange) {
		b := newBody("one ", "two ", "three")
		close(b.pieces)
		x.Req.Body, x.Req.ContentLength = b, 13
	}), `200 "ok"`)
	if s := got.Load(); s != "[] 13 one two three " {
		t.Errorf("the origin got %q", s)
	}
	f.want(f.do("POST", func(x *l7.Exchange) {
		b := newBody("one ", "two")
		b.trailer.Add("X-T", "t")
		close(b.pieces)
		x.Req.Body, x.Req.ContentLength = b, -1
	}), `200 "ok"`)
	if s := got.Load(); s != "[chunked] -1 one two t" && s != "[chunked] -1 one two " {
		t.Errorf("the origin got %q", s)
	}
	if n := o.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestEarlyAnswer shows that an answer is passed on while the upload still runs,
// which then ends, and its goroutine with it.
func TestEarlyAnswer(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
		p := make([]byte, 64)
		_, _ = c.Read(p)
		c.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, c)
	}))
	b := newBody("the first of many") // and no end
	f.want(f.do("POST", func(x *l7.Exchange) { x.Req.Body, x.Req.ContentLength = b, -1 }), `413 "no"`)
	select {
	case <-b.stopped:
	default:
		t.Error("the body was not stopped")
	}
}

// hook is a plugin of functions.
type (
	onTry      func(x *l7.Exchange) l7.Verdict
	onResponse func(x *l7.Exchange) l7.Verdict
)

func (h onTry) Upstream(x *l7.Exchange) l7.Verdict      { return h(x) }
func (h onResponse) Response(x *l7.Exchange) l7.Verdict { return h(x) }

// TestUpstreamHooks shows that they run once before each try, that what they do
// is sent, and that an answer of theirs needs no upstream.
func TestUpstreamHooks(t *testing.T) {
	t.Run("each try", func(t *testing.T) {
		var seen atomic.Value
		good := newOrigin(t, func(_ int, c *client) {
			for r := c.request(); r != nil; r = c.request() {
				seen.Store(r.Header.Get("X-Try"))
				c.say(ok)
			}
		})
		n := 0
		f := newFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict {
			n++
			x.UpstreamHeader().Set("X-Try", fmt.Sprint(n, " at ", x.Tries[len(x.Tries)-1].Addr.IsValid()))
			return l7.Next
		})}, newOrigin(t, func(_ int, c *client) { c.request() }), good)
		f.want(f.do("GET", nil), `200 "ok"`)
		if n != 2 || seen.Load() != "2 at true" {
			t.Errorf("%d runs for 2 tries; the origin saw %v", n, seen.Load())
		}
	})
	t.Run("answers", func(t *testing.T) {
		o := newOrigin(t, always(ok))
		f := newFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict {
			return x.Reply(l7.NewReply(418, "text/plain", []byte("teapot")))
		})}, o)
		f.want(f.do("GET", nil), `418 "teapot"`)
		if n := o.conns.Load(); n != 0 {
			t.Errorf("%d connections to the origin", n)
		}
	})
	t.Run("fails", func(t *testing.T) {
		f := newFixture(t, []any{onTry(func(x *l7.Exchange) l7.Verdict { return x.Fail(errors.New("broken")) })}, newOrigin(t, always(ok)))
		f.want(f.do("GET", nil), problem(500, "An unexpected error occurred"))
	})
}

func TestResponseHookReplaces(t *testing.T) {
	o := newOrigin(t, always(ok))
	f := newFixture(t, []any{onResponse(func(x *l7.Exchange) l7.Verdict {
		if x.Proxied {
			return x.Reply(l7.NewReply(418, "text/plain", []byte("teapot")))
		}
		return l7.Next
	})}, o)
	for range 2 {
		f.want(f.do("GET", nil), `418 "teapot"`)
	}
	if n := o.conns.Load(); n != 2 { // what is left of an answer is not read
		t.Errorf("%d connections, want 2", n)
	}
}

// TestPanicLeavesNothing shows that a panic in a hook, between two sides that
// still talk, leaves neither the upload's goroutine nor the connection behind.
func TestPanicLeavesNothing(t *testing.T) {
	ended := make(chan struct{})
	f := newFixture(t, []any{onResponse(func(x *l7.Exchange) l7.Verdict { panic("out of order") })}, newOrigin(t, func(_ int, c *client) {
		p := make([]byte, 64)
		_, _ = c.Read(p)
		c.say(ok)
		_, _ = io.Copy(io.Discard, c)
		close(ended)
	}))
	b := newBody("the first of many")
	f.want(f.do("POST", func(x *l7.Exchange) { x.Req.Body, x.Req.ContentLength = b, -1 }), problem(500, "An unexpected error occurred"))
	select {
	case <-b.stopped:
	default:
		t.Error("the body was not stopped")
	}
	<-ended
	if n := f.metrics.Panics.Load(); n != 1 || f.set.Idle() != 0 {
		t.Errorf("%d panics, %d idle connections", n, f.set.Idle())
	}
}

func TestNoEndpoint(t *testing.T) {
	f := newFixture(t, nil)
	w, tries := f.exchange("GET", nil)
	f.want(w, problem(503, textNoPeer))
	if len(tries) != 0 {
		t.Errorf("tries %v", tries)
	}
}

func TestUnaskedSwitch(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")))
	f.want(f.do("GET", nil), problem(502, textInvalid))
}

func TestNominatedByUpstream(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always("HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: a\r\nx-secret: b\r\nX-Open: c\r\nContent-Length: 2\r\n\r\nok")))
	w := f.do("GET", nil)
	if _, found := w.head.Get("X-Secret"); found {
		t.Error("a nominated field was passed on")
	}
	if v, _ := w.head.Get("X-Open"); v != "c" {
		t.Errorf("X-Open %q", v)
	}
}

// pipeless is a wire that could splice if there were a pipe.
type pipeless struct {
	*wire
	asked *bool
}

func (pipeless) CanSplice() bool { return true }

func (w pipeless) Splice(*sock.Conn, int64, func()) (int64, bool, error) {
	*w.asked = true
	return 0, false, sock.ErrNoPipe
}

// TestContentWithoutPipe: what cannot be spliced for want of descriptors is
// copied.
func TestContentWithoutPipe(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", spliceFrom/8)
	f := newFixture(t, nil, newOrigin(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content))))
	asked := false
	w := f.do("GET", func(x *l7.Exchange) { x.Wire = pipeless{x.Wire.(*wire), &asked} })
	if !asked {
		t.Fatal("the wire was not asked to splice")
	}
	if w.status != 200 || w.content.String() != content || !w.finished || w.aborted {
		t.Errorf("status %d, %d bytes, finished %v, aborted %v; want all %d", w.status, w.content.Len(), w.finished, w.aborted, len(content))
	}
}
