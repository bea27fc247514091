package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// Sources of certificates, as they are told.
const (
	SourceEntity     = "certificates" // the collection of entities
	SourceACME       = "acme"         // ordered
	SourceLocal      = "local"        // an Authority
	SourceSelfSigned = "self_signed"  // what is shown where nobody has one
)

// Teller is Describe, or Brief where its texts are not wanted.
type Teller func(c *tls.Certificate, source, id string, names []string) telemetry.CertificateStatus

// Brief tells when a certificate ends, and whose it is, for which nothing is
// computed. Its Leaf must be set; names are the server names that it is used for.
func Brief(c *tls.Certificate, source, id string, names []string) telemetry.CertificateStatus {
	return telemetry.CertificateStatus{Source: source, ID: id, Names: names, NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter}
}

// Describe tells besides what the certificate says of itself. The private key is
// not looked at.
func Describe(c *tls.Certificate, source, id string, names []string) telemetry.CertificateStatus {
	sum := sha256.Sum256(c.Leaf.Raw)
	var chain strings.Builder
	for _, der := range c.Certificate {
		// A builder takes everything.
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	s := Brief(c, source, id, names)
	s.Subject, s.Issuer = c.Leaf.Subject.String(), c.Leaf.Issuer.String()
	s.Key, s.Serial, s.SHA256 = keyName(c.Leaf), c.Leaf.SerialNumber.Text(16), hex.EncodeToString(sum[:])
	s.PEM = chain.String()
	return s
}

func keyName(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}

// Describe tells by tell, which is Describe or Brief, of the certificates that the
// authority has made and keeps.
func (a *Authority) Describe(tell Teller) []telemetry.CertificateStatus {
	a.mu.Lock()
	leaves := make(map[string]*leaf, len(a.leaves))
	for name, l := range a.leaves {
		leaves[name] = l
	}
	a.mu.Unlock()
	var all []telemetry.CertificateStatus
	for name, l := range leaves {
		l.once.Do(func() { l.cert, l.err = a.sign(name, a.now()) }) // one that is being made is waited for
		if l.err == nil {
			all = append(all, tell(l.cert, SourceLocal, "", []string{name}))
		}
	}
	return all
}
