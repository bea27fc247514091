package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/stream"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// patience bounds what must happen soon.
const patience = 10 * time.Second

// bench is a server with what surrounds it.
type bench struct {
	*testing.T
	server   *stream.Server
	metrics  *telemetry.Metrics
	set      *upstream.Set
	logged   chan map[string]any // the log entries of streams that have ended
	released atomic.Int32
	pipeline *stream.Pipeline
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, set: upstream.NewSet(), logged: make(chan map[string]any, 100)}
	b.metrics = telemetry.NewMetrics(telemetry.Options{StreamReasons: l4.ReasonNames()})
	var err error
	if b.server, err = stream.NewServer(new(l4.Bans), b.metrics, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	b.pipeline = &stream.Pipeline{Listener: b.metrics.Listener("tcp"), Plan: func(r *l4.Route) *l4.Plan { return r.Plan }, Release: func() { b.released.Add(1) }}
	t.Cleanup(func() {
		b.server.Close()
		b.set.Close()
	})
	return b
}

// LogSession takes the entry of a stream.
func (b *bench) LogSession(s *l4.Session) {
	var entry map[string]any
	if err := json.Unmarshal(s.AppendLogEntry(nil), &entry); err != nil {
		b.Errorf("log entry: %v", err)
	}
	b.logged <- entry
}

// entry waits for the end of a stream.
func (b *bench) entry() map[string]any {
	b.Helper()
	select {
	case e := <-b.logged:
		return e
	case <-time.After(patience):
		b.Fatal("no stream has ended")
	}
	return nil
}

// route returns a route to targets, host:port each, with hooks before the log.
func (b *bench) route(hooks []any, targets ...string) *l4.Route {
	var all []upstream.Target
	for _, t := range targets {
		host, port, err := net.SplitHostPort(t)
		if err != nil {
			b.Fatal(err)
		}
		n, err := net.LookupPort("tcp", port)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, upstream.Target{Host: host, Port: uint16(n), Weight: 1})
	}
	kinds := make([]string, len(hooks)+1)
	return &l4.Route{
		Entity: &config.Route{Name: "r", Protocols: []config.Protocol{config.TCP}},
		Plan:   l4.NewPlan(kinds, append(hooks, b)),
		Service: &l4.Service{
			Entity:   &config.Service{Name: "s"},
			Balancer: upstream.NewBalancer(b.set, upstream.Spec{Targets: all}, nil),
			Tries:    3, ConnectTimeout: patience, IdleTimeout: patience,
		},
	}
}

// closer counts the closes of a client's connection.
type closer struct{ n atomic.Int32 }

func (c *closer) Close() error {
	c.n.Add(1)
	return nil
}

// connect lets a client in, and returns its end.
func (b *bench) connect(r *l4.Route) (*net.TCPConn, stream.Stream, *closer) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(patience))
	nc, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	info := l4.NewInfo("tcp", nc.RemoteAddr().(*net.TCPAddr).AddrPort(), nc.LocalAddr().(*net.TCPAddr).AddrPort())
	s, err := sock.New(nc.(*net.TCPConn))
	if err != nil {
		b.Fatal(err)
	}
	fd, err := s.Detach()
	if err != nil {
		b.Fatal(err)
	}
	c := new(closer)
	return client.(*net.TCPConn), b.server.ServeSocket(fd, &info, b.pipeline, r, config.TCP, c), c
}

// echo starts an upstream that sends back what it gets, and after the end of
// that closes.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveEcho(t, ln)
	return ln.Addr().String()
}

