package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestProofsLetNobodyIn asks for the proof of a name whose clients are to show a
// certificate, while an authority may: the handshake asks for none, and so nothing
// may come of it. A hello that is encrypted asks only within.
func TestProofsLetNobodyIn(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	e, hidden := hiding(t, answering(fmt.Sprintf(`  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: tls, address: "127.0.0.1:0", serve: tls}
  acme: {storage: %s, terms_accepted: true, domains: [other.test], cas: [{directory: "http://127.0.0.1:1/dir"}]}
  tls:
    ech: {public_name: front.test}
    policies:
`, proving(t, "strict.test"))+strictPolicy(ca, ""), fmt.Sprintf("services: [{name: strict, url: 'tcp://%s', routes: [{name: here, protocols: [tls], snis: [strict.test]}]}]\n", startSayer(t, "strict"))), "front.test", "strict.test")
	bare := func(name string) *tls.Config { return &tls.Config{ServerName: name} }
	const proof = "acme-tls/1"
	for _, listener := range []string{"https", "tls"} {
		for _, tt := range []struct {
			name      string
			client    func(name string) *tls.Config
			protocols []string
			shakes    bool
		}{
			{"in clear", bare, []string{proof}, true},
			{"encrypted", hidden, []string{proof}, true},
			{"in clear, beside another protocol", bare, []string{proof, "http/1.1"}, false},
			{"encrypted, beside another protocol", hidden, []string{proof, "http/1.1"}, false},
			{"encrypted, without asking for it", hidden, nil, false},
		} {
			t.Run(tt.name+" at "+listener, func(t *testing.T) {
				cfg := tt.client("strict.test").Clone()
				cfg.NextProtos, cfg.InsecureSkipVerify, cfg.MaxVersion = tt.protocols, true, tls.VersionTLS13
				c := tls.Client(dialAt(t, e.At(listener)), cfg)
				err := c.Handshake()
				st := c.ConnectionState()
				if shaken := err == nil && st.NegotiatedProtocol == proof; shaken != tt.shakes {
					t.Fatalf("the handshake asked for the proof and came to %v, %+v; want %v", err, st.NegotiatedProtocol, tt.shakes)
				}
				if tt.shakes && len(cfg.EncryptedClientHelloConfigList) > 0 != st.ECHAccepted {
					t.Errorf("the hello was read: %v", st.ECHAccepted)
				}
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: strict.test\r\n\r\n")
				if got, _ := io.ReadAll(c); len(got) > 0 {
					t.Errorf("a client without a certificate was told %q", got)
				}
			})
		}
	}
	// With its certificate a client comes to both.
	with := hidden("strict.test")
	with.Certificates = []tls.Certificate{ca.Client("c").TLS()}
	c := tls.Client(dialAt(t, e.At("tls")), with)
	if _, err := io.ReadFull(c, make([]byte, len("strict"))); err != nil {
		t.Errorf("a client with a certificate: %v\n%s", err, e.Log)
	}
}
