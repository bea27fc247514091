package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

// IdentityConfig says how TLS to a service is spoken.
type IdentityConfig struct {
	Verify      bool                // verify the upstream's certificate and name
	Depth       int                 // most intermediate certificates allowed; negative: no bound
	CAs         []*x509.Certificate // trusted when verifying; empty: the system's
	Certificate *tls.Certificate    // what we show when asked; may be nil
	Stream      bool                // for streams: no application protocol is offered
	HTTP2       bool                // HTTP/2 is offered, in place of HTTP/1.1, and insisted on
}

// Identity is how TLS to a service is spoken. Connections are shared only
// within an identity; two identities of the same configuration are the same.
type Identity struct {
	key  string
	base *tls.Config
}

// sessionsPerIdentity bounds the TLS sessions an identity keeps for resumption.
const sessionsPerIdentity = 64

// protoHTTP2 is HTTP/2's name in a TLS handshake (RFC 9113 section 3.1).
const protoHTTP2 = "h2"

var errNoHTTP2 = errors.New("the upstream did not agree to HTTP/2")

// NewIdentity compiles c.
func NewIdentity(c IdentityConfig) *Identity {
	h := sha256.New()
	fmt.Fprintf(h, "verify %v %d stream %v http2 %v\n", c.Verify, c.Depth, c.Stream, c.HTTP2)
	base := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: !c.Verify,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsPerIdentity),
	}
	switch {
	case c.HTTP2:
		base.NextProtos = []string{protoHTTP2}
	case !c.Stream:
		base.NextProtos = []string{"http/1.1"}
	}
	if len(c.CAs) > 0 {
		base.RootCAs = x509.NewCertPool()
		for _, ca := range c.CAs {
			base.RootCAs.AddCert(ca)
			fmt.Fprintf(h, "ca %d\n%s", len(ca.Raw), ca.Raw)
		}
	}
	if c.Certificate != nil {
		base.Certificates = []tls.Certificate{*c.Certificate}
		for _, der := range c.Certificate.Certificate {
			fmt.Fprintf(h, "own %d\n%s", len(der), der)
		}
	}
	if c.Verify && c.Depth >= 0 {
		base.VerifyConnection = func(st tls.ConnectionState) error { return checkDepth(st, c.Depth) }
	}
	return &Identity{key: hex.EncodeToString(h.Sum(nil)), base: base}
}

// config returns the TLS configuration for a server name.
func (i *Identity) config(serverName string) *tls.Config {
	c := i.base.Clone()
	c.ServerName = serverName
	return c
}

// checkDepth bounds the intermediate certificates between the leaf and its
// trust anchor, as OpenSSL's verify depth does.
func checkDepth(st tls.ConnectionState, depth int) error {
	if len(st.VerifiedChains) == 0 {
		return errors.New("no verified chain")
	}
	for _, chain := range st.VerifiedChains {
		if len(chain)-2 <= depth {
			return nil
		}
	}
	return fmt.Errorf("certificate chain longer than tls_verify_depth %d", depth)
}
