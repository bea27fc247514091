package dns

import "strings"

// Bounds on names, RFC 1035 section 2.3.4.
const (
	maxName  = 253 // bytes, without the dot at the end
	maxLabel = 63
)

// canonical returns a name in lower case and with a dot at the end.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

// isDomain reports whether a canonical name can be asked for: labels of letters,
// digits, hyphens and underscores.
func isDomain(fqdn string) bool {
	name := strings.TrimSuffix(fqdn, ".")
	if name == "" || len(name) > maxName {
		return name == "" && fqdn == "."
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// candidates returns the canonical names that a name may be meant to be, in the
// order in which they are tried.
func (p *plan) candidates(name string) []string {
	asIs := canonical(name)
	if _, zoned := p.serversFor(asIs); zoned || strings.HasSuffix(name, ".") {
		return []string{asIs}
	}
	list := make([]string, 0, 1+len(p.search))
	first := strings.Count(name, ".") >= p.ndots
	if first {
		list = append(list, asIs)
	}
	for _, domain := range p.search {
		if fqdn := canonical(asIs + domain); isDomain(fqdn) {
			list = append(list, fqdn)
		}
	}
	if !first {
		list = append(list, asIs)
	}
	return list
}

// isBelow reports whether a canonical name is domain, written likewise, or lies
// below it.
func isBelow(fqdn, domain string) bool {
	return fqdn == domain || strings.HasSuffix(fqdn, "."+domain)
}
