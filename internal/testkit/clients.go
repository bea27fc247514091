package testkit

import (
	"crypto/tls"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// clients holds certificates of clients, with their keys, and of authorities. They
// are for tests and hold until 2120, so that golden scripts can tell what is in
// them: joe, ann and nobody of the authority ca; below, with its chain, and alone,
// without it, of the authority intermediate below ca; and bad ones: stranger of the
// authority other, selfsigned, expired, early, and server, which is for servers.
//
//go:embed clients/*.pem
var clients embed.FS

// ClientPEM returns a certificate of clients, or several, in PEM form.
func ClientPEM(name string) (string, error) {
	b, err := clients.ReadFile(path.Join("clients", name+".pem"))
	if err != nil {
		return "", fmt.Errorf("no certificate %q: %w", name, err)
	}
	var out strings.Builder
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, block) // a Builder takes everything
		}
	}
	return out.String(), nil
}

// ClientCertificate returns what a tls.Config of a client shows by a name of
// clients, whatever authorities the server names.
func ClientCertificate(name string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		b, err := clients.ReadFile(path.Join("clients", name+".pem"))
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(b, b)
		return &pair, err
	}
}

// spelled is a certificate in a script: <joe:yaml> is a string of YAML, <joe:url>
// URL-encoded PEM, <joe:base64> DER in Base64.
var spelled = regexp.MustCompile(`<([a-z]+):(yaml|url|base64)>`)

// withCertificates writes certificates where a script names them.
func withCertificates(text string) (string, error) {
	var failed error
	text = spelled.ReplaceAllStringFunc(text, func(word string) string {
		parts := spelled.FindStringSubmatch(word)
		s, err := SpellClient(parts[1], parts[2])
		if err != nil {
			failed = err
		}
		return s
	})
	return text, failed
}

// withoutCertificates writes names in place of URL-encoded certificates.
func withoutCertificates(text string) string {
	if !strings.Contains(text, "BEGIN%20CERTIFICATE") {
		return text
	}
	entries, err := clients.ReadDir("clients")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".pem")
		if s, err := SpellClient(name, "url"); err == nil {
			text = strings.ReplaceAll(text, s, "<"+name+":url>")
		}
	}
	return text
}

// SpellClient returns a certificate of clients in a form of spelled.
func SpellClient(name, how string) (string, error) {
	text, err := ClientPEM(name)
	if err != nil {
		return "", err
	}
	switch how {
	case "yaml":
		return strconv.Quote(text), nil
	case "url":
		return strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), nil
	}
	block, _ := pem.Decode([]byte(text))
	return base64.StdEncoding.EncodeToString(block.Bytes), nil
}
