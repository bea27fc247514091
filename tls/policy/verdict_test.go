package policy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/tls/peer"
)

// TestVerdictsEnd shows that a kept connection is judged anew when its verdict is
// over, and when a revocation list has changed since.
func TestVerdictsEnd(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	path := filepath.Join(t.TempDir(), "list.crl")
	write := func(revoked ...*x509.Certificate) {
		if err := os.WriteFile(path+".new", ca.CRL(revoked), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write()
	r := revocation(t)
	o := peer.Options{Roots: []*x509.Certificate{ca.Cert}, Revocation: peer.Strict, CRLs: []peer.CRL{{File: path}}}
	read := func() *peer.Verifier {
		v, err := r.Verifier(o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	auth := &ClientAuth{Mode: Require, CAs: o.Roots, Verifier: read()}
	s := newSet(t, nil, like("strict", func(p *Policy) { p.SNIs, p.ClientAuth = []string{"strict.test"}, auth }))
	pair := ca.Client("client")
	c := shake(t, s, &tls.Config{ServerName: "strict.test", Certificates: []tls.Certificate{pair.TLS()}}).must(t).of
	admit := func(when string, want Admission, why peer.Reason) {
		t.Helper()
		got, err := s.Admit(c, "strict.test")
		e, refused := errors.AsType[*peer.Error](err)
		if got != want || refused != (want == Ended) || refused && e.Reason != why {
			t.Errorf("%s the connection is %v (%v), want %v", when, got, err, want)
		}
	}
	first := c.verdict.Load()
	admit("at first", Admitted, 0)
	if c.verdict.Load() != first {
		t.Error("a verdict that holds was taken anew")
	}
	over := *first.id
	over.Until = time.Now().Add(-time.Second)
	stale := &verdict{key: first.key, generation: first.generation, id: &over}
	c.verdict.Store(stale)
	admit("when its verdict is over", Admitted, 0)
	if c.verdict.Load() == stale {
		t.Error("a verdict counts that is over")
	}
	write(pair.Cert)
	read() // as a reload reads the file; Run does it by and by
	admit("when its certificate was revoked", Ended, peer.Revoked)
}

// TestOnlyServerVerifies shows that a configuration that has not come by Server,
// and so verifies nobody, lets nobody in where a certificate is required.
func TestOnlyServerVerifies(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	auth := requiring(t, revocation(t), ca, nil)
	s := newSet(t, nil, like("strict", func(p *Policy) { p.SNIs, p.ClientAuth = []string{"strict.test"}, auth }))
	cfg, err := s.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "strict.test"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.VerifyConnection == nil {
		t.Fatal("nobody verifies")
	}
	if err := cfg.VerifyConnection(tls.ConnectionState{PeerCertificates: ca.Client("client").Chain()}); !errors.Is(err, errNoVerifier) {
		t.Errorf("a client is judged %v, want %v", err, errNoVerifier)
	}
}