// serveEcho serves what echo serves, to the test's end.
func serveEcho(t *testing.T, ln net.Listener) {
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// deaf returns an address that refuses connections.
func deaf(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (b *bench) exchange(c *net.TCPConn, say, want string) {
	b.Helper()
	if _, err := io.WriteString(c, say); err != nil {
		b.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != want {
		b.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func TestServe(t *testing.T) {
	b := newBench(t)
	client, _, closed := b.connect(b.route(nil, echo(t)))
	b.exchange(client, "first", "first")
	e := b.entry()
	session, up := e["session"].(map[string]any), e["upstream"].(map[string]any)
	if session["received"] != 5.0 || session["sent"] != 5.0 || session["status"] != 200.0 || up["sent"] != 5.0 || up["received"] != 5.0 || e["source"] != "upstream" || e["reason"] != nil {
		t.Errorf("log entry %v", e)
	}
	if tries := e["tries"].([]any); len(tries) != 1 {
		t.Errorf("tries %v", tries)
	}
	wantEnded(t, b, closed, 1)
}

// wantEnded expects that streams have let go of everything, once.
func wantEnded(t *testing.T, b *bench, c *closer, streams int32) {
	t.Helper()
	for end := time.Now().Add(patience); b.released.Load() != streams && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if b.released.Load() != streams || c.n.Load() != 1 {
		t.Errorf("the snapshot was released %d times, want %d, the client closed %d times", b.released.Load(), streams, c.n.Load())
	}
}

func TestRetry(t *testing.T) {
	b := newBench(t)
	client, _, closed := b.connect(b.route(nil, deaf(t), deaf(t), echo(t)))
	b.exchange(client, "hello", "hello")
	tries := b.entry()["tries"].([]any)
	for i, try := range tries {
		if failed := try.(map[string]any)["state"] == "failed"; failed != (i < len(tries)-1) {
			t.Errorf("tries %v", tries)
		}
	}
	wantEnded(t, b, closed, 1)
}

type hook struct {
	session  func(*l4.Session) bool
	upstream func(*l4.Session)
}

func (h hook) Session(s *l4.Session) bool {
	if h.session == nil {
		return false
	}
	return h.session(s)
}

func (h hook) UpstreamSession(s *l4.Session) {
	if h.upstream != nil {
		h.upstream(s)
	}
}

// TestRefused holds how streams end that are never relayed.
func TestRefused(t *testing.T) {
	nameless := resolver{err: upstream.ErrName}
	tests := []struct {
		name    string
		hooks   []any
		targets []string
		reason  string
		status  float64
		tries   int
	}{
		{"no target", nil, nil, "no_endpoint", 503, 0},
		{"nobody listens", nil, []string{"dead"}, "upstream_connect", 502, 3},
		{"a hook refuses", []any{hook{session: func(*l4.Session) bool { return true }}}, []string{"echo"}, "refused", 403, 0},
		{"a hook panics", []any{hook{session: func(*l4.Session) bool { panic("test") }}}, []string{"echo"}, "internal", 500, 0},
		{"an upstream hook panics", []any{hook{upstream: func(*l4.Session) { panic("test") }}}, []string{"echo"}, "internal", 500, 1},
		{"a name without address", nil, []string{"nameless.test:80"}, "name_resolution", 503, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.set.SetResolver(nameless)
			targets := make([]string, len(tt.targets))
			for i, target := range tt.targets {
				switch target {
				case "dead":
					target = deaf(t)
				case "echo":
					target = echo(t)
				}
				targets[i] = target
			}
			client, _, closed := b.connect(b.route(tt.hooks, targets...))
			if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read %d, %v, want an end", n, err)
			}
			e := b.entry()
			if e["reason"] != tt.reason || e["session"].(map[string]any)["status"] != tt.status || len(e["tries"].([]any)) != tt.tries || e["source"] != "kong" {
				t.Errorf("log entry %v", e)
			}
			wantEnded(t, b, closed, 1)
		})
	}
}

func TestNoRoute(t *testing.T) {
	b := newBench(t)
	client, _, closed := b.connect(nil)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read ended with %v", err)
	}
	wantEnded(t, b, closed, 1)
}

// resolver answers every name once told to.
type resolver struct {
	answer <-chan netip.Addr // nil: at once, with err
	err    error
}

func (r resolver) Resolve(ctx context.Context, _ string) (upstream.Answer, error) {
	if r.answer == nil {
		return upstream.Answer{}, r.err
	}
	select {
	case a := <-r.answer:
		return upstream.Answer{Records: []upstream.Record{{Addr: a, Weight: 1}}, Expires: sock.Now() + int64(time.Hour)}, nil
	case <-ctx.Done():
		return upstream.Answer{}, ctx.Err()
	}
}

// TestWaitForName lets a stream come before its upstream's name is known, and
// another one that need not wait: the loop serves it meanwhile.
func TestWaitForName(t *testing.T) {
	b := newBench(t)
	answer := make(chan netip.Addr)
	b.set.SetResolver(resolver{answer: answer})
	_, port, _ := strings.Cut(echo(t), ":")
	route := b.route(nil, "shop.test:"+port)
	late, _, _ := b.connect(route)
	for range 8 { // more than there are loops
		other, _, _ := b.connect(b.route(nil, echo(t)))
		b.exchange(other, "other", "other")
		b.entry()
	}
	answer <- netip.MustParseAddr("127.0.0.1")
	b.exchange(late, "late", "late")
	b.entry()
}

func TestPreamble(t *testing.T) {
	b := newBench(t)
	preamble := hook{upstream: func(s *l4.Session) { s.Preamble = append(s.Preamble, "PROXY "...) }}
	client, _, _ := b.connect(b.route([]any{preamble}, deaf(t), echo(t)))
	b.exchange(client, "first", "PROXY first")
}

// TestCut ends a stream from outside: while it is relayed, and while it is being
// connected.
func TestCut(t *testing.T) {
	b := newBench(t)
	client, s, closed := b.connect(b.route(nil, echo(t)))
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the stream goes on")
	}
	if e := b.entry(); e["reason"] != "draining" {
		t.Errorf("log entry %v", e)
	}
	wantEnded(t, b, closed, 1)
	s.Cut() // does nothing

	b.set.SetResolver(resolver{answer: make(chan netip.Addr)})
	client, s, closed = b.connect(b.route(nil, "silent.test:80"))
	s.Cut() // the look-up goes on for as long as it takes, the stream does not
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read ended with %v, want the end of the stream", err)
	}
	if e := b.entry(); e["reason"] != "draining" {
		t.Errorf("log entry %v", e)
	}
	wantEnded(t, b, closed, 2)
}
