package headercertauth

import (
	"context"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/auth"
)

var (
	_ l7.RequestHook = (*Plugin)(nil)
	_ l7.Certifier   = (*Plugin)(nil)
)

const name = "header-cert-auth"

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: name, Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	field        string
	format       string
	secure       bool
	certificates *auth.Certificates
	verdicts     verdicts
}

// New makes what verifies.
func New(cfg Config, env plugins.Env) (any, error) {
	certificates, err := auth.NewCertificates(auth.CertificateSettings{
		Kind:                name,
		LogName:             logName,
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
		AllowPartialChain:   cfg.AllowPartialChain,
		Credential:          credential,
	}, env)
	if err != nil {
		return nil, err
	}
	return &Plugin{field: cfg.CertificateHeaderName, format: cfg.CertificateHeaderFormat, secure: cfg.SecureSource, certificates: certificates}, nil
}

func credential(cfg *config.Config, subject string, ca config.ID) (id, consumer config.ID, ok bool) {
	c, ok := cfg.HeaderCertAuthCredential(subject, ca)
	if !ok {
		return id, consumer, false
	}
	return c.ID, c.Consumer.ID, true
}

// logName is what the log entry tells a verdict under: that of the connection's
// own certificate is another one.
const logName = "header_client_verify"

// Request recognises the client by the certificate in the field.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	c := p.certificates
	trusted := !p.secure || x.TrustsPeer()
	if !trusted {
		auth.Forget(x, []string{p.field}) // whoever reads it behind us would believe it
	}
	if c.Settled(x) {
		return l7.Next
	}
	value, several := p.value(x)
	switch {
	case !trusted || value == "" && !several:
		return c.Unsent(x)
	case several:
		return p.fail(x, l4.VerifyFailed+"several fields")
	}
	v, known := p.verdicts.get(value, c)
	if !known {
		chain, err := parse(value, p.format)
		if err != nil {
			return p.fail(x, l4.VerifyFailed+err.Error())
		}
		v = c.Judge(chain)
		p.verdicts.put(value, v)
	}
	if !v.Accepted {
		return p.fail(x, v.Verify)
	}
	x.AddLogValue(logName, v.Verify)
	return c.Recognise(x, v)
}

func (p *Plugin) fail(x *l7.Exchange, verify string) l7.Verdict {
	x.AddLogValue(logName, verify)
	return p.certificates.Failed(x)
}

// value returns what the field holds. A proxy in front of us sets one field:
// where there are several, one is the client's.
func (p *Plugin) value(x *l7.Exchange) (value string, several bool) {
	found := false
	for _, f := range x.Req.Header.Fields() {
		if !auth.Alike(f.Name, p.field) {
			continue
		}
		if found {
			return "", true
		}
		value, found = f.Value, true
	}
	return value, false
}

// Recertify says whether a client that was recognised would be so today.
func (p *Plugin) Recertify(ctx context.Context, cfg *config.Config, c *l7.Certified, wait bool) (l7.Recertified, error) {
	return p.certificates.Recertify(ctx, cfg, c, wait)
}
