package edge_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/zone"
)

// orderTime bounds what an authority and an edge do together.
const orderTime = 60 * time.Second

// acmeRig is what stands around edges that order certificates.
type acmeRig struct {
	t           *testing.T
	zone        *zone.Server
	pebble      *testkit.Pebble
	http, https string
	storage     string
}

func newACMERig(t *testing.T, o testkit.PebbleOptions) *acmeRig {
	t.Helper()
	r := &acmeRig{
		t: t, zone: zone.Start(t), http: testkit.LastingAddr(t), https: testkit.LastingAddr(t),
		storage: filepath.Join(t.TempDir(), "acme"),
	}
	o.HTTP, o.TLS, o.Resolver = r.http, r.https, r.zone.Addr
	r.pebble = testkit.StartPebble(t, o)
	return r
}

// ca returns an entry of node.acme.cas.
func ca(p *testkit.Pebble, more string) string {
	return fmt.Sprintf("{directory: %q, root_ca: %q%s}", p.Directory, p.Root, more)
}

// yaml returns a configuration with more keys of node.acme. The listeners are at
// the rig's addresses, or wherever there is room.
func (r *acmeRig) yaml(ours bool, more ...string) string {
	http, https := r.http, r.https
	if !ours {
		http, https = "127.0.0.1:0", "127.0.0.1:0"
	}
	acme := "    storage: " + r.storage + "\n    terms_accepted: true\n    backoff: 1s\n"
	if !strings.Contains(strings.Join(more, ""), "cas:") {
		acme += "    cas: [" + ca(r.pebble, "") + "]\n"
	}
	for _, line := range more {
		acme += "    " + line + "\n"
	}
	return fmt.Sprintf(`
node:
  listeners:
    - {name: http, address: %q, serve: http}
    - {name: https, address: %q, serve: https}
  acme:
%s
services:
  - name: shop
    url: http://127.0.0.1:1
    routes: [{name: shop, paths: [/]}]
    plugins: [{name: request-termination, config: {status_code: 200, message: served}}]
`, http, https, acme)
}

// rootFile writes the root of what the authority issues to a file.
func (r *acmeRig) rootFile() string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "root.pem")
	if err := os.WriteFile(path, r.pebble.RootPEM(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// shown returns the certificate that a client of a name is shown.
func shown(t *testing.T, e *testkit.Edge, name string) (*x509.Certificate, *tls.ConnectionState) {
	t.Helper()
	c, err := tls.Dial("tcp", e.At("https").String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.ConnectionState()
	return state.PeerCertificates[0], &state
}

// served waits until a client that trusts the authority is served for a name, and
// returns the certificate that it has seen.
func served(t *testing.T, e *testkit.Edge, roots *x509.CertPool, name string) *x509.Certificate {
	t.Helper()
	var err error
	for until := time.Now().Add(orderTime); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		c, err = tls.Dial("tcp", e.At("https").String(), &tls.Config{ServerName: name, RootCAs: roots})
		if err != nil {
			continue
		}
		leaf := c.ConnectionState().PeerCertificates[0]
		c.Close()
		return leaf
	}
	t.Fatalf("%q is not served: %v\n%s", name, err, e.Log)
	return nil
}

// keyOf says what kind of key a certificate is for.
func keyOf(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprint("RSA ", key.N.BitLen())
	}
	return "unknown"
}

// ordered waits until as many names have a certificate.
func ordered(t *testing.T, e *testkit.Edge, names int) {
	t.Helper()
	for until := time.Now().Add(orderTime); e.Status().ACME.Names["valid"] < names; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not all was issued\n%s", e.Log)
		}
	}
}

// servedNext waits until web.test is served with another certificate than before.
func servedNext(t *testing.T, e *testkit.Edge, r *acmeRig, before *x509.Certificate) *x509.Certificate {
	t.Helper()
	roots := r.pebble.Issuers()
	for until := time.Now().Add(orderTime); ; time.Sleep(20 * time.Millisecond) {
		if leaf := served(t, e, roots, "web.test"); !leaf.Equal(before) {
			return leaf
		}
		if time.Now().After(until) {
			t.Fatalf("it was not replaced\n%s", e.Log)
		}
	}
}

