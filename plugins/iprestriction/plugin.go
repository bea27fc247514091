package iprestriction

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.RequestHook = (*Plugin)(nil)
	_ l4.ConnHook    = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "ip-restriction", Scopes: plugins.Anywhere | plugins.Listener, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	allow, deny *bart.Lite // nil: not configured
	status      int
	refusal     *l7.Reply // nil: the message names the address
}

// New builds the tables and, if its message is fixed, the refusal.
func New(cfg Config, _ plugins.Env) (any, error) {
	p := &Plugin{allow: table(cfg.Allow), deny: table(cfg.Deny), status: cfg.Status}
	if cfg.Message != "" {
		p.refusal = l7.Problem(cfg.Status, cfg.Message)
	}
	return p, nil
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

func (p *Plugin) refuses(addr netip.Addr) bool {
	return p.deny != nil && p.deny.Contains(addr) || p.allow != nil && !p.allow.Contains(addr)
}

func (p *Plugin) refuse(x *l7.Exchange) l7.Verdict {
	if p.refusal != nil {
		return x.Reply(p.refusal)
	}
	return x.Reply(l7.Problem(p.status, "IP address not allowed: "+x.ClientIP()))
}

func table(prefixes []schema.Prefix) *bart.Lite {
	if len(prefixes) == 0 {
		return nil
	}
	t := new(bart.Lite)
	for _, p := range prefixes {
		t.Insert(p.Prefix)
	}
	return t
}
