package acme

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

// Bounds on what clients can have ordered, and on an order.
const (
	maxNames   = 1000
	perMinute  = 10
	orderTime  = 5 * time.Minute
	lateWindow = 1.0 / 3 // of a certificate's life
)

var _ plugins.Orderer = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "acme", Scopes: plugins.Global, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance. It has no hooks: what it wants is in its terms.
type Plugin struct{ terms issuer.Terms }

// New returns an instance.
func New(cfg Config, _ plugins.Env) (any, error) { return &Plugin{termsOf(cfg)}, nil }

// Terms returns what the instance wants to have ordered.
func (p *Plugin) Terms() issuer.Terms { return p.terms }

func termsOf(cfg Config) issuer.Terms {
	key := issuer.P256
	if cfg.CertType == "rsa" {
		key = issuer.KeyType("rsa" + strconv.Itoa(cfg.RSABits))
	}
	t := issuer.Terms{
		Email: cfg.Email,
		CAs: []issuer.CA{{
			Directory: cfg.API, EABKeyID: cfg.EABKeyID, EABKey: strings.TrimRight(cfg.EABKey.Reveal(), "="), Chain: cfg.Chain,
		}},
		Challenges: []issuer.Challenge{issuer.HTTP01, issuer.TLSALPN01},
		Key:        key,
		Window:     lateWindow,
		Before:     time.Duration(cfg.Renew) * 24 * time.Hour,
		ARI:        true,
		CommonName: cfg.CommonName,
		Timeout:    orderTime,
		Backoff:    time.Duration(cfg.Backoff) * time.Minute,
		Steady:     true,
	}
	var allow []string
	for _, name := range cfg.Domains {
		if _, err := netip.ParseAddr(name); err == nil {
			t.Names = append(t.Names, name)
		} else {
			allow = append(allow, name)
		}
	}
	if len(allow) > 0 {
		t.Demand = &issuer.Demand{Allow: allow, PerMinute: perMinute, Most: maxNames}
	}
	return t
}
