package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// pair makes a self-signed pair whose common name tells it apart.
func pair(t *testing.T, name string, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		// The names of a certificate do not decide: what is configured does.
		DNSNames: []string{"unrelated.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// asked returns the common name of what a client gets that asks for a name.
func asked(t *testing.T, s *Store, cfg *tls.Config) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		_ = tls.Server(server, &tls.Config{GetCertificate: s.GetCertificate}).Handshake()
	}()
	cfg.InsecureSkipVerify = true
	c := tls.Client(client, cfg)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestGetCertificateByName(t *testing.T) {
	key := ecKey(t)
	fallback := pair(t, "fallback", key)
	entry := func(name string, names ...string) Entry {
		return Entry{Names: names, Pairs: []tls.Certificate{pair(t, name, key)}}
	}
	named := NewStore([]Entry{
		entry("exact", "Shop.Example.test", "second.test"),
		entry("suffix", "*.example.test"),
		entry("longer suffix", "*.eu.example.test"),
		entry("prefix", "mail.*"),
		entry("longer prefix", "mail.example.*"),
		entry("no names"),
	}, nil, &fallback)
	withAny := NewStore([]Entry{entry("any", "*"), entry("exact", "shop.example.test")}, nil, &fallback)
	tests := []struct {
		name  string
		store *Store
		ask   string
		want  string
	}{
		{"exact", named, "shop.example.test", "exact"},
		{"exact, in capitals", named, "SHOP.example.TEST", "exact"},
		{"a second name", named, "second.test", "exact"},
		{"suffix", named, "blog.example.test", "suffix"},
		{"suffix, two labels deep", named, "a.blog.example.test", "suffix"},
		{"the longest suffix", named, "a.eu.example.test", "longer suffix"},
		{"the suffix itself is none of its names", named, "example.test", "fallback"},
		{"prefix", named, "mail.other.test", "prefix"},
		{"the longest prefix", named, "mail.example.org", "longer prefix"},
		{"suffix before prefix", named, "mail.example.test", "suffix"},
		{"unknown", named, "nobody.invalid", "fallback"},
		{"no name", named, "", "fallback"},
		{"any", withAny, "nobody.invalid", "any"},
		{"exact before any", withAny, "shop.example.test", "exact"},
		{"no name is not any name", withAny, "", "fallback"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := asked(t, tt.store, &tls.Config{ServerName: tt.ask}); got != tt.want {
				t.Errorf("%q got the certificate %q, want %q", tt.ask, got, tt.want)
			}
		})
	}
}

// ordered is a source with one certificate.
type ordered struct {
	name string
	pair tls.Certificate
}

var errOrdering = errors.New("ordering went wrong")

func (o *ordered) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch hello.ServerName {
	case o.name:
		return &o.pair, nil
	case "wrong.test":
		return nil, errOrdering
	}
	return nil, nil
}

// TestSource shows that a source stands behind all entries but "*".
func TestSource(t *testing.T) {
	key := ecKey(t)
	fallback := pair(t, "fallback", key)
	entry := func(name string, names ...string) Entry {
		return Entry{Names: names, Pairs: []tls.Certificate{pair(t, name, key)}}
	}
	for _, tt := range []struct{ name, source, ask, want string }{
		{"exact goes first", "shop.test", "shop.test", "exact"},
		{"a pattern goes first", "a.eu.test", "a.eu.test", "suffix"},
		{"before any", "other.test", "other.test", "ordered"},
		{"none of its names", "other.test", "nobody.test", "any"},
		{"no name", "other.test", "", "fallback"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStore([]Entry{entry("exact", "shop.test"), entry("suffix", "*.eu.test"), entry("any", "*")},
				&ordered{tt.source, pair(t, "ordered", key)}, &fallback)
			if got := asked(t, s, &tls.Config{ServerName: tt.ask}); got != tt.want {
				t.Errorf("%q got %q, want %q", tt.ask, got, tt.want)
			}
			if _, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: "wrong.test"}); !errors.Is(err, errOrdering) {
				t.Errorf("got the error %v, want that of the source", err)
			}
		})
	}
}

// TestGetCertificateByKeyType shows that of two key types the first that the
// client can verify is taken.
func TestGetCertificateByKeyType(t *testing.T) {
	fallback := pair(t, "fallback", ecKey(t))
	s := NewStore([]Entry{{
		Names: []string{"shop.test"},
		Pairs: []tls.Certificate{pair(t, "ecdsa", ecKey(t)), pair(t, "rsa", rsaKey(t))},
	}}, nil, &fallback)
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	ecdsaOnly := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	for _, tt := range []struct {
		name   string
		client *tls.Config
		want   string
	}{
		{"TLS 1.3", &tls.Config{}, "ecdsa"},
		{"TLS 1.2 with ECDSA", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: ecdsaOnly}, "ecdsa"},
		{"TLS 1.2 with RSA only", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: rsaOnly}, "rsa"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.ServerName = "shop.test"
			if got := asked(t, s, tt.client); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGetCertificateUnusable(t *testing.T) {
	fallback := pair(t, "fallback", ecKey(t))
	s := NewStore(nil, nil, &fallback)
	c, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: "shop.test"}) // supports nothing
	if err != nil || c != &fallback {
		t.Errorf("%v, %v, want the fallback, so that the handshake itself says what is wrong", c, err)
	}
}

func TestSelfSigned(t *testing.T) {
	now := time.Now()
	c, err := SelfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := c.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if err := c.Leaf.VerifyHostname("shop.test"); err == nil {
		t.Error("the certificate is good for a name that is not ours")
	}
	if c.Leaf.NotBefore.After(now) || c.Leaf.NotAfter.Before(now.Add(selfSignedLife-time.Minute)) {
		t.Errorf("valid from %v to %v", c.Leaf.NotBefore, c.Leaf.NotAfter)
	}
	other, err := SelfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Leaf.SerialNumber.Cmp(other.Leaf.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
}
