package peer

import (
	"crypto/x509"
	"errors"
	"strings"
)

// maxTrustDomain bounds a trust domain's name (SPIFFE-ID section 2.1).
const maxTrustDomain = 255

// spiffeID returns the id of an X.509-SVID: a leaf that is no CA, may not sign
// certificates or CRLs, may sign handshakes, and has one URI among its subject
// alternative names, which is a SPIFFE id with a path (X509-SVID sections 2 to
// 4). It is "" for every other certificate.
func spiffeID(leaf *x509.Certificate, n *Names) string {
	if len(n.URI) != 1 || leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 ||
		leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return ""
	}
	path, err := spiffePath(n.URI[0])
	if err != nil || path == "" {
		return ""
	}
	return n.URI[0]
}

var errSPIFFE = errors.New("not a SPIFFE id: want spiffe://trust-domain/path, of lower-case letters, digits, '.', '-' and '_', and in the path also capitals")

// spiffePath returns the path of a SPIFFE id, "" if it is a trust domain's own
// (SPIFFE-ID section 2). Nothing is normalised: percent signs, ports, users,
// queries, fragments, empty and dot segments and a slash at the end are errors.
func spiffePath(s string) (path string, err error) {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok || len(s) > maxSANBytes {
		return "", errSPIFFE
	}
	domain, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		domain, path = rest[:i], rest[i:]
	}
	if domain == "" || len(domain) > maxTrustDomain || !only(domain, isTrustDomainByte) {
		return "", errSPIFFE
	}
	if path == "" {
		return "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || !only(segment, isSegmentByte) {
			return "", errSPIFFE
		}
	}
	return path, nil
}

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isTrustDomainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

func isSegmentByte(c byte) bool { return isTrustDomainByte(c) || 'A' <= c && c <= 'Z' }
