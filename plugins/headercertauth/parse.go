package headercertauth

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
)

const (
	// maxCertificates bounds the certificates in a field: a client's and those of
	// its issuers.
	maxCertificates = 10
	// maxField bounds a field with certificates, in bytes. That of the whole head is
	// mostly smaller (node.limits.head_bytes).
	maxField = 256 << 10
)

var (
	errMalformed = errors.New("malformed certificate")
	errTooMany   = errors.New("too many certificates")
)

// parse reads the certificates of a field, the client's first. What is not
// exactly that is refused.
func parse(value, format string) ([]*x509.Certificate, error) {
	if len(value) > maxField {
		return nil, errTooMany
	}
	if format == "url_encoded" {
		text, err := url.PathUnescape(value)
		if err != nil {
			return nil, errMalformed
		}
		return parsePEM(nil, []byte(text))
	}
	var chain []*x509.Certificate
	for part := range strings.SplitSeq(value, ",") {
		b, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(part, " \t"))
		if err != nil {
			return nil, errMalformed
		}
		if bytes.HasPrefix(b, []byte(pemStart)) {
			chain, err = parsePEM(chain, b)
		} else {
			chain, err = add(chain, b)
		}
		if err != nil {
			return nil, err
		}
	}
	return chain, nil
}

const pemStart = "-----BEGIN CERTIFICATE-----"

// parsePEM appends certificates in PEM form, with nothing else between them but
// white space.
func parsePEM(chain []*x509.Certificate, text []byte) ([]*x509.Certificate, error) {
	for {
		text = bytes.TrimLeft(text, " \t\r\n")
		if len(text) == 0 {
			break
		}
		if !bytes.HasPrefix(text, []byte(pemStart)) {
			return nil, errMalformed
		}
		block, rest := pem.Decode(text)
		// Decode passes over what it cannot read: then more is gone than one block.
		if block == nil || len(block.Headers) > 0 || bytes.Count(text[:len(text)-len(rest)], []byte(pemStart)) != 1 {
			return nil, errMalformed
		}
		var err error
		if chain, err = add(chain, block.Bytes); err != nil {
			return nil, err
		}
		text = rest
	}
	if len(chain) == 0 {
		return nil, errMalformed
	}
	return chain, nil
}

func add(chain []*x509.Certificate, der []byte) ([]*x509.Certificate, error) {
	if len(chain) == maxCertificates {
		return nil, errTooMany
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errMalformed
	}
	return append(chain, c), nil
}