// TestIntegrationACME orders three names, each by another challenge, serves them,
// and serves them again after a restart without another order.
func TestIntegrationACME(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	conf := r.yaml(true,
		"domains: [web.test, tls.test, dns.test, '*.dns.test']",
		"email: ops@web.test",
		"challenges: [http-01]",
		fmt.Sprintf("dns: {rfc2136: {server: %q, key_name: %s, key: %q}}", r.zone.Addr, zone.KeyName, zone.Key),
		"overrides: [{domains: [tls.test], challenges: [tls-alpn-01], key_type: p384}, {domains: [dns.test, '*.dns.test'], challenges: [dns-01], key_type: rsa2048}]",
	)
	e := testkit.StartEdge(t, conf)
	roots := r.pebble.Issuers()
	first := make(map[string]*x509.Certificate)
	for name, want := range map[string]string{"web.test": "P-256", "tls.test": "P-384", "dns.test": "RSA 2048", "any.dns.test": "RSA 2048"} {
		leaf := served(t, e, roots, name)
		if got := keyOf(leaf); got != want {
			t.Errorf("%q has the key %s, want %s", name, got, want)
		}
		first[name] = leaf
	}
	says(t, "200", "curl", "-s", "-o", os.DevNull, "-w", "%{http_code}", "--cacert", r.rootFile(),
		"--connect-to", "::"+e.At("https").String(), "https://web.test/")
	if txt := r.zone.TXT("_acme-challenge.dns.test."); len(txt) > 0 {
		t.Errorf("records are left behind: %q", txt)
	}
	orders := r.pebble.Orders()
	if orders != 4 {
		t.Errorf("there were %d orders, want 4\n%s", orders, r.pebble.Log())
	}
	e.Stop()
	again := testkit.StartEdge(t, conf)
	for name, want := range first {
		if leaf, _ := shown(t, again, name); !leaf.Equal(want) {
			t.Errorf("%q is served another certificate after a restart", name)
		}
	}
	if n := r.pebble.Orders(); n != orders {
		t.Errorf("a restart has ordered %d certificates", n-orders)
	}
}

// TestIntegrationACMERenewal shows that a certificate is renewed before it ends.
func TestIntegrationACMERenewal(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{Validity: orderTime})
	// Without renewal information: what Pebble says of so short a life is any day around it.
	e := testkit.StartEdge(t, r.yaml(true, "domains: [web.test]", "renewal_window: 90", "renewal_info: false"))
	first := served(t, e, r.pebble.Issuers(), "web.test")
	if next := servedNext(t, e, r, first); !next.NotBefore.Before(first.NotAfter) {
		t.Errorf("the first was good until %v, and the next one came at %v", first.NotAfter, next.NotBefore)
	}
}

// TestIntegrationACMEFallback shows that another authority is asked when the
// first refuses or is not there, and that the first is left alone meanwhile.
func TestIntegrationACMEFallback(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	wrong := testkit.StartPebble(t, testkit.PebbleOptions{HTTP: "127.0.0.1:1", TLS: "127.0.0.1:1", Resolver: r.zone.Addr})
	gone := fmt.Sprintf("{directory: %q}", "http://"+testkit.LastingAddr(t)+"/dir")
	e := testkit.StartEdge(t, r.yaml(true, "domains: [web.test]", "cas: ["+gone+", "+ca(wrong, "")+", "+ca(r.pebble, "")+"]"))
	served(t, e, r.pebble.Issuers(), "web.test")
	if n := wrong.Orders(); n == 0 {
		t.Errorf("the second authority was not asked\n%s", e.Log)
	}
	for _, want := range []string{gone[13:30], "connection refused", wrong.Directory} {
		if !strings.Contains(e.Log.String(), want) {
			t.Errorf("the log does not tell of %q\n%s", want, e.Log)
		}
	}
}

// TestIntegrationACMETwoNodes shows that two nodes with one storage order each
// name once, that either answers the authority for the other, and that both serve.
func TestIntegrationACMETwoNodes(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	more := []string{"domains: [a.test, b.test, c.test, d.test]"}
	// The authority only ever comes to one of them.
	there := testkit.StartEdge(t, r.yaml(true, more...))
	other := testkit.StartEdge(t, r.yaml(false, more...))
	roots := r.pebble.Issuers()
	for _, name := range []string{"a.test", "b.test", "c.test", "d.test"} {
		if a, b := served(t, there, roots, name), served(t, other, roots, name); !a.Equal(b) {
			t.Errorf("the nodes serve two certificates for %q", name)
		}
	}
	if n := r.pebble.Orders(); n != 4 {
		t.Errorf("there were %d orders, want 4", n)
	}
}

// TestIntegrationACMEOtherNodeAnswers shows that the node to which an authority
// comes answers it for the one that orders.
func TestIntegrationACMEOtherNodeAnswers(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	testkit.StartEdge(t, r.yaml(true, "domains: [never.test]", "challenges: [dns-01]", "dns: {exec: [/bin/false]}"))
	other := testkit.StartEdge(t, r.yaml(false, "domains: [web.test, tls.test]", "challenges: [http-01]",
		"overrides: [{domains: [tls.test], challenges: [tls-alpn-01]}]"))
	for _, name := range []string{"web.test", "tls.test"} {
		served(t, other, r.pebble.Issuers(), name)
	}
}

