package issuer

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Challenge is a way to prove control over a name, as ACME calls it.
type Challenge string

// The challenges of RFC 8555 sections 8.3 and 8.4, and of RFC 8737.
const (
	HTTP01    Challenge = "http-01"
	DNS01     Challenge = "dns-01"
	TLSALPN01 Challenge = "tls-alpn-01"
)

// Terms say how names get certificates. They do not change once they are used.
type Terms struct {
	Names      []string // domains in lower case, "*." and a domain, IP addresses; each gets a certificate of its own
	Demand     *Demand  // names that get one when a client asks for them; nil: none
	Email      string   // for the authority to write to; may be empty
	CAs        []CA     // in the order they are tried
	Challenges []Challenge
	DNS        *DNS // for DNS01
	Key        KeyType
	Profile    string        // of the authority; empty: its default
	Window     float64       // the part of a certificate's life, at its end, in which it is renewed
	Before     time.Duration // how long before its end it is renewed at the latest; 0: by Window alone
	ARI        bool          // whether the authority is asked when to renew (RFC 9773)
	CommonName bool          // whether an IPv4 address also stands as the common name
	Timeout    time.Duration // of one order
	Backoff    time.Duration // the pause after a first failure; further ones double it
	Steady     bool          // further failures do not double it
}

// CA is an authority.
type CA struct {
	Directory string // URL
	EABKeyID  string // external account binding; empty: none
	EABKey    string // its key, in base64url; a secret
	Roots     string // in PEM, that the authority's own TLS must come from; empty: those of the system
	Chain     string // common name of an issuer that the chain shall have, if there are several
}

// Demand is which names are ordered in handshakes.
type Demand struct {
	Allow     []string // names and "*." with a suffix; any depth
	Ask       string   // URL that answers 200 to ?domain=NAME if it may be ordered; empty: Allow alone decides
	PerMinute int      // names that are asked for or ordered for the first time
	Most      int      // names that are held at once
}

// DNS is how DNS01 records are set.
type DNS struct {
	Update    *Update          // RFC 2136; nil: Hook is used
	Hook      []string         // a program and its arguments
	Resolvers []netip.AddrPort // that must show the record before it is told of; none: the updated server
	Delay     time.Duration    // to wait before they are asked
	Timeout   time.Duration    // until they must show it
	Follow    []netip.AddrPort // are asked where a CNAME at the record's name leads to; none: nobody is
	Alias     string           // domain under which records are set in place of the name's own, to which a CNAME leads
}

// Update is a server that takes dynamic updates.
type Update struct {
	Server    string // host:port
	Zone      string // without a dot at its end; empty: found by asking the server
	KeyName   string // TSIG (RFC 8945); empty: not signed
	Key       string // in base64; a secret
	Algorithm string // such as hmac-sha256
	TTL       uint32 // of the record, in seconds
}

// wants reports whether a name may be ordered because a client asks for it, as
// far as the list says.
func (d *Demand) wants(name string) bool {
	if d == nil || !orderable(name) {
		return false
	}
	if len(d.Allow) == 0 {
		return d.Ask != ""
	}
	return slices.ContainsFunc(d.Allow, func(pattern string) bool {
		suffix, wild := strings.CutPrefix(pattern, "*")
		return pattern == name || wild && strings.HasSuffix(name, suffix) && len(name) > len(suffix)
	})
}

// orderable reports whether a name is one that a client may have ordered: a
// domain of at least two labels, in lower case.
func orderable(name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && strings.Contains(name, ".") && wellFormed(name)
}

// wellFormed reports whether a server name is written as a domain in lower case.
func wellFormed(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// challenges returns those that can prove control over name.
func (t *Terms) challenges(name string) []Challenge {
	_, notIP := netip.ParseAddr(name)
	return slices.DeleteFunc(slices.Clone(t.Challenges), func(c Challenge) bool {
		switch {
		case strings.HasPrefix(name, "*."):
			return c != DNS01
		case notIP == nil:
			return c == DNS01
		}
		return c == DNS01 && t.DNS == nil
	})
}

// renewAt returns when a certificate that was ordered at some time is renewed if its
// authority does not say. One that was old when it came is not due at once, since
// the next might be as old; zero: it is not known when it was ordered.
func (t *Terms) renewAt(leaf *x509.Certificate, ordered time.Time) time.Time {
	life := leaf.NotAfter.Sub(latest(leaf.NotBefore, ordered))
	at := leaf.NotAfter.Add(-time.Duration(float64(life) * t.Window))
	if t.Before > 0 {
		at = leaf.NotAfter.Add(-min(t.Before, life/2))
	}
	return latest(at, ordered.Add(min(t.Backoff, life/2)))
}

// renewBy returns when a certificate is renewed at the latest, whatever its
// authority says.
func (t *Terms) renewBy(leaf *x509.Certificate, ordered time.Time) time.Time {
	life := leaf.NotAfter.Sub(latest(leaf.NotBefore, ordered))
	return latest(t.renewAt(leaf, ordered), leaf.NotAfter.Add(-life/latePart))
}

// latePart is the part of a certificate's life, at its end, in which it is renewed
// even if its authority says later.
const latePart = 10

// pause returns how long an authority is left alone after so many failures in a
// row.
func (t *Terms) pause(failures int) time.Duration {
	p := t.Backoff
	if t.Steady {
		return p
	}
	for range failures - 1 {
		if p >= longestPause {
			break
		}
		p *= 2
	}
	return min(p, max(longestPause, t.Backoff))
}
