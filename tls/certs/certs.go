// Package certs chooses the certificate for a handshake: by the server name the
// client asked for, and by what the client can verify.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// Entry is a certificate, in up to two key types, with the names it serves:
// exact, "*.suffix", "prefix.*" or "*".
type Entry struct {
	Names []string
	Pairs []tls.Certificate
}

// Source has certificates beside those of entries, such as ordered ones. It is
// asked in handshakes, by any number of them at once.
type Source interface {
	// GetCertificate is as in tls.Config. It returns nil if it has none for the
	// client's name; an error ends the handshake.
	GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// Join returns a source that asks several, one after the other; those that are
// nil are left out.
func Join(all ...Source) Source {
	var j joined
	for _, s := range all {
		if s != nil {
			j = append(j, s)
		}
	}
	return j
}

type joined []Source

func (j joined) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, s := range j {
		if c, err := s.GetCertificate(hello); c != nil || err != nil {
			return c, err
		}
	}
	return nil, nil
}

// Store finds certificates. It is immutable and safe for concurrent use.
type Store struct {
	exact, suffix, prefix map[string][]*tls.Certificate
	any                   []*tls.Certificate
	source                Source // nil: none
	fallback              []*tls.Certificate
}

// NewStore returns a store over entries, and over source, which may be nil, for
// names that only an entry of "*" has. fallback is what a client gets whose name
// nobody has, or who named none.
func NewStore(entries []Entry, source Source, fallback *tls.Certificate) *Store {
	s := &Store{
		source:   source,
		exact:    make(map[string][]*tls.Certificate),
		suffix:   make(map[string][]*tls.Certificate),
		prefix:   make(map[string][]*tls.Certificate),
		fallback: []*tls.Certificate{fallback},
	}
	for i := range entries {
		pairs := make([]*tls.Certificate, len(entries[i].Pairs))
		for j := range pairs {
			pairs[j] = &entries[i].Pairs[j]
		}
		for _, name := range entries[i].Names {
			s.add(strings.ToLower(name), pairs)
		}
	}
	return s
}

func (s *Store) add(name string, pairs []*tls.Certificate) {
	switch {
	case name == "*":
		s.any = pairs
	case strings.HasPrefix(name, "*."):
		s.suffix[name[2:]] = pairs
	case strings.HasSuffix(name, ".*"):
		s.prefix[name[:len(name)-2]] = pairs
	default:
		s.exact[name] = pairs
	}
}

// GetCertificate is a tls.Config's GetCertificate. A name is looked for exactly,
// then by its longest "*.suffix", its longest "prefix.*" (Kong's order), then
// the source is asked, and at last "*" or the fallback answers. Of two key types
// the first that the client supports is taken.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	pairs := s.find(name)
	if pairs == nil {
		if s.source != nil {
			if c, err := s.source.GetCertificate(hello); c != nil || err != nil {
				return c, err
			}
		}
		pairs = s.rest(name)
	}
	if len(pairs) == 1 {
		return pairs[0], nil // the handshake says by itself if it cannot be used
	}
	// The configuration has settled the name; what the certificate says of it
	// does not count.
	nameless := *hello
	nameless.ServerName = ""
	for _, p := range pairs {
		if nameless.SupportsCertificate(p) == nil {
			return p, nil
		}
	}
	return pairs[0], nil
}

func (s *Store) find(name string) []*tls.Certificate {
	if p := s.exact[name]; p != nil {
		return p
	}
	for rest := name; ; {
		_, tail, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		if p := s.suffix[tail]; p != nil {
			return p
		}
		rest = tail
	}
	for rest := name; ; {
		i := strings.LastIndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[:i]
		if p := s.prefix[rest]; p != nil {
			return p
		}
	}
	return nil
}

// rest is for names that stand in no pattern but "*".
func (s *Store) rest(name string) []*tls.Certificate {
	if s.any != nil && name != "" {
		return s.any
	}
	return s.fallback
}

// selfSignedLife is how long a self-made certificate is valid: longer than a
// process should run without an update.
const selfSignedLife = 397 * 24 * time.Hour

// SelfSigned makes a certificate for localhost that nobody else vouches for. It
// lets a listener without certificates come up.
func SelfSigned(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for localhost: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"Bulwark self-made"}},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for localhost: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate for localhost: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
