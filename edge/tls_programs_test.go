package edge_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// opensslClient lets openssl's client ask for / and returns what it prints.
func opensslClient(t *testing.T, at netip.AddrPort, name string, args ...string) string {
	t.Helper()
	all := []string{"s_client", "-connect", at.String(), "-ign_eof", "-nameopt", "oneline"} // as of version 3.2 names look otherwise
	if name != "" {
		all = append(all, "-servername", name)
	} else {
		all = append(all, "-noservername")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", append(all, args...)...)
	cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n")
	out, _ := cmd.CombinedOutput() // a failed handshake is an error, and what some are to come to
	return string(out)
}

// resumed reports whether openssl tells that a session was resumed.
func resumed(t *testing.T, printed string) bool {
	t.Helper()
	again, fresh := strings.Contains(printed, "\nReused, TLSv1."), strings.Contains(printed, "\nNew, TLSv1.")
	if again == fresh {
		t.Fatalf("openssl prints %s", printed)
	}
	return again
}

// TestIntegrationTLSPolicies holds what real clients come to against the
// policies.
func TestIntegrationTLSPolicies(t *testing.T) {
	e := testkit.StartEdge(t, answering(`  tls:
    policies:
    - {name: old, max_version: TLSv1.2, ciphers: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], curves: [P-384], alpn: [], snis: [old.test]}
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: new, address: "127.0.0.1:0", serve: https, tls: modern}
`, ""))
	alpn := []string{"-alpn", "http/1.1"}
	for _, tt := range []struct {
		name, listener, sni string
		args                []string
		want                []string
	}{
		{"the default", "https", "a.test", alpn, []string{"New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256", "Server Temp Key: X25519", "ALPN protocol: http/1.1", "HTTP/1.1 200 OK"}},
		{"HTTP/2", "https", "a.test", []string{"-alpn", "http/1.1,h2"}, []string{"ALPN protocol: h2"}},
		{"no server name", "https", "", nil, []string{"New, TLSv1.3"}},
		{"P-256", "https", "a.test", []string{"-groups", "P-256"}, []string{"Server Temp Key: ECDH, prime256v1", "HTTP/1.1 200 OK"}},
		{"P-521, which the default lacks", "https", "a.test", []string{"-groups", "P-521"}, []string{"alert handshake failure"}},
		{"TLS 1.2", "https", "a.test", []string{"-tls1_2"}, []string{"New, TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256", "HTTP/1.1 200 OK"}},
		{"TLS 1.2 with CBC", "https", "a.test", []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"}, []string{"alert handshake failure"}},
		{"TLS 1.1", "https", "a.test", []string{"-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"}, []string{"alert protocol version"}},
		{"a listener with modern", "new", "a.test", nil, []string{"New, TLSv1.3", "HTTP/1.1 200 OK"}},
		{"TLS 1.2 on a listener with modern", "new", "a.test", []string{"-tls1_2"}, []string{"alert protocol version"}},
		{"a name with a policy", "new", "old.test", alpn, []string{"New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384", "Server Temp Key: ECDH, secp384r1", "No ALPN negotiated", "HTTP/1.1 200 OK"}},
		{"no renegotiation", "https", "a.test", []string{"-tls1_2"}, []string{"Secure Renegotiation IS supported"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := opensslClient(t, e.At(tt.listener), tt.sni, tt.args...)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("openssl does not print %q:\n%s", want, got)
				}
			}
		})
	}
}

