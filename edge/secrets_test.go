package edge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/store/file"
)

// TestIntegrationKeysAreNotTold lets an edge do all that it does with keys and
// secrets, well and badly, and looks for them in whatever it says: the log at
// debug, the access log, the errors of reloads, and all of the status listener.
func TestIntegrationKeysAreNotTold(t *testing.T) {
	t.Parallel()
	const tickets, ech, hmac = "tickets: a secret that nobody may be told", "ech: another secret that nobody may be told", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	var secrets testkit.Secrets
	for _, text := range []string{tickets, ech, hmac} {
		secrets.Add(text)
	}
	r := newACMERig(t, testkit.PebbleOptions{Accounts: map[string]string{"kid-1": hmac}})
	clients := pki.NewCA(t, "CA")
	own, other, client := pki.SelfSigned(t, "own.test"), pki.SelfSigned(t, "other.test"), clients.Client("client")
	key, otherKey, clientKey := secrets.AddKey(t, own.Key), secrets.AddKey(t, other.Key), secrets.AddKey(t, client.Key)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	longKey := secrets.AddKey(t, long)
	local := filepath.Join(t.TempDir(), "local")
	more := fmt.Sprintf(`
certificates:
- {cert: %q, key: %q, snis: [own.test, front.test]}
- {id: 4c1f0d1e-8a52-4e6b-9d3a-0a1c5f7e2b60, cert: %q, key: %q}
`, own.CertPEM(), key, client.CertPEM(), clientKey)
	conf := r.yaml(true, "domains: [web.test]", "challenges: [tls-alpn-01]",
		"cas: ["+ca(r.pebble, fmt.Sprintf(", eab_kid: kid-1, eab_hmac_key: %s", hmac))+"]") + `
  - {name: upstream, url: "https://127.0.0.1:1", client_certificate: {id: 4c1f0d1e-8a52-4e6b-9d3a-0a1c5f7e2b60}, retries: 1, routes: [{name: upstream, paths: [/upstream]}]}
` + more
	conf = strings.Replace(conf, "node:\n", fmt.Sprintf(`node:
  status: "127.0.0.1:0"
  tls:
    session_tickets: {secret: %q}
    ech: {public_name: front.test, secret: %q}
    local_ca: {names: [localhost], directory: %q}
    policies:
%s`, tickets, ech, local, strictPolicy(clients, "")), 1)
	secrets.WantIn(t, "the configuration", conf)
	e := testkit.StartEdge(t, conf)
	served(t, e, r.pebble.Issuers(), "web.test")

	// Handshakes and requests, good and bad.
	session := &sessions{}
	pair := client.TLS()
	for _, cfg := range []*tls.Config{
		{ServerName: "own.test"},
		{ServerName: "localhost"},
		{ServerName: "strict.test", Certificates: []tls.Certificate{pair}, ClientSessionCache: session},
		{ServerName: "strict.test", Certificates: []tls.Certificate{pair}, ClientSessionCache: session},
	} {
		c := keep(t, e.At("https"), cfg)
		if status, _ := c.get(t, cfg.ServerName); status != 200 {
			t.Errorf("a request for %s is answered %d", cfg.ServerName, status)
		}
	}
	for _, cfg := range []*tls.Config{
		{ServerName: "strict.test"},
		{ServerName: "strict.test", Certificates: []tls.Certificate{other.TLS()}},
		{ServerName: "own.test", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		cfg.InsecureSkipVerify = true
		c := tls.Client(dialAt(t, e.At("https")), cfg)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: strict.test\r\n\r\n")
		if n, err := c.Read(make([]byte, 1)); n > 0 {
			t.Errorf("a bad handshake was served: %v", err)
		}
		_ = c.Close()
	}
	c := keep(t, e.At("https"), &tls.Config{ServerName: "own.test"})
	_, _ = io.WriteString(c, "GET /upstream HTTP/1.1\r\nHost: own.test\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(c); !strings.Contains(string(got), " 502 ") {
		t.Errorf("an upstream that is not there is answered %q, %v", got, err)
	}

	// Reloads that are refused, over keys or near them.
	swap := func(old, now string) string {
		if !strings.Contains(conf, old) {
			t.Fatalf("the configuration has no %q", old)
		}
		return strings.Replace(conf, old, now, 1)
	}
	quoted := func(s string) string { return fmt.Sprintf("%q", s) }
	var said strings.Builder
	look := func() {
		for _, path := range []string{"/status", "/status/ready", "/status/certificates", "/status/certificates/own.test", "/status/certificates/web.test", "/status/certificates/localhost", "/metrics"} {
			said.WriteString(path + "\n" + told(t, e, path) + "\n")
		}
	}
	look()
	for name, text := range map[string]string{
		"another key":             swap(quoted(key), quoted(otherKey)),
		"a key of another kind":   swap(quoted(key), quoted(longKey)),
		"a key as a certificate":  swap(quoted(string(own.CertPEM())), quoted(key)),
		"a key as a list":         swap("client_auth: {", fmt.Sprintf("client_auth: {revocation: strict, crl_pem: %q, ", key)),
		"a key in a list":         swap("client_auth: {", fmt.Sprintf("client_auth: {revocation: strict, crl_files: [%q], ", writeKey(t, key))),
		"a secret that is none":   swap(quoted(tickets), "["+quoted(tickets)+"]"),
		"an account's key broken": swap(hmac, "'"+hmac+"!'"),
		"a key for an authority":  swap("ca_pem: ", fmt.Sprintf("ca_pem: %q, x: ", key)),
	} {
		err := e.Use(text)
		if err == nil {
			t.Errorf("%s: it serves", name)
			continue
		}
		said.WriteString(name + "\n" + err.Error() + "\n")
		look()
	}
	e.Stop()
	said.WriteString(e.Log.String())
	said.WriteString(strings.Join(e.AccessLog(), "\n"))

	// The keys that the edge has made itself.
	root, err := os.ReadFile(filepath.Join(local, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets.AddPEM(t, string(root))
	records, err := file.OpenRecords(r.storage)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for rec, err := range records.List(t.Context(), "acme/") {
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Key string }
		if json.Unmarshal(rec.Value, &v) == nil && strings.Contains(v.Key, "PRIVATE KEY") {
			secrets.AddPEM(t, v.Key)
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d keys are kept, want that of the account and that of the certificate", kept)
	}
	secrets.WantOut(t, "what the edge says", said.String())
	for _, want := range []string{"own.test", "client certificate refused: self_signed", "config_list", "does not match key", "bulwark_client_certificates_total"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("what the edge says does not hold %q", want)
		}
	}
}

// told returns what the status listener answers.
func told(t *testing.T, e *testkit.Edge, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + e.StatusAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %d, %v: %s", path, resp.StatusCode, err, b)
	}
	return string(b)
}

func writeKey(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
