package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// stapled is what openssl's client prints of an answer of OCSP that was shown with
// the certificate, and unstapled where there was none.
const (
	stapled   = "OCSP Response Status: successful"
	unstapled = "OCSP response: no response sent"
)

// TestIntegrationStapling shows certificates with the answers of a real responder,
// to a real client: only those that call them good. One that is revoked, unknown,
// or whose responder is not there or not to be asked, is shown without an answer,
// and serves all the same.
func TestIntegrationStapling(t *testing.T) {
	t.Parallel()
	root := pki.NewCA(t, "Root")
	responder, dead := root.StartOCSP(t), root.StartOCSP(t)
	dead.Stop()
	var certificates strings.Builder
	names := []string{"good", "revoked", "unknown", "dead", "silent", "alone"}
	for _, name := range names {
		at := []pki.Change{pki.OCSPAt(responder.URL)}
		switch name {
		case "dead":
			at = []pki.Change{pki.OCSPAt(dead.URL)}
		case "silent":
			at = nil // it names no responder
		}
		pair := root.Client(name, at...)
		switch name {
		case "good", "alone":
			responder.Good(pair.Cert)
		case "revoked":
			responder.Revoke(pair.Cert)
		}
		chain := string(pair.CertPEM()) + string(pki.PEM(root.Cert))
		if name == "alone" {
			chain = string(pair.CertPEM()) // without its issuer there is nobody to believe
		}
		fmt.Fprintf(&certificates, "- {cert: %q, key: %q, snis: [%s.test]}\n", chain, pair.KeyPEM(t), name)
	}
	yaml := func(node string) string {
		return answering(node, "certificates:\n"+certificates.String())
	}
	const on = "  tls: {ocsp_stapling: true}\n"
	e := testkit.StartEdge(t, yaml(on+"  revocation_servers: [127.0.0.0/8]\n"))
	ask := func(name string, args ...string) string {
		t.Helper()
		got := opensslClient(t, e.At("https"), name+".test", append(args, "-status")...)
		if !strings.Contains(got, letIn) || !strings.Contains(got, "CN = "+name) {
			t.Errorf("%s: openssl prints\n%s", name, got)
		}
		return got
	}
	want := func(when string, with ...string) {
		t.Helper()
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			for _, name := range names {
				mark := unstapled
				for _, w := range with {
					if w == name {
						mark = stapled
					}
				}
				got := ask(name, version)
				if !strings.Contains(got, mark) {
					t.Errorf("%s, %s %s: openssl does not print %q:\n%s", when, name, version, mark, got)
				}
				if mark == stapled && !strings.Contains(got, "Cert Status: good") {
					t.Errorf("%s, %s %s: openssl does not print that it is good:\n%s", when, name, version, got)
				}
			}
		}
	}
	eventually(t, "an answer", func() bool { return strings.Contains(ask("good"), stapled) })
	eventually(t, "the other certificates to be asked about", func() bool {
		return strings.Count(e.Log.String(), "no OCSP answer to staple") == 3
	})
	want("at first", "good")
	for _, why := range []string{"CN=revoked", "revoked", "CN=unknown", "unknown_certificate", "CN=dead", "unreachable"} {
		if !strings.Contains(e.Log.String(), why) {
			t.Errorf("the log does not tell of %q:\n%s", why, e.Log)
		}
	}

	// What is known outlives the responder, and a reload.
	responder.Stop()
	want("without the responder", "good")
	if err := e.Use(yaml(on + "  revocation_servers: [127.0.0.0/8]\n  drain: 7s\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer after a reload", func() bool { return strings.Contains(ask("good"), stapled) })
	want("after a reload", "good")

	// Nothing is shown if that is not wanted.
	if err := e.Use(yaml("")); err != nil {
		t.Fatal(err)
	}
	want("when it is off")
}

// TestIntegrationStaplingAsksNobodyHere shows that a certificate that names a
// responder on this machine makes nobody ask it, unless it is listed.
func TestIntegrationStaplingAsksNobodyHere(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	pair := root.Client("shop", pki.OCSPAt(server.Handle("/ocsp", root.Answers(t, nil, nil))))
	e := testkit.StartEdge(t, answering("  tls: {ocsp_stapling: true}\n", fmt.Sprintf("certificates: [{cert: %q, key: %q, snis: [shop.test]}]\n", string(pair.CertPEM())+string(pki.PEM(root.Cert)), pair.KeyPEM(t))))
	eventually(t, "a line of the log", func() bool { return strings.Contains(e.Log.String(), "address_refused") })
	if got := opensslClient(t, e.At("https"), "shop.test", "-status"); !strings.Contains(got, unstapled) || !strings.Contains(got, letIn) {
		t.Errorf("openssl prints\n%s", got)
	}
	if n := server.Hits("/ocsp"); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}
