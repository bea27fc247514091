package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestCheckTellsNoKey checks configurations that are wrong about a key, or around
// one: every error says what is wrong, and none tells the key.
func TestCheckTellsNoKey(t *testing.T) {
	dir := t.TempDir()
	var secrets testkit.Secrets
	own := pki.SelfSigned(t, "shop.test")
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := string(own.CertPEM()), secrets.AddKey(t, own.Key)
	other, rsaKey := secrets.AddKey(t, pki.NewKey(t)), secrets.AddKey(t, long)
	der, err := x509.MarshalECPrivateKey(own.Key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	short := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	secrets.AddPEM(t, short)
	block, _ := pem.Decode([]byte(other))
	locked := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes}))
	keyFile := filepath.Join(dir, "key.pem")
	write(t, keyFile, key)
	const word = "correct horse battery"
	secrets.Add(word)
	secrets.WantIn(t, "a key", key)
	secrets.WantIn(t, "a locked key", locked)
	secrets.WantIn(t, "an RSA key", rsaKey)

	secrets.WantIn(t, "the beginning of a key", short[:60])

	headless := rsaKey[strings.Index(rsaKey, "\n")+1:]
	bare, _, _ := strings.Cut(headless, "-----")
	broken := strings.Replace(rsaKey, "KEY-----", "KEY----", 1)
	pair := func(cert, key string) string { return fmt.Sprintf("certificates: [{cert: %s, key: %s}]\n", cert, key) }
	q := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	policy := func(auth string) string {
		return "node: {tls: {policies: [{name: p, client_auth: {mode: require, " + auth + "}}]}}\n"
	}
	for _, tt := range []struct{ name, text, want string }{
		{"another certificate's key", pair(q(cert), q(other)), "does not match key"},
		{"an RSA key for it", pair(q(cert), q(rsaKey)), "does not match key"},
		{"certificate and key exchanged", pair(q(key), q(cert)), "invalid certificate"},
		{"certificate and key exchanged, the key as OpenSSL writes it", pair(q(short), q(cert)), "invalid certificate"},
		{"the key beside its certificate, and another one", pair(q(cert+key), q(other)), "does not match key"},
		{"a key beside a broken certificate", pair(q(other+cert[:len(cert)-60]), q(key)), "invalid certificate"},
		{"two keys", pair(q(cert), q(other+key)), "does not match key"},
		{"half a key", pair(q(cert), q(other[:len(other)-60])), "invalid key"},
		{"a key without its first line", pair(q(cert), q(other[strings.Index(other, "\n")+1:])), "invalid key"},
		{"a locked key", pair(q(cert), q(locked)), "invalid key"},
		{"a key of another kind", pair(q(cert), q(strings.ReplaceAll(other, "PRIVATE KEY", "EC PRIVATE KEY"))), "invalid key"},
		{"a list of keys", pair(q(cert), "["+q(key)+"]"), "expected a string"},
		{"a key in an object", pair(q(cert), "{pem: "+q(key)+"}"), "expected a string"},
		{"a key under an unknown name", fmt.Sprintf("certificates: [{cert: %s, key: %s, privat_key: %s}]\n", q(cert), q(key), q(other)), "unknown field"},
		{"a key as an entity", fmt.Sprintf("certificates: [%s]\n", q(key)), "certificates"},
		{"a key as a name", "services: [{name: " + q(short) + ", host: a}]\n", "services"},
		{"a key as a host", "services: [{name: a, host: " + q(short) + "}]\n", "services"},
		{"a key as a regular expression", "routes: [{name: a, paths: [" + q("~("+short) + "]}]\n", "routes"},
		{"a key as a server name", "snis: [{name: " + q(short) + ", certificate: {id: 4c1f0d1e-8a52-4e6b-9d3a-0a1c5f7e2b60}}]\n", "snis"},
		{"the rest of a key as a certificate", pair(q(headless), q(cert)), "invalid certificate"},
		{"a key's lines as a certificate", pair(q(bare), q(cert)), "invalid certificate"},
		{"a key's lines for an authority", fmt.Sprintf("ca_certificates: [{cert: %s}]\n", q(bare)), "ca_certificates"},
		{"a key's lines for a policy's authority", policy("ca_pem: " + q(bare)), "ca_pem"},
		{"the rest of a key for an authority", fmt.Sprintf("ca_certificates: [{cert: %s}]\n", q(headless)), "ca_certificates"},
		{"the rest of a key as a name", "services: [{name: " + q(headless) + ", host: a}]\n", "services"},
		{"the rest of a key as a regular expression", "routes: [{name: a, paths: [" + q("~("+headless) + "]}]\n", "routes"},
		{"a key with a broken first line as a regular expression", "routes: [{name: a, paths: [" + q("~("+broken) + "]}]\n", "routes"},
		{"a key with a broken first line for a policy's authority", policy("ca_pem: " + q(broken)), "ca_pem"},
		{"a key as the name of a field", fmt.Sprintf("certificates: [{cert: %s, %s: x}]\n", q(cert), q(key)), "unknown field"},
		{"a key as the name of a header field", fmt.Sprintf("routes: [{name: a, headers: {%s: [x]}}]\n", q(key)), "routes"},
		{"a key for an authority", fmt.Sprintf("ca_certificates: [{cert: %s}]\n", q(short)), "ca_certificates"},
		{"a key for a policy's authority", policy("ca_pem: " + q(short)), "ca_pem"},
		{"the key's file for the certificate's", pair("'{vault://file/"+keyFile+"}'", "'{vault://file/"+keyFile+"}'"), "invalid certificate"},
		{"the key's file for an authority's", policy("ca_pem: '{vault://file/" + keyFile + "}'"), "ca_pem"},
		{"a line of the key that is out of its place", "certificates:\n- cert: x\n  key: |\n" + strings.Replace(indent(other), "\n    ", "\n ", 1), "yaml"},
		{"a key that is not quoted", "certificates:\n- cert: x\n  key: " + strings.ReplaceAll(other, "\n", "\n: "), "yaml"},
		{"a key given twice", "certificates:\n- {cert: x, key: " + q(key) + ", key: " + q(other) + "}\n", "key"},
		{"the key's file itself", key, "expected"},
		{"a short secret of tickets", "node: {tls: {session_tickets: {secret: " + word + "}}}\n", "secret"},
		{"a short secret of ECH", "node: {tls: {ech: {public_name: a.test, secret: " + word + "}}}\n", "secret"},
		{"a secret that is a list", "node: {tls: {session_tickets: {secret: [" + word + "]}}}\n", "secret"},
		{"an account's key that is no Base64", "node: {acme: {terms_accepted: true, domains: [a.test], cas: [{directory: 'https://a.test/', eab_kid: x, eab_hmac_key: '" + word + "'}]}}\n", "eab_hmac_key"},
		{"a zone's key that is no Base64", "node: {acme: {terms_accepted: true, domains: [a.test], challenges: [dns-01], dns: {rfc2136: {server: '127.0.0.1:53', key_name: a., key: '" + word + "'}}}}\n", "key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "conf.yaml")
			text := tt.text
			if !strings.HasPrefix(text, "-----") {
				text = "_format_version: \"3.0\"\n" + text
			}
			write(t, path, text)
			stdout, stderr, code := finish(t, "check", path)
			if code == 0 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit %d, and printed %q, want an error with %q", code, stderr, tt.want)
			}
			secrets.WantOut(t, "what was printed", stdout+stderr)
		})
	}
	if _, err := tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
		t.Fatal(err) // else nothing here was about a key
	}
}

// indent makes a text a block of YAML.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}
