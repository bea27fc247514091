package policy

import (
	"crypto/tls"
	"fmt"

	"github.com/bulwark-edge/bulwark/config"
)

// Policy says which TLS is spoken. It is immutable.
type Policy struct {
	Name         string // "" of none that has one
	MinVersion   uint16
	MaxVersion   uint16
	CipherSuites []uint16 // of TLS 1.2
	Curves       []tls.CurveID
	Protocols    []string    // ALPN, the best first; none: it is let be
	SNIs         []string    // server names for which it counts in place of a listener's; see Patterns
	ClientAuth   *ClientAuth // what it asks of every client; nil: nothing
}

// intermediate are the suites of TLS 1.2 that Mozilla's guidelines (version 5.7)
// name for intermediate compatibility, but for those with finite-field
// Diffie-Hellman, which crypto/tls does not have.
var intermediate = [...]uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Compile makes a policy of a valid one of the configuration. auth is what its
// client_auth asks for.
func Compile(p *config.TLSPolicy, auth *ClientAuth) *Policy {
	c := &Policy{
		Name:       p.Name,
		MinVersion: version(p.MinVersion),
		MaxVersion: version(p.MaxVersion),
		Protocols:  p.ALPN,
		SNIs:       p.SNIs,
		ClientAuth: auth,
	}
	for _, name := range p.Ciphers {
		c.CipherSuites = append(c.CipherSuites, suite(name))
	}
	if len(c.CipherSuites) == 0 {
		c.CipherSuites = intermediate[:]
	}
	for _, name := range p.Curves {
		c.Curves = append(c.Curves, curve(name))
	}
	return c
}

// Builtin returns the policies that are always there.
func Builtin() []*Policy {
	var all []*Policy
	for _, p := range config.BuiltinTLSPolicies() {
		all = append(all, Compile(&p, nil))
	}
	return all
}

func version(name string) uint16 {
	if name == config.TLSv13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func suite(name string) uint16 {
	for _, s := range tls.CipherSuites() {
		if s.Name == name {
			return s.ID
		}
	}
	panic("BUG: cipher suite " + name + " passed validation")
}

// curve returns the key exchange that the configuration names.
func curve(name string) tls.CurveID {
	switch name {
	case "P-256":
		return tls.CurveP256
	case "P-384":
		return tls.CurveP384
	case "P-521":
		return tls.CurveP521
	}
	for _, id := range [...]tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519} {
		if id.String() == name {
			return id
		}
	}
	panic(fmt.Sprintf("BUG: key exchange %s passed validation", name))
}

// config returns the policy in the terms of crypto/tls, with nothing that
// depends on who is asked for.
func (p *Policy) config() *tls.Config {
	return &tls.Config{
		MinVersion:       p.MinVersion,
		MaxVersion:       p.MaxVersion,
		CipherSuites:     p.CipherSuites,
		CurvePreferences: p.Curves,
	}
}
