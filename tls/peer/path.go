package peer

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// maxCertificates bounds the certificates that a client shows.
	maxCertificates = 10
	// maxChainBytes bounds them all together.
	maxChainBytes = 64 << 10
	// maxPaths bounds the verified paths of one chain that are looked at.
	maxPaths = 4
	// minRSABits and maxRSABits bound RSA keys: a shorter one does not
	// authenticate anybody, a longer one costs too much to verify by.
	minRSABits, maxRSABits = 2048, 8192
)

// path is a verified path: the identity of its leaf, and when it holds.
type path struct {
	id     *Identity
	from   time.Time // the latest NotBefore of its certificates
	until  time.Time // the earliest NotAfter
	weight int
}

func (p *path) holds(now time.Time) bool { return !now.Before(p.from) && !now.After(p.until) }

// paths returns the paths from the leaf to a listed CA, at least one, or an
// *Error. Those of a chain that was verified before are taken from the cache,
// while all of them hold.
func (v *Verifier) paths(chain []*x509.Certificate, now time.Time) ([]*path, error) {
	if err := checkSizes(chain); err != nil {
		return nil, err
	}
	key := v.pathKey(chain)
	if known, ok := v.shared.paths.get(key); ok {
		if !slices.ContainsFunc(known, func(p *path) bool { return !p.holds(now) }) {
			return known, nil
		}
		v.shared.paths.remove(key)
	}
	if err := checkChain(chain); err != nil {
		return nil, err
	}
	id, err := identify(chain[0])
	if err != nil {
		return nil, err
	}
	found, err := v.build(chain, now)
	if err != nil {
		return nil, err
	}
	paths := make([]*path, 0, len(found))
	weight := 0
	for _, certs := range found {
		p := newPath(id, certs)
		paths = append(paths, p)
		weight += p.weight
	}
	v.shared.paths.put(key, paths, weight)
	return paths, nil
}

func (v *Verifier) pathKey(chain []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	h.Write(v.pool[:])
	for _, c := range chain {
		h.Write(c.Raw) // DER says its own length
	}
	var key [sha256.Size]byte
	h.Sum(key[:0])
	return key
}

func newPath(leaf *Identity, certs []*x509.Certificate) *path {
	id := *leaf
	id.Chain = certs
	p := &path{id: &id, from: certs[0].NotBefore, until: certs[0].NotAfter}
	for _, c := range certs {
		if c.NotBefore.After(p.from) {
			p.from = c.NotBefore
		}
		if c.NotAfter.Before(p.until) {
			p.until = c.NotAfter
		}
	}
	id.Until = p.until
	// Parsed, a certificate takes a few times what its encoding does. Those
	// of CAs are mostly shared, but need not be.
	for _, c := range certs {
		p.weight += parsedWeight * len(c.Raw)
	}
	return p
}

// parsedWeight is what a certificate takes in memory for each byte of its
// encoding.
const parsedWeight = 6

// checkSizes refuses what would cost too much to look at.
func checkSizes(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return refuse(NoCertificate, nil, nil)
	}
	if len(chain) > maxCertificates {
		return refuse(TooManyCertificates, chain[0], fmt.Errorf("%d are more than %d", len(chain), maxCertificates))
	}
	size := 0
	for _, c := range chain {
		size += len(c.Raw)
	}
	if size > maxChainBytes {
		return refuse(TooManyBytes, nil, fmt.Errorf("%d are more than %d", size, maxChainBytes))
	}
	return nil
}

// checkChain refuses certificates by their keys and names.
func checkChain(chain []*x509.Certificate) error {
	for _, c := range chain {
		if err := checkNames(c); err != nil {
			return refuse(BadName, nil, err)
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok {
			if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
				return refuse(WeakKey, c, fmt.Errorf("an RSA key of %d bits; it must have %d to %d", n, minRSABits, maxRSABits))
			}
		}
	}
	return nil
}

// build returns the paths by crypto/x509, which bounds the signatures it checks,
// and what it leaves out: depth, the leaf's key usage, the CN under constraints.
func (v *Verifier) build(chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	leaf := chain[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) == 0 {
		return nil, refuse(WrongUsage, leaf, errors.New("its key usage has no digital signature"))
	}
	middle := v.middle
	if len(chain) > 1 {
		middle = middle.Clone()
		for _, c := range chain[1:] {
			middle.AddCert(c)
		}
	}
	found, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: middle, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, v.explain(chain, now, err)
	}
	var why error
	found = slices.DeleteFunc(found, func(certs []*x509.Certificate) bool {
		err := v.allow(certs)
		if err != nil && why == nil {
			why = err
		}
		return err != nil
	})
	if len(found) == 0 {
		return nil, why
	}
	// The shortest first: it has the fewest certificates to ask about.
	slices.SortStableFunc(found, func(a, b []*x509.Certificate) int { return len(a) - len(b) })
	return found[:min(len(found), maxPaths)], nil
}

// allow judges a path that crypto/x509 has found.
func (v *Verifier) allow(certs []*x509.Certificate) error {
	if between := len(certs) - 2; between > max(0, v.opts.Depth) {
		return refuse(TooDeep, certs[0], fmt.Errorf("%d intermediates are more than %d", between, max(0, v.opts.Depth)))
	}
	if err := checkChain(certs); err != nil {
		return err // a listed CA's
	}
	return checkCommonName(certs)
}
