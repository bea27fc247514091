package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// CertificateSettings are the configuration that mtls-auth and header-cert-auth
// have in common.
type CertificateSettings struct {
	CACertificates      []config.ID
	ConsumerBy          []string
	SkipConsumerLookup  bool
	AuthenticatedBy     string // CN or DN
	Anonymous           string
	DefaultConsumer     string
	CacheTTL            time.Duration // how long a verdict is kept with its connection
	CertCacheTTL        time.Duration
	RevocationCheckMode string
	HTTPTimeout         time.Duration
	SendCADN            bool
	AllowPartialChain   bool

	Kind    string // the plugin's name
	LogName string // what logs tell of the verdict under; "": as that of the connection's certificate

	// Credential finds the credential of a name, and whose it is.
	Credential func(cfg *config.Config, subject string, ca config.ID) (credential, consumer config.ID, ok bool)
}

// Certificates judges client certificates and says whose they are. It is
// immutable.
type Certificates struct {
	settings    CertificateSettings
	anonymous   Anonymous
	verifier    *peer.Verifier
	asked       *policy.ClientAuth
	authorities map[string]config.ID // by the certificate's bytes
}

// revocationModes are Kong's names of the modes.
var revocationModes = map[string]peer.Mode{"SKIP": peer.Skip, "IGNORE_CA_ERROR": peer.IgnoreCAError, "STRICT": peer.Strict}

var (
	unsent = l7.Problem(http.StatusUnauthorized, "No required TLS certificate was sent")
	failed = l7.Problem(http.StatusUnauthorized, "TLS certificate failed verification")
)

// NewCertificates returns what judges by s.
func NewCertificates(s CertificateSettings, env plugins.Env) (*Certificates, error) {
	c := &Certificates{settings: s, anonymous: Anonymous(s.Anonymous), authorities: make(map[string]config.ID)}
	var roots []*x509.Certificate
	for _, id := range s.CACertificates {
		ca, ok := env.Config.CACertificates.Get(id)
		if !ok {
			return nil, fmt.Errorf("BUG: ca_certificate %s passed validation", id)
		}
		roots = append(roots, ca.X509())
		c.authorities[string(ca.X509().Raw)] = id
	}
	var err error
	c.verifier, err = env.Peers.Verifier(peer.Options{
		Roots: roots, AllowPartialChain: s.AllowPartialChain, Revocation: revocationModes[s.RevocationCheckMode],
		Timeout: s.HTTPTimeout, CacheTTL: max(s.CertCacheTTL, 1), // 0 stands for another default
	})
	if err != nil {
		return nil, err
	}
	c.asked = &policy.ClientAuth{Mode: policy.Request, CAs: roots, SendCADN: s.SendCADN}
	return c, nil
}

// ClientAuth returns what handshakes ask the client.
func (c *Certificates) ClientAuth() *policy.ClientAuth { return c.asked }

// Settled removes what the client says it is, and reports whether another plugin
// has recognised it, so that this one has nothing to do.
func (c *Certificates) Settled(x *l7.Exchange) bool {
	Unclaim(x)
	return c.anonymous.Settled(x)
}

// Unsent answers a client that has shown no certificate.
func (c *Certificates) Unsent(x *l7.Exchange) l7.Verdict { return c.anonymous.Refuse(x, unsent) }

// Failed answers a client whose certificate is not accepted.
func (c *Certificates) Failed(x *l7.Exchange) l7.Verdict { return c.anonymous.Refuse(x, failed) }

// Verdict is what was found out of a chain. It is immutable.
type Verdict struct {
	Accepted bool
	// Verify is what logs tell of it: l4.VerifySuccess, or l4.VerifyFailed and a
	// reason.
	Verify string

	identity   *peer.Identity
	chain      []*x509.Certificate
	subjects   []string    // by which a consumer is looked for, in that order
	issuers    []config.ID // listed authorities of the path, the nearest first
	groups     []string
	san        string
	generation uint64
	until      time.Time
}

// refusalTime is how long a refusal is kept: long enough that nobody can make us
// verify again and again, and short enough not to be noticed once the cause is
// gone.
const refusalTime = time.Second

// OfConnection judges what the client has shown in its handshake. What was found
// is kept with the connection, until a list of what was revoked changes or
// cache_ttl is over.
func (c *Certificates) OfConnection(t *l4.TLS) *Verdict {
	if v, ok := t.Memo.Get(c).(*Verdict); ok && c.Holds(v) {
		return v
	}
	v := c.Judge(t.Chain)
	t.Memo.Put(c, v)
	return v
}

// Holds reports whether a verdict still counts.
func (c *Certificates) Holds(v *Verdict) bool {
	return v.generation == c.verifier.Generation() && time.Now().Before(v.until)
}

// Judge verifies a chain, which has at least one certificate. It may wait for
// servers that tell what was revoked, as long as http_timeout says for each
// certificate.
func (c *Certificates) Judge(chain []*x509.Certificate) *Verdict {
	now := time.Now()
	v := &Verdict{chain: chain, generation: c.verifier.Generation(), until: now.Add(c.settings.CacheTTL)}
	var err error
	if v.identity, err = c.verifier.Verify(context.Background(), chain); err != nil {
		v.Verify = l4.VerifyFailed + peer.Code(err, "not verified")
		if short := now.Add(refusalTime); short.Before(v.until) {
			v.until = short
		}
		return v
	}
	v.Accepted, v.Verify = true, l4.VerifySuccess
	if v.identity.Until.Before(v.until) {
		v.until = v.identity.Until
	}
	c.name(v)
	if !c.settings.SkipConsumerLookup {
		return v
	}
	group := v.identity.Names.CommonName
	if c.settings.AuthenticatedBy == "DN" {
		group = v.identity.SubjectDN
	}
	if group != "" {
		v.groups = []string{group}
	}
	v.san = sanList(&v.identity.Names)
	return v
}

