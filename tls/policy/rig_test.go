package policy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/tls/peer"
)

// patience is far beyond what anything here takes.
const patience = 30 * time.Second

// server returns what shows every client a certificate for name.
func server(t *testing.T, name string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	t.Helper()
	pair := pki.SelfSigned(t, name).TLS()
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
}

// newSet returns a set of the policies that are always there, and of more.
func newSet(t *testing.T, change func(*Options), more ...*Policy) *Set {
	t.Helper()
	o := Options{
		Policies: append(Builtin(), more...), Default: "intermediate", Protocols: true,
		GetCertificate: server(t, "server.test"), Tickets: NewTickets(new(Keys), "", 12*time.Hour),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// like returns the intermediate policy with another name and changes.
func like(name string, change func(*Policy)) *Policy {
	p := *Builtin()[0]
	p.Name = name
	change(&p)
	return &p
}

// shaken is what a handshake has come to.
type shaken struct {
	client, server       tls.ConnectionState
	of                   *Client
	clientErr, serverErr error
}

// shake lets a client shake hands with a set, and speak a little, so that a
// ticket is taken.
func shake(t *testing.T, s *Set, cfg *tls.Config) shaken {
	t.Helper()
	if cfg.ClientSessionCache == nil {
		cfg = cfg.Clone()
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return shakeOver(t, s, cfg)
}

func shakeOver(t *testing.T, s *Set, cfg *tls.Config) (r shaken) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	at, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	_ = at.SetDeadline(time.Now().Add(patience))

	served := make(chan struct{})
	go func() {
		defer close(served)
		config, client := s.Server(patience)
		c := tls.Server(at, config)
		if r.serverErr = c.HandshakeContext(context.Background()); r.serverErr == nil {
			r.server = c.ConnectionState()
			s.Settle(client, &r.server)
			r.of = client
			_, r.serverErr = io.WriteString(c, "x")
		}
		_ = c.Close()
	}()
	cfg = cfg.Clone()
	if cfg.RootCAs == nil && len(cfg.EncryptedClientHelloConfigList) == 0 {
		cfg.InsecureSkipVerify = true
	}
	c := tls.Client(raw, cfg)
	if r.clientErr = c.Handshake(); r.clientErr == nil {
		r.client = c.ConnectionState()
		_, r.clientErr = io.ReadFull(c, make([]byte, 1))
	}
	_ = c.Close()
	<-served
	return r
}

// must fails the test if the handshake did not succeed.
func (r shaken) must(t *testing.T) shaken {
	t.Helper()
	if err := errors.Join(r.clientErr, r.serverErr); err != nil {
		t.Fatal(err)
	}
	return r
}

// requiring returns what lets in clients of an authority only.
func requiring(t *testing.T, r *peer.Revocation, ca *pki.CA, change func(*peer.Options)) *ClientAuth {
	t.Helper()
	o := peer.Options{Roots: []*x509.Certificate{ca.Cert}}
	if change != nil {
		change(&o)
	}
	v, err := r.Verifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return &ClientAuth{Mode: Require, CAs: o.Roots, Verifier: v}
}

// revocation returns what verifiers of a test share.
func revocation(t *testing.T) *peer.Revocation {
	t.Helper()
	r := peer.NewRevocation(peer.Settings{})
	t.Cleanup(r.Close)
	return r
}
