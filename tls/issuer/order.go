package issuer

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/store"
)

// order is what is asked of one authority.
type order struct {
	name     string
	terms    *Terms
	records  store.Records
	proofs   *proofs
	replaces *held // nil: it is the first
}

// from orders a certificate. It notes in s how long the authority wants to be
// left alone.
func (o *order) from(ctx context.Context, s *session) (*held, error) {
	a, err := account(ctx, o.records, s, o.terms.Email)
	if err != nil {
		return nil, err
	}
	s.named()
	h, err := o.obtain(ctx, s, a)
	var problem acme.Problem
	if errors.As(err, &problem) && problem.Type == acme.ProblemTypeAccountDoesNotExist {
		// The authority has forgotten us; the next try makes another account.
		if rerr := remove(ctx, o.records, accountKey(s, o.terms.Email)); rerr != nil {
			return nil, rerr
		}
		if a, err = account(ctx, o.records, s, o.terms.Email); err != nil {
			return nil, err
		}
		h, err = o.obtain(ctx, s, a)
	}
	return h, err
}

func (o *order) obtain(ctx context.Context, s *session, a acme.Account) (*held, error) {
	key, err := o.terms.Key.make()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, o.template(), key)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	params, err := acmez.OrderParametersFromCSR(a, csr)
	if err != nil {
		return nil, err
	}
	params.Profile = o.terms.Profile
	if o.terms.ARI && s.ari != "" && o.replaces != nil && o.replaces.Directory == s.Directory {
		if _, err := acme.ARIUniqueIdentifier(o.replaces.leaf); err == nil {
			params.Replaces = o.replaces.leaf
		}
	}
	client := &acmez.Client{Client: s.client, ChallengeSolvers: o.solvers()}
	chains, err := client.ObtainCertificate(ctx, params)
	if err != nil {
		return nil, err
	}
	if len(chains) == 0 {
		return nil, fmt.Errorf("%w: there is none", errBadChain)
	}
	st := stored{Directory: s.Directory, Ordered: time.Now().UTC()}
	if st.Key, err = encodeKey(key); err != nil {
		return nil, err
	}
	return o.choose(st, chains, s.Chain)
}

// template is what the request says.
func (o *order) template() *x509.CertificateRequest {
	t := new(x509.CertificateRequest)
	ip := net.ParseIP(o.name)
	if ip == nil {
		t.DNSNames = []string{o.name}
		return t
	}
	t.IPAddresses = []net.IP{ip}
	if o.terms.CommonName && ip.To4() != nil {
		t.Subject = pkix.Name{CommonName: o.name}
	}
	return t
}

// choose takes the chain that has a preferred issuer, or the first one.
func (o *order) choose(st stored, chains []acme.Certificate, preferred string) (*held, error) {
	var first *held
	for _, c := range chains {
		st.Chain = string(c.ChainPEM)
		h, err := st.parse(o.name)
		if err != nil {
			return nil, err
		}
		if now := time.Now(); !now.Before(h.leaf.NotAfter) {
			return nil, fmt.Errorf("%w: it ended at %v", errBadChain, h.leaf.NotAfter)
		}
		if preferred == "" || h.issuedBy(preferred) {
			return h, nil
		}
		if first == nil {
			first = h
		}
	}
	return first, nil
}

// issuedBy reports whether a certificate of the chain comes from an issuer.
func (h *held) issuedBy(name string) bool {
	for _, der := range h.pair.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil && c.Issuer.CommonName == name {
			return true
		}
	}
	return false
}

// solvers returns what proves control over the name.
func (o *order) solvers() map[string]acmez.Solver {
	all := make(map[string]acmez.Solver)
	for _, c := range o.terms.challenges(o.name) {
		switch c {
		case HTTP01:
			all[string(c)] = &proof{o.proofs, o.records, proveHTTP}
		case TLSALPN01:
			all[string(c)] = &proof{o.proofs, o.records, proveTLS}
		case DNS01:
			all[string(c)] = &dnsProof{dns: o.terms.DNS}
		}
	}
	return all
}
