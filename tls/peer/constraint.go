package peer

import (
	"crypto/x509"
	"fmt"
	"strings"
)

// checkCommonName holds the leaf's common name to the DNS name constraints of the
// path, where it looks like a host and there is no DNS name beside it. The rules
// of RFC 5280 section 4.2.1.10 do not cover common names, which consumers may be
// found by; OpenSSL closes the gap in the same way.
func checkCommonName(certs []*x509.Certificate) error {
	leaf := certs[0]
	if len(leaf.DNSNames) > 0 {
		return nil
	}
	cn, err := commonName(leaf.RawSubject)
	if err != nil {
		return refuse(BadName, nil, err)
	}
	host := strings.ToLower(cn)
	if !looksLikeHost(host) {
		return nil
	}
	for _, ca := range certs[1:] {
		if len(ca.PermittedDNSDomains) > 0 && !withinAny(host, ca.PermittedDNSDomains) || withinAny(host, ca.ExcludedDNSDomains) {
			return refuse(NameNotAllowed, leaf, fmt.Errorf("%q does not allow its common name", told(ca.RawSubject)))
		}
	}
	return nil
}

// looksLikeHost reports whether s is a host name of two labels or more.
func looksLikeHost(s string) bool {
	if !strings.Contains(s, ".") {
		return false
	}
	return only(s, func(c byte) bool {
		return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '*'
	})
}

func withinAny(host string, domains []string) bool {
	for _, d := range domains {
		d = strings.TrimPrefix(strings.ToLower(d), ".")
		if d == "" || host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}
