package cors

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.RequestHook  = (*Plugin)(nil)
	_ l7.ResponseHook = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "cors", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// The fields of the Fetch standard's protocol.
const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	allowHeaders     = "Access-Control-Allow-Headers"
	allowMethods     = "Access-Control-Allow-Methods"
	allowNetwork     = "Access-Control-Allow-Private-Network"
	exposeHeaders    = "Access-Control-Expose-Headers"
	maxAge           = "Access-Control-Max-Age"
	requestHeaders   = "Access-Control-Request-Headers"
	requestMethod    = "Access-Control-Request-Method"
	requestNetwork   = "Access-Control-Request-Private-Network"
)

// Plugin is an instance.
type Plugin struct {
	cfg     Config
	origins *origins

	// Values of fields, made once.
	methods, headers, exposed, maxAge string

	preflight *l7.Reply     // the fields are added by Response
	seen      l7.Slot[bool] // the request is a preflight that this instance has seen
}

// New compiles the origins and makes the values of the fields.
func New(cfg Config, _ plugins.Env) (any, error) {
	list, err := newOrigins(cfg.Origins)
	if err != nil {
		return nil, fmt.Errorf("compiling the origins: %w", err)
	}
	p := &Plugin{
		cfg: cfg, origins: list,
		methods:   strings.Join(cfg.Methods, ","),
		headers:   strings.Join(cfg.Headers, ","),
		exposed:   strings.Join(cfg.ExposedHeaders, ","),
		preflight: l7.NewReply(http.StatusOK, "", nil),
	}
	if cfg.MaxAge != nil {
		p.maxAge = strconv.FormatFloat(*cfg.MaxAge, 'f', -1, 64)
	}
	return p, nil
}

// Request answers preflights, unless they are the upstream's.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if x.Req.Method != http.MethodOptions {
		return l7.Next
	}
	_, hasOrigin := x.Req.Header.Get("Origin")
	if _, hasMethod := x.Req.Header.Get(requestMethod); !hasOrigin || !hasMethod {
		return l7.Next
	}
	p.seen.Set(x, true)
	if p.cfg.PreflightContinue {
		return l7.Next
	}
	return x.Reply(p.preflight)
}

// Response adds the fields to the answer, whoever made it.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	origin, has := x.Req.Header.Get("Origin")
	switch {
	case p.seen.Get(x):
		if !p.cfg.PreflightContinue {
			p.tellOrigin(x, origin, true)
			p.tellPreflight(x)
		}
	case has || p.cfg.AllowOriginAbsent:
		p.tellOrigin(x, origin, has)
		if p.exposed != "" {
			x.Resp.Header.Set(exposeHeaders, p.exposed)
		}
	case !p.origins.all: // with Origin it would be another answer
		addVary(&x.Resp.Header)
	}
	return l7.Next
}

// tellOrigin adds what every answer says of origins and credentials.
func (p *Plugin) tellOrigin(x *l7.Exchange, origin string, has bool) {
	h := &x.Resp.Header
	tell, all := "", p.origins.all
	switch {
	case all:
		tell = "*"
	case p.origins.single != "":
		tell = p.origins.single
	case has && p.origins.any:
		tell, all = "*", true
	case has:
		tell, _ = p.origins.allowed(origin)
	}
	vary := !p.origins.all
	if p.cfg.Credentials {
		// "*" does not go with credentials.
		if all && has {
			tell, vary = origin, true
		}
		if !all || has {
			h.Set(allowCredentials, "true")
		}
	}
	if vary {
		addVary(h)
	}
	if tell == "" {
		h.Del(allowOrigin)
	} else {
		h.Set(allowOrigin, tell)
	}
}

// addVary adds Origin to Vary, unless it stands there.
func addVary(h *l7.Header) {
	for _, f := range h.Fields() {
		if f.ID != l7.FieldOther || !strings.EqualFold(f.Name, "Vary") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if name = strings.Trim(name, " \t"); name == "*" || strings.EqualFold(name, "Origin") {
				return
			}
		}
	}
	h.AddField(l7.Field{Name: "Vary", Value: "Origin"})
}

// tellPreflight adds what only the answer to a preflight says.
func (p *Plugin) tellPreflight(x *l7.Exchange) {
	h := &x.Resp.Header
	headers := p.headers
	if headers == "" {
		headers, _ = x.Req.Header.Get(requestHeaders)
	}
	if headers != "" {
		h.Set(allowHeaders, headers)
	}
	h.Set(allowMethods, p.methods)
	if p.maxAge != "" {
		h.Set(maxAge, p.maxAge)
	}
	if p.cfg.PrivateNetwork {
		if v, _ := x.Req.Header.Get(requestNetwork); v == "true" {
			h.Set(allowNetwork, "true")
		}
	}
}
