package proxyprotocol

import (
	"slices"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins"
)

var _ l4.UpstreamHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "proxy-protocol", Scopes: plugins.NotConsumer, Speaks: plugins.Stream, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	version              l4.ProxyVersion
	authority, alpn, ssl bool
}

// New returns an instance.
func New(cfg Config, _ plugins.Env) (any, error) {
	p := &Plugin{
		version:   l4.ProxyV2,
		authority: slices.Contains(cfg.TLVs, "authority"),
		alpn:      slices.Contains(cfg.TLVs, "alpn"),
		ssl:       slices.Contains(cfg.TLVs, "ssl"),
	}
	if cfg.Version == "1" {
		p.version = l4.ProxyV1
	}
	return p, nil
}

// UpstreamSession puts the header in front of what the client says.
func (p *Plugin) UpstreamSession(s *l4.Session) {
	version, datagram := p.version, s.Datagrams()
	if datagram {
		version = l4.ProxyV2
	}
	var room [256]byte
	extensions := room[:0]
	if version == l4.ProxyV2 {
		extensions = p.extensions(extensions, s.Info)
	}
	s.Preamble = l4.AppendProxyHeader(s.Preamble, version, datagram, s.Info.Client, s.Info.Local, extensions)
}

func (p *Plugin) extensions(b []byte, info *l4.Info) []byte {
	if name := info.ServerName(); p.authority && name != "" {
		b = l4.AppendProxyExtension(b, l4.ProxyAuthority, name)
	}
	if info.TLS == nil {
		return b
	}
	if protocol := info.TLS.Protocol; p.alpn && protocol != "" {
		b = l4.AppendProxyExtension(b, l4.ProxyALPN, protocol)
	}
	if p.ssl {
		b = l4.AppendProxyTLS(b, info.TLS)
	}
	return b
}
