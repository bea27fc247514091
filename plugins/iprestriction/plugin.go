package iprestriction

import (
	"io"
	"net/netip"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.RequestHook = (*Plugin)(nil)
	_ l4.ConnHook    = (*Plugin)(nil)
	_ l4.SessionHook = (*Plugin)(nil)
	_ io.Closer      = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "ip-restriction", Scopes: plugins.Anywhere | plugins.Listener, Speaks: plugins.HTTP | plugins.Stream,
		Protocols: []config.Protocol{config.GRPC, config.GRPCS, config.HTTP, config.HTTPS, config.TCP, config.TLS},
		New:       New,
	})
}

// Plugin is an instance.
type Plugin struct {
	allow, deny side
	status      int
	refusal     *l7.Reply // nil: the message names the address
}

// New opens the lists and databases and, if its message is fixed, makes the
// refusal.
func New(cfg Config, env plugins.Env) (any, error) {
	p := &Plugin{status: cfg.Status}
	if cfg.Message != "" {
		p.refusal = l7.Problem(cfg.Status, cfg.Message)
	}
	err := p.allow.build(env, cfg.Allow, cfg.AllowFiles, cfg.AllowCountries, cfg.AllowASNs, &cfg)
	if err == nil {
		err = p.deny.build(env, cfg.Deny, cfg.DenyFiles, cfg.DenyCountries, cfg.DenyASNs, &cfg)
	}
	if err != nil {
		p.allow.close()
		p.deny.close()
		return nil, err
	}
	return p, nil
}

// Close lets go of files.
func (p *Plugin) Close() error {
	p.allow.close()
	p.deny.close()
	return nil
}

// Request refuses addresses that deny has, or that allow has not.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if p.refuses(x.ClientAddr()) {
		return p.refuse(x)
	}
	return l7.Next
}

// Conn refuses the connections of such addresses.
func (p *Plugin) Conn(info *l4.Info) (refuse bool) { return p.refuses(info.Client.Addr()) }

// Session refuses the streams of such addresses.
func (p *Plugin) Session(s *l4.Session) (refuse bool) { return p.refuses(s.Info.Client.Addr()) }

func (p *Plugin) refuses(addr netip.Addr) bool {
	return p.deny.has(addr) || !p.allow.empty() && !p.allow.has(addr)
}

func (p *Plugin) refuse(x *l7.Exchange) l7.Verdict {
	if p.refusal != nil {
		return x.Reply(p.refusal)
	}
	return x.Reply(l7.Problem(p.status, "IP address not allowed: "+x.ClientIP()))
}
