package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  crypto.Signer
		want string
	}{
		{ecKey(t), "ECDSA P-256"},
		{p384, "ECDSA P-384"},
		{rsaKey(t), "RSA 2048"},
		{ed, "Ed25519"},
	} {
		c := pair(t, "shop", tt.key)
		d := Describe(&c, SourceEntity, "id", []string{"shop.test"})
		if d.Key != tt.want || d.Subject != "CN=shop" || d.Issuer != "CN=shop" || d.Serial != "1" || d.NotAfter != c.Leaf.NotAfter {
			t.Errorf("%s: described as %+v", tt.want, d)
		}
		block, rest := pem.Decode([]byte(d.PEM))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 || strings.Contains(d.PEM, "PRIVATE") {
			t.Errorf("%s: PEM %q", tt.want, d.PEM)
		}
		if raw, err := hex.DecodeString(d.SHA256); err != nil || len(raw) != 32 {
			t.Errorf("%s: digest %q", tt.want, d.SHA256)
		}
	}
}

// source is one of fixed certificates.
type source map[string]*tls.Certificate

func (s source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s[hello.ServerName], nil
}

func TestJoin(t *testing.T) {
	one, two := new(tls.Certificate), new(tls.Certificate)
	j := Join(nil, source{"a": one}, source{"a": two, "b": two})
	for name, want := range map[string]*tls.Certificate{"a": one, "b": two, "c": nil} {
		if got, err := j.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); got != want || err != nil {
			t.Errorf("%s: %p, %v", name, got, err)
		}
	}
}

// BenchmarkChoose10k chooses among 10,000 certificates, each time another.
func BenchmarkChoose10k(b *testing.B) {
	const count = 10_000
	entries := make([]Entry, count)
	hellos := make([]*tls.ClientHelloInfo, count)
	for i := range entries {
		name := "host-" + strings.Repeat("x", i%7) + hex.EncodeToString([]byte{byte(i >> 8), byte(i)}) + ".example.com"
		if i%3 == 0 {
			entries[i].Names = []string{"*." + name}
			name = "www." + name
		} else {
			entries[i].Names = []string{name}
		}
		entries[i].Pairs = make([]tls.Certificate, 1)
		hellos[i] = &tls.ClientHelloInfo{ServerName: name}
	}
	s := NewStore(entries, nil, new(tls.Certificate))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if c, err := s.GetCertificate(hellos[i*7919%count]); c == s.fallback[0] || err != nil {
			b.Fatal("no certificate", err)
		}
	}
}
