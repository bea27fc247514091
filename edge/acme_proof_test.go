package edge_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/store"
	"github.com/bulwark-edge/bulwark/store/file"
)

// TestIntegrationACMEClientAuth shows that an authority is not asked for a
// certificate where clients are.
func TestIntegrationACMEClientAuth(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	conf := strings.Replace(r.yaml(true, "domains: [web.test]", "challenges: [tls-alpn-01]"), "  acme:\n",
		fmt.Sprintf("  tls: {policies: [{name: closed, snis: ['*.test'], client_auth: {mode: require, ca_pem: %q}}]}\n  acme:\n", r.pebble.Root), 1)
	e := testkit.StartEdge(t, conf)
	ordered(t, e, 1)
}

// proving returns the storage of an edge that has to prove control over names by
// tls-alpn-01, as if it had just ordered them.
func proving(t *testing.T, names ...string) (storage string) {
	t.Helper()
	storage = filepath.Join(t.TempDir(), "acme")
	records, err := file.OpenRecords(storage)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		value, err := json.Marshal(acme.Challenge{
			Type: "tls-alpn-01", Token: "token", KeyAuthorization: "token.thumb", Identifier: acme.Identifier{Type: "dns", Value: name},
		})
		if err != nil {
			t.Fatal(err)
		}
		rec := store.Record{Key: "acme/challenges/tls/" + name, Value: value, Expires: time.Now().Add(time.Hour)}
		if _, err := records.Put(t.Context(), rec, 0); err != nil {
			t.Fatal(err)
		}
	}
	return storage
}

// TestACMEProofIsNoWayIn shows that a handshake by which an authority looks for a proof,
// in which nobody is asked for a certificate, leads to nothing: neither to HTTP nor to a
// stream, whether the name is shown in clear or encrypted.
func TestACMEProofIsNoWayIn(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	node := fmt.Sprintf(`
  acme: {storage: %s, terms_accepted: true, domains: [never.test], challenges: [tls-alpn-01], cas: [{directory: "http://127.0.0.1:1/dir"}]}
  tls:
    ech: {public_name: front.test}
    policies: [{name: strict, snis: [mail.test, web.test], client_auth: {mode: require, ca_pem: %q}}]
services:
- {name: shop, url: "http://127.0.0.1:1", routes: [{name: shop, paths: [/]}], plugins: [{name: request-termination, config: {status_code: 200, message: served}}]}
`, proving(t, "mail.test", "web.test"), pki.PEM(ca.Cert))
	stream := fmt.Sprintf("- {name: mail, host: 127.0.0.1, port: %s, protocol: tcp, routes: [{name: mail, protocols: [tls], snis: [mail.test]}]}\n", portOf(t, startSayer(t, "mail")))
	const https, both = `{name: https, address: "127.0.0.1:0", serve: https}`, `{name: https, address: "127.0.0.1:0", serve: https}, {name: tls, address: "127.0.0.1:0", serve: tls}`
	const proof = acmez.ACMETLS1Protocol
	for _, tt := range []struct{ name, listeners, more, listener, server string }{
		{"HTTP", https, "", "https", "web.test"},
		{"HTTP beside streams", both, stream, "https", "web.test"},
		{"a stream", both, stream, "tls", "mail.test"},
		{"a stream beside HTTP", both, stream, "https", "mail.test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, client := hiding(t, "node:\n  listeners: ["+tt.listeners+"]"+node+tt.more, "front.test", "mail.test", "web.test")
			for _, encrypted := range []bool{false, true} {
				for _, protocols := range [][]string{{proof}, {proof, "http/1.1"}, nil} {
					cfg := client(tt.server)
					if !encrypted {
						cfg.EncryptedClientHelloConfigList = nil
					}
					cfg.InsecureSkipVerify, cfg.NextProtos = true, protocols
					comesNowhere(t, e.At(tt.listener), cfg, len(protocols) == 1)
				}
			}
			// With its certificate a client comes to what is there.
			cfg := client(tt.server)
			cfg.InsecureSkipVerify, cfg.Certificates = true, []tls.Certificate{ca.Client("c").TLS()}
			c := tls.Client(dialAt(t, e.At(tt.listener)), cfg)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+tt.server+"\r\n\r\n")
			if _, err := io.ReadFull(c, make([]byte, len("mail"))); err != nil {
				t.Errorf("a client with a certificate: %v\n%s", err, e.Log)
			}
		})
	}
}

// comesNowhere sends a request without a certificate, and gets nothing but, where it
// shakes hands as an authority does, the proof.
func comesNowhere(t *testing.T, at netip.AddrPort, cfg *tls.Config, proves bool) {
	t.Helper()
	encrypted := cfg.EncryptedClientHelloConfigList != nil
	c := tls.Client(dialAt(t, at), cfg)
	defer c.Close()
	err := c.Handshake()
	state := c.ConnectionState()
	if proved := err == nil && state.NegotiatedProtocol == acmez.ACMETLS1Protocol; proved != proves {
		t.Fatalf("encrypted: %v, %q: got the protocol %q, %v", encrypted, cfg.NextProtos, state.NegotiatedProtocol, err)
	}
	if proves && state.ECHAccepted != encrypted {
		t.Errorf("encrypted: %v: the hello was read: %v", encrypted, state.ECHAccepted)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+cfg.ServerName+"\r\n\r\n") // it may be closed by now
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64)
	if n, err := c.Read(got); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("encrypted: %v, %q: a client without a certificate was served %q, %v", encrypted, cfg.NextProtos, got[:n], err)
	}
}
