package requesttermination

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var _ l7.RequestHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "request-termination", Scopes: plugins.Anywhere | plugins.Listener, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	cfg   Config
	reply *l7.Reply // unused with echo
}

// New builds the answer.
func New(cfg Config, _ plugins.Env) (any, error) {
	p := &Plugin{cfg: cfg}
	switch {
	case cfg.Body != "":
		contentType := cfg.ContentType
		if contentType == "" {
			contentType = "application/json; charset=utf-8"
		}
		p.reply = l7.NewReply(cfg.StatusCode, contentType, []byte(cfg.Body))
	case cfg.Message != "":
		p.reply = l7.Problem(cfg.StatusCode, cfg.Message)
	case defaultMessages[cfg.StatusCode] != "":
		p.reply = l7.Problem(cfg.StatusCode, defaultMessages[cfg.StatusCode])
	default:
		p.reply = l7.NewReply(cfg.StatusCode, "", nil)
	}
	return p, nil
}

// Request answers, unless a trigger is configured and the request lacks it.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if p.cfg.Trigger != "" && !p.triggered(x) {
		return l7.Next
	}
	if p.cfg.Echo {
		return x.Reply(p.echo(x))
	}
	return x.Reply(p.reply)
}

func (p *Plugin) triggered(x *l7.Exchange) bool {
	if _, ok := x.Req.Header.Get(p.cfg.Trigger); ok {
		return true
	}
	if !x.Req.HasQuery {
		return false
	}
	args, _ := url.ParseQuery(x.Req.Query) // what can be read of it counts
	return args.Has(p.cfg.Trigger)
}

// echo is the request as it was received and what it matched.
type echo struct {
	MatchedRoute   any         `json:"matched_route"`
	MatchedService any         `json:"matched_service"`
	Request        echoRequest `json:"request"`
}

type echoRequest struct {
	Scheme  string              `json:"scheme"`
	Host    string              `json:"host"`
	Port    uint16              `json:"port"`
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Query   map[string][]string `json:"query"`
	Headers map[string][]string `json:"headers"`
}

func (p *Plugin) echo(x *l7.Exchange) *l7.Reply {
	query, _ := url.ParseQuery(x.Req.Query)
	e := echo{Request: echoRequest{
		Scheme: x.Conn.Scheme(), Host: x.Req.Authority, Port: x.Conn.Local.Port(),
		Method: x.Req.Method, Path: x.Req.Path, Query: query, Headers: make(map[string][]string),
	}}
	for _, f := range x.Req.Header.Fields() {
		name := http.CanonicalHeaderKey(f.Name)
		e.Request.Headers[name] = append(e.Request.Headers[name], f.Value)
	}
	if x.Route != nil {
		e.MatchedRoute = x.Route.Entity
		if x.Route.Service != nil {
			e.MatchedService = x.Route.Service.Entity
		}
	}
	body, err := json.Marshal(e)
	if err != nil {
		return l7.Problem(http.StatusInternalServerError, "An unexpected error occurred").WithReason(l7.ReasonInternal)
	}
	return l7.NewReply(p.cfg.StatusCode, "application/json; charset=utf-8", body)
}
