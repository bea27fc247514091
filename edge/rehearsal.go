package edge

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Rehearsal is a configuration made ready for requests that come from no client.
// They go through the router and the pipeline as others do, but of all plugins only
// those of one kind act, and no service is asked. It opens no socket and no log,
// looks up no name and starts no goroutine; a directory for temporary files of the
// rules is made, and removed by Close. Its methods are called by one goroutine at a
// time; the caller owns Close.
type Rehearsal struct {
	compiler *compiler
	pipeline l7.Pipeline
	routes   []*l7.Route
}

// RehearsedRequest is a request for a Rehearsal.
type RehearsedRequest struct {
	Request l7.Request // as an engine has read it, but for its Body
	Body    []byte     // its content, if it has some
	ID      string     // of the exchange; "": a new one
	Client  netip.Addr
	TLS     bool   // it comes within TLS, for the server that its Host names
	Route   string // name or id of the route that takes it whatever it matches; "": the router decides
}

// Rehearsed is what came of a request.
type Rehearsed struct {
	Route   *config.Route   // nil: none
	Service *config.Service // the route's; nil: it has none
	Status  int             // of the answer; 200 if the service would be asked
	Reason  l7.Reason       // why it would not be
}

// ErrNoSuchRoute says that a route which is asked for by its name is not there, or
// is disabled, or one of streams.
var ErrNoSuchRoute = errors.New("no such route")

// NewRehearsal builds the instances of one kind. Errors are those of Compile.
func NewRehearsal(cfg *config.Config, kind plugins.Kind, log *slog.Logger) (*Rehearsal, error) {
	c := &compiler{
		env:  Env{Kinds: []plugins.Kind{kind}, Log: log, State: new(plugins.State)},
		cfg:  cfg,
		prev: new(Snapshot),
		snap: &Snapshot{lease: new(lease), Config: cfg, plugins: make(map[config.ID]*placed)},
	}
	r := &Rehearsal{compiler: c}
	if err := r.compile(); err != nil {
		c.snap.discard()
		return nil, err
	}
	return r, nil
}

func (r *Rehearsal) compile() error {
	c := r.compiler
	if err := c.buildPluginsOf(c.env.Kinds[0].Name); err != nil {
		return err
	}
	requests := func(p config.Protocol) bool { return !p.Stream() }
	c.plans = newPlanner(c.env.Kinds, c.snap.plugins, requests, newPlan, nil)
	for _, e := range c.cfg.Routes.All() {
		if e.Stream() {
			continue
		}
		service, ok := c.cfg.Services.Get(e.Service.ID)
		switch {
		case !ok && !e.Service.ID.IsZero():
			continue
		case ok && !service.Enabled:
			continue
		}
		route := &l7.Route{
			Entity: e, Plan: c.plans.forRoute(e).plan,
			HTTP: slices.Contains(e.Protocols, config.HTTP), HTTPS: slices.Contains(e.Protocols, config.HTTPS),
		}
		if ok {
			route.Service = &l7.Service{Entity: service, Path: service.Path}
		}
		r.routes = append(r.routes, route)
	}
	router, err := l7.NewFlavoredRouter(c.cfg.Node.Flavor, r.routes)
	if err != nil {
		return err
	}
	node := &c.cfg.Node
	metrics := telemetry.NewMetrics(telemetry.Options{Reasons: l7.ReasonNames(), UpstreamErrors: l7.ReasonNames(), StreamReasons: l4.ReasonNames()})
	r.pipeline = l7.Pipeline{
		Config: c.cfg, Router: router, Global: c.plans.global.plan, Forwarder: nobody{},
		Policy: c.headerPolicy(), Metrics: metrics, Listener: metrics.Listener(rehearsalListener), Log: c.env.Log,
		BodyBytes: int64(node.Limits.BodyBytes), BodyBuffers: int64(node.Limits.BodyBuffers),
		ErrorType: node.ErrorType, Shared: new(l7.Shared),
	}
	return nil
}

// rehearsalListener is the listener that rehearsed requests come by.
const rehearsalListener = "rehearsal"

