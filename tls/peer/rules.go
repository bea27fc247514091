package peer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Rules say which identities are allowed. It is immutable.
type Rules struct {
	sans    []sanRule
	issuers []string
	ids     []pattern
}

// RuleSet is how rules are configured. Each list that is not empty must hold a
// match. In patterns "*" stands for any characters but a separator and "**" for
// any at all.
type RuleSet struct {
	// SANs match subject alternative names: "dns:", "email:", "uri:" or "ip:"
	// and a pattern. Separators are "." in DNS names, "@" in email addresses
	// and "/" in URIs. DNS names are compared in lower case. Of IP addresses
	// an address or a network is given.
	SANs []string
	// Issuers are distinguished names, to the letter as Identity.IssuerDN has
	// them, of any CA of the verified path.
	Issuers []string
	// SPIFFE are patterns of SPIFFE ids, with "/" as the separator. The trust
	// domain has no asterisk.
	SPIFFE []string
}

type sanRule struct {
	kind string
	glob pattern
	net  netip.Prefix
}

// NewRules returns the rules of a set, or an error if one could never match.
func NewRules(s RuleSet) (*Rules, error) {
	r := &Rules{issuers: s.Issuers}
	for _, text := range s.SANs {
		rule, err := newSANRule(text)
		if err != nil {
			return nil, err
		}
		r.sans = append(r.sans, rule)
	}
	for _, dn := range s.Issuers {
		if !strings.Contains(dn, "=") {
			return nil, fmt.Errorf("%q is no distinguished name, as in \"CN=Clients CA,O=Example\"", dn)
		}
	}
	for _, text := range s.SPIFFE {
		if err := checkSPIFFEPattern(text); err != nil {
			return nil, err
		}
		r.ids = append(r.ids, pattern{text, '/'})
	}
	return r, nil
}

func newSANRule(text string) (sanRule, error) {
	kind, value, _ := strings.Cut(text, ":")
	rule := sanRule{kind: kind}
	if value == "" {
		return rule, fmt.Errorf("the rule %q has no value: want \"dns:\", \"email:\", \"uri:\" or \"ip:\" and a pattern", text)
	}
	switch kind {
	case "dns":
		rule.glob = pattern{strings.ToLower(value), '.'}
	case "email":
		rule.glob = pattern{value, '@'}
	case "uri":
		rule.glob = pattern{value, '/'}
	case "ip":
		var err error
		if addr, e := netip.ParseAddr(value); e == nil {
			rule.net = netip.PrefixFrom(addr, addr.BitLen())
		} else if rule.net, err = netip.ParsePrefix(value); err != nil {
			return rule, fmt.Errorf("the rule %q has neither an address nor a network", text)
		}
	default:
		return rule, fmt.Errorf("the rule %q is of no known kind: want \"dns:\", \"email:\", \"uri:\" or \"ip:\"", text)
	}
	return rule, nil
}

func checkSPIFFEPattern(text string) error {
	rest, ok := strings.CutPrefix(text, "spiffe://")
	domain, path, slash := strings.Cut(rest, "/")
	if !ok || !slash || path == "" || strings.Contains(domain, "*") {
		return fmt.Errorf("the pattern %q of SPIFFE ids is not of the form spiffe://trust-domain/path", text)
	}
	// What an asterisk stands for is never empty segments or dots.
	if _, err := spiffePath(strings.ReplaceAll(text, "*", "x")); err != nil {
		return errors.Join(fmt.Errorf("the pattern %q could match no SPIFFE id", text), err)
	}
	return nil
}

// Allows reports whether id matches one rule of each kind that there is. Rules
// without any allow everybody.
func (r *Rules) Allows(id *Identity) bool {
	return (len(r.sans) == 0 || r.allowsSAN(&id.Names)) &&
		(len(r.issuers) == 0 || r.allowsIssuer(id)) &&
		(len(r.ids) == 0 || id.SPIFFE != "" && anyMatch(r.ids, id.SPIFFE))
}

func anyMatch(list []pattern, s string) bool {
	for _, p := range list {
		if p.match(s) {
			return true
		}
	}
	return false
}

func (r *Rules) allowsSAN(n *Names) bool {
	for i := range r.sans {
		if r.sans[i].matches(n) {
			return true
		}
	}
	return false
}

func (s *sanRule) matches(n *Names) bool {
	switch s.kind {
	case "dns":
		for _, name := range n.DNS {
			if s.glob.match(strings.ToLower(name)) {
				return true
			}
		}
	case "email":
		return anyName(s.glob, n.Email)
	case "uri":
		return anyName(s.glob, n.URI)
	case "ip":
		for _, addr := range n.IP {
			if s.net.Contains(addr) {
				return true
			}
		}
	}
	return false
}

func anyName(p pattern, names []string) bool {
	for _, name := range names {
		if p.match(name) {
			return true
		}
	}
	return false
}

func (r *Rules) allowsIssuer(id *Identity) bool {
	for _, c := range id.Chain[min(1, len(id.Chain)):] {
		dn, err := nameText(c.RawSubject)
		if err != nil {
			continue
		}
		for _, want := range r.issuers {
			if want == dn {
				return true
			}
		}
	}
	return false
}

// pattern is a text in which "*" stands for any bytes but the separator and "**"
// for any.
type pattern struct {
	text      string
	separator byte
}

// match takes time in the product of both lengths at most: it goes back to the
// last "*" and, if that cannot help, to the last "**".
func (p pattern) match(s string) bool {
	type mark struct{ at, from int } // in the pattern after the asterisks, in s
	one, any := mark{-1, 0}, mark{-1, 0}
	i, j := 0, 0
	for {
		switch {
		case strings.HasPrefix(p.text[i:], "**"):
			i += 2
			any, one = mark{i, j}, mark{-1, 0}
		case i < len(p.text) && p.text[i] == '*':
			i++
			one = mark{i, j}
		case i < len(p.text) && j < len(s) && p.text[i] == s[j]:
			i, j = i+1, j+1
		case i == len(p.text) && j == len(s):
			return true
		case one.at >= 0 && one.from < len(s) && s[one.from] != p.separator:
			one.from++
			i, j = one.at, one.from
		case any.at >= 0 && any.from < len(s):
			any.from++
			one = mark{-1, 0}
			i, j = any.at, any.from
		default:
			return false
		}
	}
}
