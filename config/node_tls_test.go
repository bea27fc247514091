package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTLSPolicies(t *testing.T) {
	n, err := loadNode(t, `
  tls:
    policies:
    - {name: strict, base: modern, snis: ["*.Shop.example", api.*, "*", admin.example.]}
    - {name: late, max_version: TLSv1.2}
    - {name: new, min_version: TLSv1.3}
    default: strict
    ech: {public_name: Front.Example}
  listeners:
  - {name: a, address: ":0", serve: https}
  - {name: b, address: ":0", serve: https, tls: modern}
  - {name: c, address: ":0", serve: tls, tls: late}
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range n.TLS.Policies {
		got = append(got, p.Name+" "+p.MinVersion+" "+p.MaxVersion+" "+strings.Join(p.SNIs, ","))
	}
	want := []string{"strict TLSv1.3 TLSv1.3 *.shop.example,api.*,*,admin.example", "late TLSv1.2 TLSv1.2 ", "new TLSv1.3 TLSv1.3 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if n.TLS.ECH.PublicName != "front.example" || !n.TLS.Tickets.Enabled {
		t.Errorf("the node has %+v", n.TLS)
	}
	builtin := BuiltinTLSPolicies()
	if len(builtin) != 2 || builtin[0].Name != "intermediate" || builtin[0].MinVersion != "TLSv1.2" || builtin[1].MinVersion != "TLSv1.3" {
		t.Errorf("the policies that are always there are %+v", builtin)
	}
}

// somePEM returns a certificate in PEM form.
func somePEM(t *testing.T, ca bool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "some"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: ca,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestTLSErrors also holds that a policy that could let in anybody is refused:
// one that requires a certificate from nobody, or from authorities that cannot
// be read (CVE-2026-27586).
func TestTLSErrors(t *testing.T) {
	ca, leaf := somePEM(t, true), somePEM(t, false)
	indented := func(text string) string { return strings.ReplaceAll(text, "\n", "\\n") }
	auth := func(fields string) string {
		return "  tls: {policies: [{name: p, client_auth: {" + fields + "}}]}"
	}
	tests := []struct{ name, yaml, want string }{
		{"a name twice", "  tls: {policies: [{name: p}, {name: p}]}", "node.tls.policies[1].name: the name is used by policy 1 already"},
		{"a name that is taken", "  tls: {policies: [{name: modern}]}", "node.tls.policies[0].name: the name is that of a policy that is always there"},
		{"an unknown default", "  tls: {default: none}", "node.tls.default: there is no policy of this name"},
		{"an unknown policy of a listener", "  listeners: [{name: a, address: ':1', serve: https, tls: none}]", "node.listeners[0].tls: there is no policy of this name (found \"none\"; expected one of: intermediate, modern)"},
		{"a policy of a plain listener", "  listeners: [{name: a, address: ':1', serve: http, tls: modern}]", "node.listeners[0].tls: value must be null"},
		{"a server name twice", "  tls: {policies: [{name: p, snis: [a.test]}, {name: q, snis: [A.test]}]}", "node.tls.policies[1].snis[0]: the server name has policy \"p\" already"},
		{"a wildcard within a label", "  tls: {policies: [{name: p, snis: ['*a.test']}]}", "a wildcard must be a whole label"},
		{"a wildcard within the last label", "  tls: {policies: [{name: p, snis: ['a*']}]}", "a wildcard must be a whole label"},
		{"no version", "  tls: {policies: [{name: p, base: modern, max_version: TLSv1.2}]}", "node.tls.policies[0].max_version: value is less than 'min_version'"},
		{"an old version", "  tls: {policies: [{name: p, min_version: TLSv1.1}]}", "node.tls.policies[0].min_version: expected one of: TLSv1.2, TLSv1.3"},
		{"suites in vain", "  tls: {policies: [{name: p, base: modern, ciphers: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]}]}", "there is no choice of suites in TLS 1.3"},
		{"a suite without forward secrecy", "  tls: {policies: [{name: p, ciphers: [TLS_RSA_WITH_AES_128_GCM_SHA256]}]}", "node.tls.policies[0].ciphers[0]: expected one of"},
		{"no key exchange for TLS 1.2", "  tls: {policies: [{name: p, max_version: TLSv1.2, curves: [X25519MLKEM768]}]}", "key exchanges with ML-KEM are for TLS 1.3 only"},
		{"a short secret", "  tls: {session_tickets: {secret: short}}", "node.tls.session_tickets.secret: length must be at least 32"},
		{"an address as public name", "  tls: {ech: {public_name: 10.0.0.1}}", "node.tls.ech.public_name: must not be an IP"},
		{"what reads like an address", "  tls: {ech: {public_name: front.0x7f}}", "node.tls.ech.public_name: invalid public name"},
		{"a secret in vain", "  tls: {ech: {secret: '0123456789012345678901234567890123'}}", "node.tls.ech.secret: value must be null"},
		{"nobody is let in", auth("mode: require"), "node.tls.policies[0].client_auth.mode: no authority is given, so that nobody could be let in"},
		{"authorities in vain", auth("ca_pem: x"), "node.tls.policies[0].client_auth.ca_pem: value must be null"},
		{"verification in vain", auth("mode: request, depth: 1"), "node.tls.policies[0].client_auth.depth: value must be null"},
		{"no names to send", auth("mode: request, send_ca_dn: true"), "node.tls.policies[0].client_auth.send_ca_dn: there are no names to send"},
		{"authorities that are none", auth("mode: require, ca_pem: nonsense"), "node.tls.policies[0].client_auth.ca_pem: invalid certificate"},
		{"authorities that are not there", auth("mode: require, ca_pem: '{vault://file//nonexistent/ca.pem}'"), "node.tls.policies[0].client_auth.ca_pem: "},
		{"a leaf as authority", auth(`mode: require, ca_pem: "` + indented(leaf) + `"`), "certificate 1 is not that of an authority"},
		{"a certificate that is cut off", auth(`mode: require, ca_pem: "` + indented(ca+ca[:len(ca)-40]) + `"`), "a PEM block is cut off"},
		{"a key among the authorities", auth(`mode: require, ca_pem: "` + indented(ca+"-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n") + `"`), "a PEM block of type EC PRIVATE KEY stands among the certificates"},
		{"an authority that does not exist", auth("mode: require, ca_certificates: [0855b320-0dd2-547d-891d-601e9b38647f]"), "configuration:3:77: node.tls.policies[0].client_auth.ca_certificates[0]: invalid reference"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := loadNode(t, tt.yaml); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the errors do not say %q:\n%v", tt.want, err)
			}
		})
	}
	if _, err := loadNode(t, auth(`mode: require, ca_pem: "`+indented(ca+ca)+`"`)); err != nil {
		t.Error(err)
	}
}
