package l7

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// fakeWire records an answer.
type fakeWire struct {
	heads    []int // statuses, in order
	head     Header
	size     int64
	body     bytes.Buffer
	finished bool
	aborted  []Reason
	failHead error
	failBody error
}

var _ Wire = (*fakeWire)(nil)

func (w *fakeWire) WriteHead(status int, h *Header, size int64) error {
	w.heads = append(w.heads, status)
	w.head.CopyFrom(h)
	w.size = size
	return w.failHead
}

func (w *fakeWire) Write(p []byte) (int, error) {
	if w.failBody != nil {
		return 0, w.failBody
	}
	return w.body.Write(p)
}
func (w *fakeWire) Flush() error            { return nil }
func (w *fakeWire) Finish(*Header) error    { w.finished = true; return nil }
func (w *fakeWire) Abort(r Reason)          { w.aborted = append(w.aborted, r) }
func (w *fakeWire) Tunnel() (Tunnel, error) { return nil, errors.New("no tunnel") }
func (w *fakeWire) Departed() bool          { return false }

// answered is how an exchange ended, in one line.
func (w *fakeWire) answered() string {
	s := fmt.Sprint(w.heads)
	if w.finished {
		s += " finished"
	}
	if len(w.aborted) > 0 {
		s += fmt.Sprint(" aborted ", w.aborted)
	}
	return s
}

// fakeUpstream answers every request with 200 and "ok", or does what it is told.
type fakeUpstream struct {
	calls   int
	forward func(x *Exchange) error
}

func (f *fakeUpstream) Forward(x *Exchange) error {
	f.calls++
	if f.forward != nil {
		return f.forward(x)
	}
	return f.answerOK(x)
}

// answerOK answers with 200 and "ok".
func (f *fakeUpstream) answerOK(x *Exchange) error {
	x.AddTry(netip.MustParseAddrPort("192.0.2.80:80"), x.Forwarded()).Status = 200
	if x.RunUpstreamHooks() == Done {
		return nil
	}
	x.Resp.Status, x.Resp.Size = 200, 2
	x.Resp.Header.Add("Content-Type", "text/plain")
	x.Proxied = true
	if v, err := x.SendHead(); v == Done || err != nil {
		return err
	}
	n, err := x.Wire.Write([]byte("ok"))
	x.Sent += int64(n)
	if err != nil {
		return err
	}
	return x.Wire.Finish(nil)
}

// logged is an operator's log in memory.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// fixture is a pipeline in front of a fake upstream.
type fixture struct {
	Pipeline
	upstream *fakeUpstream
	log      *logged
	route    *Route
}

// newFixture returns a pipeline with one route for /shop, on which plan runs.
func newFixture(t testing.TB, plan *Plan) *fixture {
	t.Helper()
	if plan == nil {
		plan = new(Plan)
	}
	f := &fixture{upstream: new(fakeUpstream), log: new(logged)}
	f.route = &Route{
		Entity:  &config.Route{Name: "shop", Paths: []string{"/shop"}, StripPath: true, PathHandling: config.V0, HTTPSRedirectStatusCode: 426},
		Service: &Service{Entity: &config.Service{Name: "shop"}},
		Plan:    plan, HTTP: true, HTTPS: true,
	}
	router, err := NewRouter([]*Route{f.route})
	if err != nil {
		t.Fatal(err)
	}
	metrics := telemetry.NewMetrics(telemetry.Options{Reasons: ReasonNames(), UpstreamErrors: ReasonNames()})
	f.Pipeline = Pipeline{
		Router: router, Global: new(Plan), Forwarder: f.upstream,
		Policy:  NewHeaderPolicy("bulwark/test", []string{"server_tokens", "X-Kong-Request-Id"}, nil),
		Metrics: metrics, Listener: metrics.Listener("web"),
		Log:    slog.New(slog.NewTextHandler(f.log, nil)),
		Shared: new(Shared),
	}
	return f
}

// request returns an exchange as an engine would make it, and its wire. The
// caller releases it.
func request(t testing.TB, method, target string, fields ...string) (*Exchange, *fakeWire) {
	t.Helper()
	x := NewExchange()
	t.Cleanup(x.Release)
	w := new(fakeWire)
	info := l4.NewInfo("web", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:8000"))
	x.Conn, x.Wire, x.ID = &info, w, NewID()
	path, query, has := strings.Cut(target, "?")
	x.Req.Method, x.Req.Target, x.Req.Path, x.Req.Query, x.Req.HasQuery = method, target, path, query, has
	x.Req.Proto, x.Req.Authority, x.Req.HeadSize = HTTP11, "Shop.Test:8000", 100
	x.Req.Header.Add("Host", "Shop.Test:8000")
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		x.Req.Header.AddField(Field{Name: name, Value: value, ID: LookupField(name)})
	}
	return x, w
}

// plan makes a plan of plugins at the given orders.
func planOf(at map[int]any) *Plan {
	var list []Instance
	for order := range 100 {
		if p, ok := at[order]; ok {
			list = append(list, Instance{Order: order, Kind: fmt.Sprintf("kind-%d", order), Plugin: p})
		}
	}
	return NewPlan(list)
}

// The hooks of the tests are functions.
type (
	preRoute func(*Exchange) Verdict
	onReq    func(*Exchange) Verdict
	onTry    func(*Exchange) Verdict
	onResp   func(*Exchange) Verdict
	onLog    func(*Exchange)
)

func (f preRoute) PreRoute(x *Exchange) Verdict { return f(x) }
func (f onReq) Request(x *Exchange) Verdict     { return f(x) }
func (f onTry) Upstream(x *Exchange) Verdict    { return f(x) }
func (f onResp) Response(x *Exchange) Verdict   { return f(x) }
func (f onLog) Log(x *Exchange)                 { f(x) }

var errTest = errors.New("out of order")

var _ io.Writer = (*logged)(nil)
