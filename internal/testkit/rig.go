package testkit

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Rig serves exchanges through one plugin and without sockets, for tests that
// look at what a hook makes of many requests, or at what it allocates. Behind
// the plugin stands a service that answers 200 and "ok".
type Rig struct {
	Route    *l7.Route
	Consumer *config.Consumer // who every request is from; may be nil
	Status   int              // what the service answers, if not 200
	Fields   []l7.Field       // what its answers carry

	pipeline l7.Pipeline
	wire     rigWire
	conn     l4.Info
}

// RigAnswer is what a client got of a Rig. It is valid until the next request.
type RigAnswer struct {
	Status int
	Header *l7.Header
	Body   string
}

// NewRig returns a rig around a plugin, which may be nil.
func NewRig(t testing.TB, plugin any) *Rig {
	t.Helper()
	var instances []l7.Instance
	if plugin != nil {
		instances = []l7.Instance{{Kind: "test", Plugin: plugin}}
	}
	plan := l7.NewPlan(instances)
	service := &config.Service{ID: rigID(t, "1"), Name: "shop", Host: "shop.test"}
	r := &Rig{
		Route: &l7.Route{
			Entity:  &config.Route{ID: rigID(t, "2"), Name: "shop", Paths: []string{"/"}, PathHandling: config.V0, HTTPSRedirectStatusCode: 426, Service: config.Ref[config.Service]{ID: service.ID}},
			Service: &l7.Service{Entity: service},
			Plan:    plan, HTTP: true, HTTPS: true,
		},
		Status: 200,
		conn:   l4.NewInfo("web", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:8000")),
	}
	router, err := l7.NewRouter([]*l7.Route{r.Route})
	if err != nil {
		t.Fatal(err)
	}
	metrics := telemetry.NewMetrics(telemetry.Options{Reasons: l7.ReasonNames(), UpstreamErrors: l7.ReasonNames()})
	r.pipeline = l7.Pipeline{
		Router: router, Global: new(l7.Plan), Forwarder: r,
		Policy:  l7.NewHeaderPolicy("bulwark/"+Version, nil, nil),
		Metrics: metrics, Listener: metrics.Listener("web"),
		Log:    slog.New(slog.DiscardHandler),
		Shared: new(l7.Shared),
	}
	return r
}

func rigID(t testing.TB, digit string) config.ID {
	t.Helper()
	id, err := config.ParseID(strings.Repeat("0", 8) + "-0000-4000-8000-00000000000" + digit)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Serve sends a request with fields written "Name: value". A field
// Content-Length also announces content, which is not there.
func (r *Rig) Serve(method, target string, fields ...string) RigAnswer {
	x := r.begin(method, target)
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		x.Req.Header.Add(name, value)
	}
	if v, ok := x.Req.Header.Known(l7.FieldContentLength); ok {
		x.Req.ContentLength, _ = strconv.ParseInt(v, 10, 64) // what is no number is the test's fault, and 0
	}
	r.end(x)
	return RigAnswer{r.wire.status, &r.wire.header, r.wire.body.String()}
}

// Extra returns how many allocations a request costs more with the rig's plugin
// than with another, which may be nil. prepare completes the request; it must
// not allocate.
func (r *Rig) Extra(t testing.TB, other any, method, target string, prepare func(x *l7.Exchange)) float64 {
	t.Helper()
	bare := NewRig(t, other)
	bare.Consumer, bare.Status, bare.Fields = r.Consumer, r.Status, r.Fields
	measure := func(r *Rig) float64 {
		return testing.AllocsPerRun(2000, func() {
			x := r.begin(method, target)
			prepare(x)
			r.end(x)
		})
	}
	return measure(r) - measure(bare)
}

// Refusal is a plugin that answers every request with a prebuilt error, for
// Extra to compare others with.
func Refusal() l7.RequestHook { return refusal{l7.Problem(403, "Forbidden")} }

type refusal struct{ reply *l7.Reply }

func (r refusal) Request(x *l7.Exchange) l7.Verdict { return x.Reply(r.reply) }

func (r *Rig) begin(method, target string) *l7.Exchange {
	r.wire.header.Reset()
	r.wire.body.Reset()
	r.wire.status = 0
	x := l7.NewExchange()
	x.Conn, x.Wire, x.ID = &r.conn, &r.wire, "0123456789abcdef0123456789abcdef"
	x.Req.Method, x.Req.Target, x.Req.Proto, x.Req.HeadSize = method, target, l7.HTTP11, 100
	x.Req.Path, x.Req.Query, x.Req.HasQuery = strings.Cut(target, "?")
	x.Req.Authority = "shop.test"
	x.Req.Header.AddField(l7.Field{Name: "Host", Value: "shop.test", ID: l7.FieldHost})
	return x
}

func (r *Rig) end(x *l7.Exchange) {
	r.pipeline.Serve(x)
	x.Release()
}

// Forward is the service's answer.
func (r *Rig) Forward(x *l7.Exchange) error {
	if r.Consumer != nil {
		x.SetConsumer(r.Consumer)
	}
	x.Resp.Status, x.Resp.Size, x.Proxied = r.Status, 2, true
	for _, f := range r.Fields {
		x.Resp.Header.AddField(f)
	}
	if v, err := x.SendHead(); v == l7.Done || err != nil {
		return err
	}
	n, err := x.Wire.Write(rigBody)
	x.Sent += int64(n)
	if err != nil {
		return err
	}
	return x.Wire.Finish(nil)
}

var rigBody = []byte("ok")

// rigWire records one answer.
type rigWire struct {
	status int
	header l7.Header
	body   bytes.Buffer
}

var _ l7.Wire = (*rigWire)(nil)

func (w *rigWire) WriteHead(status int, h *l7.Header, _ int64) error {
	w.status = status
	w.header.CopyFrom(h)
	return nil
}

func (w *rigWire) Write(p []byte) (int, error) { return w.body.Write(p) }
func (w *rigWire) Flush() error                { return nil }
func (w *rigWire) Finish(*l7.Header) error     { return nil }
func (w *rigWire) Abort(l7.Reason)             {}
func (w *rigWire) Departed() bool              { return false }

func (w *rigWire) Tunnel() (l7.Tunnel, error) { return nil, errors.New("a rig has no tunnel") }

var _ io.Writer = (*rigWire)(nil)
