package redirect

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var _ l7.RequestHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "redirect", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	status int
	reply  *l7.Reply // nil: the location follows the request

	// The location around the request's path and query.
	before, after string
}

// New builds the answer, or what it will be built of.
func New(cfg Config, _ plugins.Env) (any, error) {
	if !cfg.KeepIncomingPath {
		return &Plugin{reply: answer(cfg.StatusCode, cfg.Location)}, nil
	}
	u, err := url.Parse(cfg.Location)
	if err != nil {
		return nil, fmt.Errorf("parsing the location: %w", err)
	}
	p := &Plugin{status: cfg.StatusCode, before: origin(u)}
	if u.Fragment != "" {
		p.after = "#" + u.EscapedFragment()
	}
	return p, nil
}

// Request answers every request.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if p.reply != nil {
		return x.Reply(p.reply)
	}
	location := p.before
	if !strings.HasPrefix(x.Req.Path, "/") {
		location += "/" // "*" must not become part of the host
	}
	location += x.Req.Path
	if x.Req.HasQuery {
		location += "?" + x.Req.Query
	}
	return x.Reply(answer(p.status, location+p.after))
}

// answer returns the redirect. Its text has no content type, as Kong's has none.
func answer(status int, location string) *l7.Reply {
	r := l7.NewReply(status, "", nil).SetHeader("Location", location)
	r.Body = []byte("redirecting")
	return r
}

// defaultPorts are the ports that a URL need not name.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}

// origin returns scheme, user and host of u as browsers write them.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "" || port == defaultPorts[u.Scheme] {
		host = strings.TrimSuffix(host, ":"+port)
	}
	if u.User != nil {
		host = u.User.String() + "@" + host
	}
	return u.Scheme + "://" + host
}
