package tlsmetadataheaders

import (
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/auth"
	"github.com/bulwark-edge/bulwark/tls/peer"
)

var _ l7.RequestHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "tls-metadata-headers", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// fieldCount is how many fields there are: certificate, serial number, issuer,
// subject and fingerprint.
const fieldCount = 5

// Plugin is an instance.
type Plugin struct {
	inject bool
	names  []string // of the fields
}

// metadata is what is told of a certificate; nil: nothing can be.
type metadata *[fieldCount]string

// New returns an instance.
func New(cfg Config, _ plugins.Env) (any, error) {
	return &Plugin{cfg.InjectClientCertDetails, []string{
		cfg.ClientCertHeaderName, cfg.ClientSerialHeaderName, cfg.ClientCertIssuerDNHeaderName,
		cfg.ClientCertSubjectDNHeaderName, cfg.ClientCertFingerprintHeaderName,
	}}, nil
}

// Request sets the fields.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	auth.Forget(x, p.names)
	t := x.Conn.TLS
	if !p.inject || t == nil || len(t.Chain) == 0 {
		return l7.Next
	}
	m, known := t.Memo.Get(p).(metadata)
	if !known {
		m = describe(t.Chain[0])
		t.Memo.Put(p, m)
	}
	if m == nil {
		return l7.Next
	}
	h := x.UpstreamHeader()
	for i, name := range p.names {
		h.Set(name, m[i])
	}
	return l7.Next
}

// describe returns what the fields tell of a certificate.
func describe(c *x509.Certificate) metadata {
	id, err := peer.Unverified(c)
	if err != nil {
		return nil
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	return &[fieldCount]string{escape(text), id.Serial, id.IssuerDN, id.SubjectDN, id.SHA1}
}

// escape writes all but unreserved characters (RFC 3986 section 2.3) as %XX, as
// nginx does in $ssl_client_escaped_cert.
func escape(text []byte) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(text) + len(text)/4)
	for _, c := range text {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