// TestIntegrationResumption lets openssl's client resume its sessions: over a
// reload that exchanges the certificate, and with another node.
func TestIntegrationResumption(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	yaml := func(secret, name string) string {
		cert, key := makeCertificate(t, name)
		return answering(fmt.Sprintf("  tls:\n    session_tickets: {secret: %q}\n    policies:\n%s", secret, strictPolicy(ca, "")),
			fmt.Sprintf("certificates: [{cert: %q, key: %q, snis: [a.test]}]\n", cert, key))
	}
	const shared, another = "a secret that several nodes have in common", "a secret that nobody else of them has"
	cert, key := certificateFiles(t, ca.Client("client"))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			one, two := testkit.StartEdge(t, yaml(shared, "first")), testkit.StartEdge(t, yaml(shared, "second"))
			dir := t.TempDir()
			session, strict := filepath.Join(dir, "session"), filepath.Join(dir, "strict")
			client := func(e *testkit.Edge, name, with string, args ...string) string {
				return opensslClient(t, e.At("https"), name, append([]string{version, with, session}, args...)...)
			}
			if resumed(t, client(one, "a.test", "-sess_out")) {
				t.Error("the first session is no new one")
			}
			if !resumed(t, client(one, "a.test", "-sess_in")) {
				t.Error("a session is not resumed")
			}
			if err := one.Use(yaml(shared, "third")); err != nil {
				t.Fatal(err)
			}
			if got := client(one, "a.test", "-sess_in"); !resumed(t, got) {
				t.Error("a session is not resumed after a reload")
			}
			if got := opensslClient(t, one.At("https"), "a.test", version); !strings.Contains(got, "CN = third") {
				t.Errorf("the certificate was not exchanged: %s", got)
			}
			if !resumed(t, client(two, "a.test", "-sess_in")) {
				t.Error("a node with the same secret does not resume a session")
			}
			if err := two.Use(yaml(another, "second")); err != nil {
				t.Fatal(err)
			}
			if resumed(t, client(two, "a.test", "-sess_in")) {
				t.Error("a node with another secret resumes a session")
			}
			// A ticket is worth nothing where something else is asked.
			if got := client(one, "strict.test", "-sess_in", "-cert", cert, "-key", key); resumed(t, got) || !strings.Contains(got, "HTTP/1.1 200 OK") {
				t.Errorf("a session without a certificate is resumed where one is required, or no new one begins:\n%s", got)
			}
			begun := opensslClient(t, one.At("https"), "strict.test", version, "-sess_out", strict, "-cert", cert, "-key", key)
			if resumed(t, begun) || !resumed(t, opensslClient(t, one.At("https"), "strict.test", version, "-sess_in", strict)) {
				t.Error("a session of a client with a certificate is not resumed")
			}
			if resumed(t, opensslClient(t, one.At("https"), "a.test", version, "-sess_in", strict)) {
				t.Error("a session of a client with a certificate is resumed where none is asked")
			}
		})
	}
}

// TestIntegrationRequire lets curl in by its certificate only.
func TestIntegrationRequire(t *testing.T) {
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	e := testkit.StartEdge(t, answering("  tls:\n    policies:\n"+strictPolicy(ca, ", send_ca_dn: true"), ""))
	to := fmt.Sprintf("https://strict.test:%d/", e.Port("https"))
	args := func(more ...string) []string {
		return append([]string{"-sSk", "--connect-to", "::127.0.0.1:", "-o", "/dev/null", "-w", "%{http_code}", to}, more...)
	}
	cert, key := certificateFiles(t, ca.Client("client"))
	says(t, "200", "curl", args("--cert", cert, "--key", key)...)
	says(t, "421", "curl", args("--cert", cert, "--key", key, "-H", "Host: a.test")...)
	if got, err := run(t, "curl", args()...); err == nil {
		t.Errorf("curl without a certificate prints %q", got)
	}
	cert, key = certificateFiles(t, other.Client("client"))
	if got, err := run(t, "curl", args("--cert", cert, "--key", key)...); err == nil {
		t.Errorf("curl with a certificate of another authority prints %q", got)
	}
	if got := opensslClient(t, e.At("https"), "strict.test"); !strings.Contains(got, "Acceptable client certificate CA names\nCN = CA\n") {
		t.Errorf("openssl is not told the authority: %s", got)
	}
	if got := opensslClient(t, e.At("https"), "a.test"); !strings.Contains(got, "No client certificate CA names sent") || !strings.Contains(got, "HTTP/1.1 200 OK") {
		t.Errorf("openssl is asked where nothing is: %s", got)
	}
}