// TestIntegrationACMEDemand has names ordered by clients, as the plugin acme and
// as node.acme say, and a stream's.
func TestIntegrationACMEDemand(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	conf := r.yaml(true, "on_demand: {allow: ['*.node.test']}", "challenges: [tls-alpn-01]") + fmt.Sprintf(`
  - {name: tcp, url: "tcp://%s", routes: [{name: tcp, protocols: [tls], snis: [mail.node.test]}]}
`, r.zone.Addr)
	e := testkit.StartEdge(t, conf)
	roots := r.pebble.Issuers()
	for _, name := range []string{"web.node.test", "a.b.node.test", "mail.node.test"} {
		served(t, e, roots, name)
	}
	if leaf, _ := shown(t, e, "other.test"); leaf.Subject.CommonName != "localhost" {
		t.Errorf("a name that is not allowed was shown %v", leaf.Subject)
	}
	if n := r.pebble.Orders(); n != 3 {
		t.Errorf("there were %d orders, want 3", n)
	}
}

// TestIntegrationACMEPassedThrough shows that a route that passes TLS on has no
// say in a proof that is ours, and that proofs of others are passed on.
func TestIntegrationACMEPassedThrough(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	conf := r.yaml(true, "domains: [web.test]", "challenges: [tls-alpn-01]") + `
  - {name: other, url: "tcp://127.0.0.1:1", routes: [{name: other, protocols: [tls_passthrough], snis: ["*.test"]}]}
`
	e := testkit.StartEdge(t, conf)
	ordered(t, e, 1)
	c, err := tls.Dial("tcp", e.At("https").String(), &tls.Config{ServerName: "theirs.test", InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		c.Close()
		t.Error("a proof of others was answered")
	}
}

// TestIntegrationACMEAccounts shows that an external account is told, that a chain
// is chosen by its issuer, and that an IP address gets a certificate too.
func TestIntegrationACMEAccounts(t *testing.T) {
	t.Parallel()
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	r := newACMERig(t, testkit.PebbleOptions{Accounts: map[string]string{"kid-1": key}})
	chain := r.pebble.AlternateIssuer()
	more := fmt.Sprintf(", eab_kid: kid-1, eab_hmac_key: %s, preferred_chain: %q", key, chain)
	e := testkit.StartEdge(t, r.yaml(true, "domains: [web.test, 127.0.0.1]", "cas: ["+ca(r.pebble, more)+"]"))
	ordered(t, e, 2)
	_, state := shown(t, e, "web.test")
	if got := state.PeerCertificates[len(state.PeerCertificates)-1].Issuer.CommonName; got != chain {
		t.Errorf("the chain ends with the issuer %q, want %q", got, chain)
	}
	if leaf, _ := shown(t, e, ""); leaf.VerifyHostname("127.0.0.1") != nil {
		t.Errorf("a client without a server name was shown %v", leaf.IPAddresses)
	}
	if strings.Contains(e.Log.String(), key) {
		t.Error("the log tells the key")
	}
}

// TestACMEStatus shows what /status tells of names that cannot be ordered.
func TestACMEStatus(t *testing.T) {
	e := testkit.StartEdge(t, `
node:
  acme: {storage: `+filepath.Join(t.TempDir(), "acme")+`, terms_accepted: true, domains: [web.test], cas: [{directory: "http://127.0.0.1:1/dir"}]}
`)
	for until := time.Now().Add(orderTime); ; time.Sleep(5 * time.Millisecond) {
		s := e.Status().ACME
		if s != nil && s.Names["failing"] == 1 {
			if p := s.Problems; len(p) != 1 || p[0].Name != "web.test" || !strings.Contains(p[0].Error, "connection refused") || p[0].Again == nil || p[0].Until != nil {
				t.Errorf("the problems are %+v", p)
			}
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the status is %+v\n%s", s, e.Log)
		}
	}
	rec := httptest.NewRecorder()
	e.Metrics().Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`bulwark_acme_name_entries{state="failing"} 1`, `bulwark_acme_orders_total{ca="127.0.0.1",result="failed"} 1`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if err := e.Use("{}"); err != nil {
		t.Fatal(err)
	}
	if e.Status().ACME != nil {
		t.Error("it is told after nothing is ordered any more")
	}
}

// TestACMEBadStorage shows that a storage that others can read does not start.
func TestACMEBadStorage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e := testkit.StartEdge(t, "{}")
	err := e.Use("node: {acme: {storage: " + dir + ", terms_accepted: true, domains: [web.test]}}")
	if err == nil || !strings.Contains(err.Error(), "make it 0700") {
		t.Errorf("got the error %v", err)
	}
}
