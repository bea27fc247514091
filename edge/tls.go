package edge

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// policies makes the sets by which handshakes go on the listeners of a snapshot.
type policies struct {
	options policy.Options
	byName  string // of the policy of listeners that name none
	made    map[policyUse]*policy.Set
}

// policyUse is what makes the sets of two listeners differ.
type policyUse struct {
	policy    string
	protocols bool
}

// compilePolicies compiles the policies of the configuration.
func (c *compiler) compilePolicies() error {
	var errs []error
	for i := range c.cfg.Node.TLS.Policies {
		e := &c.cfg.Node.TLS.Policies[i]
		auth, err := c.clientAuth(&e.ClientAuth)
		if err != nil {
			errs = append(errs, fmt.Errorf("compiling TLS policy %q: %w", e.Name, err))
			continue
		}
		c.policies = append(c.policies, policy.Compile(e, auth))
	}
	return errors.Join(errs...)
}

func (c *compiler) buildPolicies() (*policies, error) {
	node := &c.cfg.Node.TLS
	p := &policies{byName: node.Default, made: make(map[policyUse]*policy.Set)}
	p.options.Policies = append(policy.Builtin(), c.policies...)
	store, err := c.certificates()
	if err != nil {
		return nil, err
	}
	p.options.GetCertificate = store.GetCertificate
	if stapler := c.env.Stapler; node.Stapling {
		p.options.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := store.GetCertificate(hello)
			if err != nil {
				return nil, err
			}
			return stapler.Staple(cert), nil
		}
	}
	p.options.ClientAuth = c.asked()
	if c.snap.orders() {
		p.options.Challenge = c.env.challenge
	}
	if t := &node.Tickets; t.Enabled {
		p.options.TicketBytes = int(c.cfg.Node.Limits.HelloBytes) / 2 // the rest is for what else is in a hello
		p.options.Tickets = policy.NewTickets(c.env.Keys, t.Secret.Reveal(), t.Rotate.Std())
	}
	if e := &node.ECH; e.PublicName != "" {
		p.options.ECH = policy.NewECH(c.env.Keys, e.PublicName, e.Secret.Reveal(), e.Rotate.Std())
	}
	c.snap.ech = p.options.ECH
	return p, nil
}

// set returns what handshakes on a listener go by. With protocols one is chosen
// for what is spoken within; streams have what is not ours to choose.
func (p *policies) set(l *config.Listener, protocols bool) (*policy.Set, error) {
	use := policyUse{l.TLS, protocols}
	if use.policy == "" {
		use.policy = p.byName
	}
	if s := p.made[use]; s != nil {
		return s, nil
	}
	o := p.options
	o.Default, o.Protocols = use.policy, protocols
	s, err := policy.New(o)
	if err != nil {
		return nil, err
	}
	p.made[use] = s
	return s, nil
}

// clientAuth compiles what a policy asks of clients.
func (c *compiler) clientAuth(e *config.ClientAuth) (*policy.ClientAuth, error) {
	a := &policy.ClientAuth{SendCADN: e.SendCADN}
	switch e.Mode {
	case config.ClientAuthRequest:
		a.Mode = policy.Request
	case config.ClientAuthRequire:
		a.Mode = policy.Require
	default:
		return nil, nil
	}
	a.CAs = append(a.CAs, e.CAs()...)
	for _, id := range e.CACertificates {
		if ca, ok := c.cfg.CACertificates.Get(id); ok {
			a.CAs = append(a.CAs, ca.X509())
		}
	}
	if a.Mode != policy.Require {
		return a, nil
	}
	var err error
	a.Rules, err = peer.NewRules(peer.RuleSet{SANs: e.AllowSANs, Issuers: e.AllowIssuers, SPIFFE: e.AllowSPIFFE})
	if err != nil {
		return nil, err
	}
	if a.Verifier, err = c.env.Peers.Verifier(verification(e, a.CAs)); err != nil {
		return nil, err
	}
	// The terms are whatever decides who is let in, but for the authorities.
	terms := *e
	terms.CACertificates, terms.CAPEM = nil, ""
	text, err := json.Marshal(&terms)
	if err != nil {
		return nil, fmt.Errorf("writing down the terms: %w", err)
	}
	a.Terms = string(text)
	return a, nil
}

// verification returns how a policy that requires a certificate verifies it.
func verification(e *config.ClientAuth, cas []*x509.Certificate) peer.Options {
	o := peer.Options{
		Roots:             cas,
		AllowPartialChain: e.AllowPartialChain,
		Timeout:           e.RevocationTimeout.Std(),
		CacheTTL:          e.OCSPTTL.Std(),
		Nonce:             e.OCSPNonce,
	}
	if e.Depth != nil {
		if o.Depth = *e.Depth; o.Depth == 0 {
			o.Depth = -1 // none, where 0 stands for any
		}
	}
	switch e.Revocation {
	case config.RevocationStrict:
		o.Revocation = peer.Strict
	case config.RevocationIgnoreError:
		o.Revocation = peer.IgnoreCAError
	}
	for _, path := range e.CRLFiles {
		o.CRLs = append(o.CRLs, peer.CRL{File: path})
	}
	if e.CRLPEM != "" {
		o.CRLs = append(o.CRLs, peer.CRL{Inline: []byte(e.CRLPEM)})
	}
	return o
}

// certificates returns what chooses certificates.
func (c *compiler) certificates() (*certs.Store, error) {
	names := certificateNames(c.cfg)
	var entries []certs.Entry
	for _, e := range c.cfg.Certificates.All() {
		entries = append(entries, certs.Entry{Names: names[e.ID], Pairs: e.Pairs()})
	}
	var err error
	if c.snap.local, err = c.localCA(); err != nil {
		return nil, err
	}
	source := certs.Join(c.ordered())
	if c.snap.local != nil {
		source = certs.Join(c.ordered(), c.snap.local)
	}
	return certs.NewStore(entries, source, c.env.DefaultCert), nil
}

// localCA returns the authority of this machine, or nil if none is wanted. That
// of the snapshot before goes on, with what it has made, if it is the same one.
func (c *compiler) localCA() (*certs.Authority, error) {
	wanted := &c.cfg.Node.TLS.LocalCA
	if len(wanted.Names) == 0 || c.env.checking {
		return nil, nil
	}
	if c.prev != nil && c.prev.local != nil && reflect.DeepEqual(*wanted, c.prev.Config.Node.TLS.LocalCA) {
		return c.prev.local, nil
	}
	return certs.OpenAuthority(wanted.Directory, wanted.Names)
}
