package policy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestECH lets a client of crypto/tls encrypt its hello.
func TestECH(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	pair := ca.Client("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"front.test", "hidden.test"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}).TLS()
	keys := NewKeys()
	with := func(e *ECH) *Set {
		return newSet(t, func(o *Options) {
			o.ECH = e
			o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
		}, like("hidden", func(p *Policy) { p.SNIs = []string{"hidden.test"} }))
	}
	ours := NewECH(keys, "front.test", "", 24*time.Hour)
	s := with(ours)
	client := func(list []byte) *tls.Config {
		roots := x509.NewCertPool()
		roots.AddCert(ca.Cert)
		return &tls.Config{ServerName: "hidden.test", RootCAs: roots, EncryptedClientHelloConfigList: list}
	}
	r := shake(t, s, client(ours.ConfigList(time.Now()))).must(t)
	if !r.client.ECHAccepted || !r.server.ECHAccepted || r.of.ServerName != "hidden.test" || r.of.Policy != "hidden" {
		t.Errorf("accepted: %v and %v, for %q under %q", r.client.ECHAccepted, r.server.ECHAccepted, r.of.ServerName, r.of.Policy)
	}

	// Who has the key of another is told ours, for the next try.
	theirs := NewECH(NewKeys(), "front.test", "", 24*time.Hour)
	r = shake(t, s, client(theirs.ConfigList(time.Now())))
	rejected, ok := errors.AsType[*tls.ECHRejectionError](r.clientErr)
	if !ok || !bytes.Equal(rejected.RetryConfigList, ours.ConfigList(time.Now())) {
		t.Fatalf("the client saw %v", r.clientErr)
	}
	shake(t, s, client(rejected.RetryConfigList)).must(t)

	// Without ECH the same name is served in clear.
	if r = shake(t, s, client(nil)).must(t); r.server.ECHAccepted {
		t.Error("a hello in clear counts as encrypted")
	}
	// After a reload, and on a node with the same secret, the record is still good.
	shake(t, with(NewECH(keys, "front.test", "", 24*time.Hour)), client(ours.ConfigList(time.Now()))).must(t)
}

// TestECHRotation shows for how long a key is good.
func TestECHRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewECH(NewKeys(), "front.test", "", time.Hour)
		good := func(list []byte) bool {
			for _, k := range e.at(time.Now()).list {
				if bytes.Equal(k.Config, list[2:]) {
					return true
				}
			}
			return false
		}
		first := e.ConfigList(time.Now())
		if !bytes.Equal(first, e.ConfigList(time.Now())) {
			t.Error("two looks at once see two keys")
		}
		time.Sleep(time.Until(e.Until(time.Now())))
		second := e.ConfigList(time.Now())
		if bytes.Equal(first, second) || !good(first) || !good(second) {
			t.Error("a period on, the key is not another one beside the old one")
		}
		if offered := e.at(time.Now()).list; !offered[0].SendAsRetry || offered[1].SendAsRetry || offered[2].SendAsRetry {
			t.Error("another key than that of now is offered")
		}
		time.Sleep(time.Hour)
		if good(first) {
			t.Error("two periods on, the key is still good")
		}
		if bytes.Equal(first, NewECH(NewKeys(), "front.test", "", time.Hour).ConfigList(time.Now())) {
			t.Error("two processes have one key")
		}
	})
}
