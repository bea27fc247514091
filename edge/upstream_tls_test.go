package edge_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestUpstreamTLS holds what services say of TLS against one upstream, by requests
// and by streams: whether and how far it is verified, which name it is asked for,
// and which certificate it is shown. What one service says never counts for another,
// though all of them have the same address and keep their connections.
func TestUpstreamTLS(t *testing.T) {
	root, other := pki.NewCA(t, "Root"), pki.NewCA(t, "Other")
	server := root.Intermediate("Middle").Client("upstream", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if shown := r.TLS.PeerCertificates; len(shown) > 0 {
			name = shown[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s asks for %s", name, r.TLS.ServerName)
	}))
	upstream.TLS = &tls.Config{Certificates: []tls.Certificate{server.TLS()}, ClientAuth: tls.RequestClientCert}
	upstream.StartTLS()
	defer upstream.Close()
	port := upstream.Listener.Addr().(*net.TCPAddr).Port

	const rootID, otherID = "0855b320-0dd2-547d-891d-000000000001", "0855b320-0dd2-547d-891d-000000000002"
	const one, two = "0855b320-0dd2-547d-891d-000000000011", "0855b320-0dd2-547d-891d-000000000012"
	verified := func(ca string, more string) string {
		return "tls_verify: true, ca_certificates: [" + ca + "]" + more
	}
	const asNobody = "nobody asks for localhost"
	tests := []struct{ name, fields, want string }{
		{"not verified", "tls_verify: false", asNobody},
		{"verified", verified(rootID, ""), asNobody},
		{"verified by another authority", verified(otherID, ""), ""},
		{"no intermediate allowed", verified(rootID, ", tls_verify_depth: 0"), ""},
		{"one intermediate allowed", verified(rootID, ", tls_verify_depth: 1"), asNobody},
		{"one certificate", "tls_verify: false, client_certificate: {id: " + one + "}", "one asks for localhost"},
		{"another certificate", "tls_verify: false, client_certificate: {id: " + two + "}", "two asks for localhost"},
		{"a certificate, verified", verified(rootID, ", client_certificate: {id: "+one+"}"), "one asks for localhost"},
	}
	var listeners, services strings.Builder
	for i, tt := range tests {
		at := testkit.LastingAddr(t)
		fmt.Fprintf(&listeners, "  - {name: tcp%d, address: %q, serve: tcp}\n", i, at)
		fmt.Fprintf(&services, "- {name: web%d, url: \"https://localhost:%d\", retries: 0, %s, routes: [{name: web%d, hosts: [h%d.test]}]}\n", i, port, tt.fields, i, i)
		fmt.Fprintf(&services, "- {name: tcp%d, host: localhost, port: %d, protocol: tls, retries: 0, %s, routes: [{name: tcp%d, protocols: [tcp], destinations: [{port: %s}]}]}\n", i, port, tt.fields, i, portOf(t, at))
	}
	pair := func(id, name string) string {
		p := root.Client(name)
		cert, key := p.CertPEM(), p.KeyPEM(t)
		return fmt.Sprintf("- {id: %s, cert: %q, key: %q}\n", id, cert, key)
	}
	e := testkit.StartEdge(t, fmt.Sprintf("node:\n  listeners:\n  - {name: http, address: \"127.0.0.1:0\", serve: http}\n%s"+
		"ca_certificates:\n- {id: %s, cert: %q}\n- {id: %s, cert: %q}\ncertificates:\n%s%sservices:\n%s",
		listeners.String(), rootID, pki.PEM(root.Cert), otherID, pki.PEM(other.Cert), pair(one, "one"), pair(two, "two"), services.String()))
	for round := range 2 { // the second one finds connections that are kept
		for i, tt := range tests {
			for _, listener := range []string{"http", fmt.Sprintf("tcp%d", i)} {
				got := askPlainly(t, e.At(listener).String(), fmt.Sprintf("h%d.test", i))
				if got != tt.want {
					t.Errorf("round %d, %s by %s: got %q, want %q", round, tt.name, listener, got, tt.want)
				}
			}
		}
	}
}

// askPlainly returns the content of an answer of 200, and "" of any other or if there
// is none.
func askPlainly(t *testing.T, at, host string) string {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatal(err)
		}
		return ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}
