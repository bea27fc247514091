package edge_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// answering is a configuration that answers every request with 200. node is put
// into its node.
func answering(node, rest string) string {
	return "node:\n" + node + `
routes: [{name: all, paths: [/], plugins: [{name: request-termination, config: {status_code: 200, message: here}}]}]
` + rest
}

// kept is a connection over TLS on which one request follows the other.
type kept struct {
	*tls.Conn
	r *bufio.Reader
}

func keep(t *testing.T, at netip.AddrPort, cfg *tls.Config) *kept {
	t.Helper()
	cfg = cfg.Clone()
	if cfg.RootCAs == nil {
		cfg.InsecureSkipVerify = true
	}
	c := tls.Client(dialAt(t, at), cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &kept{c, bufio.NewReader(c)}
}

// get returns status and whether the connection goes on.
func (k *kept) get(t *testing.T, host string) (status int, on bool) {
	t.Helper()
	if _, err := fmt.Fprintf(k, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, !resp.Close
}

// verdicts returns what the access log tells of clients' certificates.
func verdicts(t *testing.T, e *testkit.Edge) []string {
	t.Helper()
	e.Stop()
	var all []string
	for _, l := range e.AccessLog() {
		var entry struct {
			Request struct {
				TLS struct {
					Verify string `json:"client_verify"`
				}
			}
			Response struct{ Status int }
		}
		if err := json.Unmarshal([]byte(l), &entry); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(entry.Response.Status, " ", entry.Request.TLS.Verify))
	}
	return all
}

// strictPolicy is a policy that lets in clients of an authority.
func strictPolicy(ca *pki.CA, more string) string {
	return fmt.Sprintf("    - {name: strict, snis: [strict.test], client_auth: {mode: require, ca_pem: %q%s}}\n", pki.PEM(ca.Cert), more)
}

// TestKeptConnectionFollowsReloads shows what becomes of connections whose
// clients are asked something else since a reload.
func TestKeptConnectionFollowsReloads(t *testing.T) {
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	open := answering("  tls: {policies: [{name: p, snis: [x.test]}]}", "")
	strict := answering("  tls:\n    policies:\n"+strictPolicy(ca, ""), "")
	wider := answering("  tls:\n    policies:\n"+strictPolicy(ca, ", depth: 3"), "")
	others := answering("  tls:\n    policies:\n"+strictPolicy(other, ""), "")
	client := &tls.Config{ServerName: "strict.test", Certificates: []tls.Certificate{ca.Client("client").TLS()}}
	for _, tt := range []struct {
		name        string
		before, now string
		status      int
		on          bool
		log         []string
	}{
		{"nothing has changed", strict, strict, 200, true, []string{"200 SUCCESS", "200 SUCCESS"}},
		{"it asks now", open, strict, 421, false, []string{"200 NONE", "421 NONE"}},
		{"it asks in another way", strict, wider, 200, false, []string{"200 SUCCESS", "200 SUCCESS"}},
		{"another authority counts", strict, others, 421, false, []string{"200 SUCCESS", "421 FAILED:unknown_ca"}},
		{"it asks no more", strict, open, 200, false, []string{"200 SUCCESS", "200 SUCCESS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, tt.before)
			c := keep(t, e.At("https"), client)
			if status, on := c.get(t, "strict.test"); status != 200 || !on {
				t.Fatalf("before the reload: %d, and goes on: %v", status, on)
			}
			if err := e.Use(tt.now); err != nil {
				t.Fatal(err)
			}
			if status, on := c.get(t, "strict.test"); status != tt.status || on != tt.on {
				t.Errorf("after the reload: %d, and goes on: %v", status, on)
			}
			if diff := cmp.Diff(tt.log, verdicts(t, e)); diff != "" {
				t.Errorf("the access log (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBadPolicyIsRefused shows that a policy that cannot hold does not begin to
// serve, and that the one before it serves on.
func TestBadPolicyIsRefused(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	e := testkit.StartEdge(t, answering("  tls:\n    policies:\n"+strictPolicy(ca, ""), ""))
	for _, tt := range []struct{ name, policies, want string }{
		{"an empty pool", "    - {name: strict, snis: [strict.test], client_auth: {mode: require}}\n", "nobody could be let in"},
		{"an unreadable authority", "    - {name: strict, snis: [strict.test], client_auth: {mode: require, ca_pem: '{vault://file//nonexistent}'}}\n", "does not exist"},
		{"no end of a path", fmt.Sprintf("    - {name: strict, snis: [strict.test], client_auth: {mode: require, ca_pem: %q}}\n", pki.PEM(ca.Intermediate("below").Cert)), `compiling TLS policy "strict": none of the CA certificates is self-signed`},
		{"a rule that matches nothing", strictPolicy(ca, ", allow_sans: [nonsense]"), `compiling TLS policy "strict"`},
		{"an unreadable revocation list", strictPolicy(ca, ", crl_files: [/nonexistent.crl]"), `compiling TLS policy "strict": reading revocation list 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := e.Use(answering("  tls:\n    policies:\n"+tt.policies, "")); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one with %q", err, tt.want)
			}
			c := tls.Client(dialAt(t, e.At("https")), &tls.Config{ServerName: "strict.test", InsecureSkipVerify: true})
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				t.Error("a client without a certificate was served")
			}
			good := keep(t, e.At("https"), &tls.Config{ServerName: "strict.test", Certificates: []tls.Certificate{ca.Client("client").TLS()}})
			if status, _ := good.get(t, "strict.test"); status != 200 {
				t.Errorf("a client with a certificate was answered %d", status)
			}
		})
	}
}

// hiding starts an edge that reads encrypted hellos, and returns what a client
// needs that wants a name.
func hiding(t *testing.T, yaml string, names ...string) (e *testkit.Edge, client func(name string) *tls.Config) {
	t.Helper()
	cert, key := makeCertificate(t, names...)
	e = testkit.StartEdge(t, yaml+fmt.Sprintf("certificates: [{cert: %q, key: %q, snis: [%s]}]\n", cert, key, strings.Join(names, ", ")))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	ech := e.Status().ECH
	if ech == nil || ech.PublicName != "front.test" || !ech.Until.After(time.Now()) {
		t.Fatalf("the status tells %+v", ech)
	}
	return e, func(name string) *tls.Config {
		return &tls.Config{ServerName: name, RootCAs: roots, EncryptedClientHelloConfigList: ech.ConfigList}
	}
}

func TestECH(t *testing.T) {
	e, client := hiding(t, answering("  tls: {ech: {public_name: front.test}, policies: [{name: p, snis: [hidden.test]}]}", ""), "front.test", "hidden.test")
	c := keep(t, e.At("https"), client("hidden.test"))
	if !c.ConnectionState().ECHAccepted {
		t.Error("the hello was not read")
	}
	if status, _ := c.get(t, "hidden.test"); status != 200 {
		t.Errorf("a request for the hidden name is answered %d", status)
	}
	if status, _ := c.get(t, "front.test"); status != 421 {
		t.Errorf("a request for the name in clear is answered %d", status)
	}
	if err := e.Use(answering("", "")); err != nil {
		t.Fatal(err)
	}
	if e.Status().ECH != nil {
		t.Error("the status tells of a key that does not serve")
	}
}

// TestECHOfStreams shows that the encrypted name says where a stream goes: what
// is asked of the client for one name lets it come to no other.
func TestECHOfStreams(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	node := `  listeners: [{name: tls, address: "127.0.0.1:0", serve: tls}]
  tls:
    ech: {public_name: front.test}
    policies:
` + strictPolicy(ca, "")
	stream := func(name string) string {
		addr := startSayer(t, name)
		host, port, _ := strings.Cut(addr, ":")
		return fmt.Sprintf("- {name: %s, host: %q, port: %s, protocol: tcp, routes: [{name: %s, protocols: [tls], snis: [%s.test]}]}\n", name, host, port, name, name)
	}
	e, client := hiding(t, "node:\n"+node+"services:\n"+stream("strict")+stream("open"), "front.test", "strict.test", "open.test")
	at := e.At("tls")
	try := func(cfg *tls.Config) (string, error) {
		c := tls.Client(dialAt(t, at), cfg)
		if err := c.Handshake(); err != nil {
			return "", err
		}
		said, err := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(said), err
	}
	if got, err := try(client("open.test")); got != "open" {
		t.Errorf("the client came to %q, %v; want open", got, err)
	}
	if got, err := try(client("strict.test")); err == nil {
		t.Errorf("a client without a certificate came to %q", got)
	}
	if got, err := try(client("nowhere.test")); err == nil {
		t.Errorf("a client of a name without a route came to %q", got)
	}
}

// TestECHDoesNotLeadAround shows that a client that shows the name of one stream
// in clear, and is asked what is asked for the encrypted one, comes to the
// encrypted one.
func TestECHDoesNotLeadAround(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	strict, open := startSayer(t, "strict"), startSayer(t, "open")
	yaml := func(policies string) string {
		return fmt.Sprintf(`node:
  listeners: [{name: tls, address: "127.0.0.1:0", serve: tls}]
  tls:
    ech: {public_name: strict.test, secret: a secret that two edges have in common}
%s
services:
- {name: strict, host: 127.0.0.1, port: %s, protocol: tcp, routes: [{name: strict, protocols: [tls], snis: [strict.test]}]}
- {name: open, host: 127.0.0.1, port: %s, protocol: tcp, routes: [{name: open, protocols: [tls], snis: [open.test]}]}
`, policies, portOf(t, strict), portOf(t, open))
	}
	cert, key := makeCertificate(t, "strict.test", "open.test")
	e := testkit.StartEdge(t, yaml("    policies:\n"+strictPolicy(ca, ""))+fmt.Sprintf("certificates: [{cert: %q, key: %q, snis: [strict.test, open.test]}]\n", cert, key))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	c := tls.Client(dialAt(t, e.At("tls")), &tls.Config{ServerName: "open.test", RootCAs: roots, EncryptedClientHelloConfigList: e.Status().ECH.ConfigList})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(c).ReadString('\n'); said != "open\n" {
		t.Errorf("the client came to %q, %v; want open", said, err)
	}
}

// certificateFiles writes a pair for openssl and curl.
func certificateFiles(t *testing.T, p pki.Pair) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(cert, p.CertPEM(), 0o600), os.WriteFile(key, p.KeyPEM(t), 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}
