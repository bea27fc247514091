package mtlsauth

import (
	"context"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/auth"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

var (
	_ l7.RequestHook = (*Plugin)(nil)
	_ l7.Certifier   = (*Plugin)(nil)
	_ plugins.Asker  = (*Plugin)(nil)
)

const name = "mtls-auth"

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: name, Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	certificates *auth.Certificates
}

// New makes what verifies.
func New(cfg Config, env plugins.Env) (any, error) {
	certificates, err := auth.NewCertificates(auth.CertificateSettings{
		Kind:                name,
		CACertificates:      cfg.CACertificates,
		ConsumerBy:          cfg.ConsumerBy,
		SkipConsumerLookup:  cfg.SkipConsumerLookup,
		AuthenticatedBy:     cfg.AuthenticatedGroupBy,
		Anonymous:           cfg.Anonymous,
		DefaultConsumer:     cfg.DefaultConsumer,
		CacheTTL:            cfg.CacheTTL.Duration(),
		CertCacheTTL:        cfg.CertCacheTTL.Duration(),
		RevocationCheckMode: cfg.RevocationCheckMode,
		HTTPTimeout:         cfg.HTTPTimeout.Duration(),
		SendCADN:            cfg.SendCADN,
		AllowPartialChain:   cfg.AllowPartialChain,
		Credential:          credential,
	}, env)
	if err != nil {
		return nil, err
	}
	return &Plugin{certificates}, nil
}

func credential(cfg *config.Config, subject string, ca config.ID) (id, consumer config.ID, ok bool) {
	c, ok := cfg.MTLSAuthCredential(subject, ca)
	if !ok {
		return id, consumer, false
	}
	return c.ID, c.Consumer.ID, true
}

// ClientAuth lets handshakes ask for a certificate.
func (p *Plugin) ClientAuth() *policy.ClientAuth { return p.certificates.ClientAuth() }

// Request recognises the client by the certificate it has shown in the handshake.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	c, t := p.certificates, x.Conn.TLS
	switch {
	case c.Settled(x):
		return l7.Next
	case t == nil || len(t.Chain) == 0:
		return c.Unsent(x)
	}
	v := c.OfConnection(t)
	x.SetClientVerify(v.Verify)
	if !v.Accepted {
		return c.Failed(x)
	}
	return c.Recognise(x, v)
}

// Recertify says whether a client that was recognised would be so today.
func (p *Plugin) Recertify(ctx context.Context, cfg *config.Config, c *l7.Certified, wait bool) (l7.Recertified, error) {
	return p.certificates.Recertify(ctx, cfg, c, wait)
}
