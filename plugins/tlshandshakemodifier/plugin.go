package tlshandshakemodifier

import (
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

var _ plugins.Asker = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "tls-handshake-modifier", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct{ asked policy.ClientAuth }

// New returns an instance.
func New(Config, plugins.Env) (any, error) {
	return &Plugin{policy.ClientAuth{Mode: policy.Request}}, nil
}

// ClientAuth lets handshakes ask for any certificate.
func (p *Plugin) ClientAuth() *policy.ClientAuth { return &p.asked }
