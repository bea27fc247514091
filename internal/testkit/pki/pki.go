// Package pki makes certificate authorities for tests: certificates good and bad,
// revocation lists, and servers that hand them out, among them a real
// `openssl ocsp`.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pair is a certificate with its key and with those that lead to its root, the
// root left out: what a client shows.
type Pair struct {
	Cert   *x509.Certificate
	Key    crypto.Signer
	Middle []*x509.Certificate // the issuer's, and its issuer's
}

// CA is a pair that issues others. What it is asked for is made at once, and
// fails the test if it cannot be.
type CA struct {
	Pair
	t    testing.TB
	root bool
}

// Change alters a certificate before it is signed.
type Change func(*x509.Certificate)

// NewCA returns a self-signed CA whose common name is name.
func NewCA(t testing.TB, name string, changes ...Change) *CA {
	t.Helper()
	ca := &CA{t: t, root: true}
	template := caTemplate(name)
	for _, change := range changes {
		change(template)
	}
	ca.Key = NewKey(t)
	ca.Cert = Sign(t, template, template, ca.Key.Public(), ca.Key)
	return ca
}

// Intermediate returns a CA that ca has issued.
func (ca *CA) Intermediate(name string, changes ...Change) *CA {
	ca.t.Helper()
	below := &CA{t: ca.t}
	below.Pair = ca.issue(caTemplate(name), NewKey(ca.t), changes)
	return below
}

// Cross returns the certificate that ca issues for another CA's name and key.
func (ca *CA) Cross(other *CA, changes ...Change) *x509.Certificate {
	ca.t.Helper()
	template := caTemplate(other.Cert.Subject.CommonName)
	template.RawSubject = other.Cert.RawSubject
	return ca.issue(template, other.Key, changes).Cert
}

// Client returns a certificate for authenticating a client, with name as its
// common name.
func (ca *CA) Client(name string, changes ...Change) Pair {
	ca.t.Helper()
	return ca.issue(clientTemplate(name), NewKey(ca.t), changes)
}

func (ca *CA) issue(template *x509.Certificate, key crypto.Signer, changes []Change) Pair {
	ca.t.Helper()
	for _, change := range changes {
		change(template)
	}
	p := Pair{Cert: Sign(ca.t, template, ca.Cert, key.Public(), ca.Key), Key: key}
	if !ca.root {
		p.Middle = append([]*x509.Certificate{ca.Cert}, ca.Middle...)
	}
	return p
}

// SelfSigned returns a client's certificate that vouches for itself.
func SelfSigned(t testing.TB, name string, changes ...Change) Pair {
	t.Helper()
	template, key := clientTemplate(name), NewKey(t)
	for _, change := range changes {
		change(template)
	}
	return Pair{Cert: Sign(t, template, template, key.Public(), key), Key: key}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

func clientTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic("BUG: no random bytes: " + err.Error())
	}
	return n.Add(n, big.NewInt(1))
}

// NewKey returns a P-256 key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Sign makes a certificate of a template.
func Sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Chain returns what the client shows, leaf first.
func (p Pair) Chain() []*x509.Certificate {
	return append([]*x509.Certificate{p.Cert}, p.Middle...)
}

// TLS returns the pair for a tls.Config.
func (p Pair) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: p.Key, Leaf: p.Cert}
	for _, one := range p.Chain() {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	return c
}

// CertPEM returns the chain that the client shows.
func (p Pair) CertPEM() []byte {
	var b bytes.Buffer
	for _, c := range p.Chain() {
		b.Write(PEM(c))
	}
	return b.Bytes()
}

// KeyPEM returns the key.
func (p Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write writes the chain and the key to files of the test, for real clients.
func (p Pair) Write(t testing.TB) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, p.CertPEM())
	write(t, key, p.KeyPEM(t))
	return cert, key
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// PEM returns one certificate.
func PEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