// Close closes the instances.
func (r *Rehearsal) Close() { r.compiler.snap.discard() }

// Route returns a route by its name or id.
func (r *Rehearsal) Route(name string) (*l7.Route, error) {
	for _, route := range r.routes {
		if name != "" && route.Entity.Name == name || route.Entity.ID.String() == name {
			return route, nil
		}
	}
	return nil, ErrNoSuchRoute
}

// Global returns what runs for requests that have no route.
func (r *Rehearsal) Global() *l7.Plan { return r.pipeline.Global }

// Serve lets a request go its way. An error says that it could not: that the route
// it asks for is not there.
func (r *Rehearsal) Serve(q *RehearsedRequest) (Rehearsed, error) {
	p := r.pipeline
	if q.Route != "" {
		route, err := r.Route(q.Route)
		if err != nil {
			return Rehearsed{}, err
		}
		if p.Router, err = l7.NewRouter([]*l7.Route{anyRequest(route)}); err != nil {
			return Rehearsed{}, err
		}
	}
	x := l7.NewExchange()
	defer x.Release()
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 80)
	if q.TLS {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 443)
	}
	info := l4.NewInfo(rehearsalListener, netip.AddrPortFrom(q.Client, 0), local)
	if q.TLS {
		host, _, _ := strings.Cut(q.Request.Authority, ":")
		info.TLS = &l4.TLS{Version: "TLSv1.3", ServerName: strings.ToLower(host)}
	}
	x.Conn, x.Wire, x.ID, x.Req = &info, nowhere{}, q.ID, q.Request
	if x.ID == "" {
		x.ID = l7.NewID()
	}
	if len(q.Body) > 0 {
		x.Req.Body = &rehearsedBody{Reader: bytes.NewReader(q.Body), all: q.Body}
	}
	p.Serve(x)
	out := Rehearsed{Status: x.LogStatus(), Reason: x.Reason()}
	if x.Route != nil {
		out.Route = x.Route.Entity
		if x.Route.Service != nil {
			out.Service = x.Route.Service.Entity
		}
	}
	return out, nil
}

// anyRequest returns a route that takes all requests, and else is the same.
func anyRequest(r *l7.Route) *l7.Route {
	e := *r.Entity
	e.Hosts, e.Paths, e.Methods, e.Headers, e.SNIs, e.Sources, e.Destinations = nil, []string{"/"}, nil, nil, nil, nil, nil
	e.Expression = ""
	return &l7.Route{Entity: &e, Service: r.Service, Plan: r.Plan, HTTP: true, HTTPS: true}
}

// nobody is asked in place of all services, and answers nothing of its own.
type nobody struct{}

// Forward answers with 200, as what is ours and not a service's.
func (nobody) Forward(x *l7.Exchange) error {
	x.Reply(l7.NewReply(http.StatusOK, "", nil).WithReason(l7.ReasonNone))
	return nil
}

// nowhere is where answers go.
type nowhere struct{}

var _ l7.Wire = nowhere{}

func (nowhere) WriteHead(int, *l7.Header, int64) error { return nil }
func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) Flush() error                           { return nil }
func (nowhere) Finish(*l7.Header) error                { return nil }
func (nowhere) Abort(l7.Reason)                        {}
func (nowhere) Tunnel() (l7.Tunnel, error)             { return nil, errors.ErrUnsupported }
func (nowhere) Departed() bool                         { return false }

// rehearsedBody is content that is all here.
type rehearsedBody struct {
	*bytes.Reader
	all []byte
}

var _ l7.WholeBody = (*rehearsedBody)(nil)

// Whole returns the content, as if it had been read.
func (b *rehearsedBody) Whole() ([]byte, bool) {
	_, _ = b.Seek(0, io.SeekEnd) // there is always an end
	return b.all, true
}

// Trailer returns none.
func (b *rehearsedBody) Trailer() *l7.Header { return new(l7.Header) }

// Stop does nothing: no read waits.
func (b *rehearsedBody) Stop() {}