// name fills in what a consumer is looked for by.
func (c *Certificates) name(v *Verdict) {
	v.subjects = subjects(&v.identity.Names)
	for _, cert := range v.identity.Chain[1:] {
		if id, ok := c.authorities[string(cert.Raw)]; ok {
			v.issuers = append(v.issuers, id)
		}
	}
}

// Recognise lets the exchange go on as the one whose certificate was accepted, or
// answers if that is nobody.
func (c *Certificates) Recognise(x *l7.Exchange, v *Verdict) l7.Verdict {
	if c.settings.SkipConsumerLookup {
		if x.Consumer != nil { // the anonymous one of a plugin before
			x.SetConsumer(nil)
			h := x.UpstreamHeader()
			for _, name := range []string{anonymousConsumer, consumerID, consumerCustomID, consumerUsername, credentialIdentifier} {
				h.Del(name)
			}
		}
		x.Credential = v.identity.SubjectDN
		if x.Credential == "" {
			x.Credential = v.identity.SHA256
		}
		x.Groups = v.groups
		h := x.UpstreamHeader()
		set(h, clientCertDN, v.identity.SubjectDN)
		set(h, clientCertSAN, v.san)
		if len(v.groups) > 0 {
			set(h, authenticatedGroups, v.groups[0])
		}
		x.AddCertified(l7.Certified{Kind: c.settings.Kind, LogName: c.settings.LogName, Chain: v.chain})
		return l7.Next
	}
	consumer, credential := c.find(x.Config(), v)
	switch {
	case consumer != nil:
	case c.settings.DefaultConsumer != "":
		var ok bool
		if consumer, ok = Consumer(x.Config(), c.settings.DefaultConsumer); !ok {
			return Missing(x, "default", c.settings.DefaultConsumer)
		}
		if credential = v.identity.SubjectDN; credential == "" {
			credential = v.identity.SHA256
		}
	default:
		return c.Failed(x)
	}
	Authenticate(x, consumer, credential)
	x.AddCertified(l7.Certified{Kind: c.settings.Kind, LogName: c.settings.LogName, Chain: v.chain, Consumer: consumer.ID})
	return l7.Next
}

// errNobodys is why a certificate lets nobody in that is good.
var errNobodys = errors.New("the certificate is nobody's any more")

// Recertify says whether what Recognise let in would be let in as the same one
// today; see l7.Certifier.
func (c *Certificates) Recertify(ctx context.Context, cfg *config.Config, claim *l7.Certified, wait bool) (l7.Recertified, error) {
	id, known, err := c.verifier.Known(claim.Chain)
	if !known && wait {
		known = true
		id, err = c.verifier.Verify(ctx, claim.Chain)
	}
	if !known || errors.Is(err, peer.ErrNotAsked) {
		return l7.Recertified{}, nil
	}
	r := l7.Recertified{Known: true}
	if err == nil {
		r.Until = id.Until
		r.Same = c.same(cfg, id, claim.Consumer)
		if r.Same {
			return r, nil
		}
		err = errNobodys
	}
	if c.anonymous != "" {
		err = nil // another plugin may have recognised the client
	}
	return r, err
}

// same reports whether a certificate is the consumer's, the zero value being
// nobody in particular.
func (c *Certificates) same(cfg *config.Config, id *peer.Identity, consumer config.ID) bool {
	if c.settings.SkipConsumerLookup {
		return consumer.IsZero()
	}
	v := &Verdict{identity: id}
	c.name(v)
	is, _ := c.find(cfg, v)
	if is == nil && c.settings.DefaultConsumer != "" {
		is, _ = Consumer(cfg, c.settings.DefaultConsumer)
	}
	return is != nil && is.ID == consumer
}

// find returns whose certificate it is and what says so: a credential for the
// name and an authority, one for the name, or the name itself.
func (c *Certificates) find(cfg *config.Config, v *Verdict) (*config.Consumer, string) {
	for _, ca := range append(slices.Clip(v.issuers), config.ID{}) {
		for _, name := range v.subjects {
			credential, owner, ok := c.settings.Credential(cfg, name, ca)
			if !ok {
				continue
			}
			if consumer, ok := cfg.Consumers.Get(owner); ok {
				return consumer, credential.String()
			}
		}
	}
	for _, name := range v.subjects {
		for _, by := range c.settings.ConsumerBy {
			look := cfg.Consumers.Lookup
			if by == "custom_id" {
				look = cfg.ConsumerByCustomID
			}
			if consumer, ok := look(name); ok {
				return consumer, name
			}
		}
	}
	return nil, ""
}

// subjects returns the names that a consumer is looked for by: the subject
// alternative names, and then the common name.
func subjects(n *peer.Names) []string {
	all := slices.Concat(n.DNS, n.Email, n.URI)
	for _, ip := range n.IP {
		all = append(all, ip.String())
	}
	if n.CommonName != "" {
		all = append(all, n.CommonName)
	}
	return all
}

// sanList returns the subject alternative names, with commas between. A name with
// a comma or a space is left out: it could look like several.
func sanList(n *peer.Names) string {
	m := *n
	m.CommonName = ""
	return strings.Join(slices.DeleteFunc(subjects(&m), func(s string) bool { return strings.ContainsAny(s, ", ") }), ", ")
}
