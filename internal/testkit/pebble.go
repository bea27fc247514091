package testkit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// PebbleOptions are what a Pebble is started with.
type PebbleOptions struct {
	HTTP     string            // address of the listener that it asks for HTTP-01; only the port counts
	TLS      string            // the same for TLS-ALPN-01
	Resolver string            // address of the name server it asks
	Validity time.Duration     // of certificates, in whole seconds; 0: three months
	Accounts map[string]string // external accounts that are required: keys by their ids

	// Profiles are how long certificates of further profiles are valid, in whole
	// seconds. Pebble takes any profile for an order that names none.
	Profiles map[string]time.Duration
}

// Pebble is a real Pebble, the ACME server of Let's Encrypt for tests. It
// validates without waiting, and refuses one in twenty nonces.
type Pebble struct {
	Directory string // URL
	Root      string // in PEM, of its own TLS

	t          testing.TB
	log        *Log
	management string
	stop       func()
}

// StartPebble starts Pebble; the test's end stops it.
func StartPebble(t testing.TB, o PebbleOptions) *Pebble {
	t.Helper()
	dir := t.TempDir()
	listen, management := LastingAddr(t), LastingAddr(t)
	p := &Pebble{Directory: "https://" + listen + "/dir", t: t, log: new(Log), management: management}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	p.Root = loopbackCertificate(t, cert, key)
	settings := map[string]any{
		"listenAddress": listen, "managementListenAddress": management, "certificate": cert, "privateKey": key,
		"httpPort": portNumber(o.HTTP), "tlsPort": portNumber(o.TLS),
		"externalAccountBindingRequired": len(o.Accounts) > 0, "externalAccountMACKeys": o.Accounts,
	}
	profiles := map[string]map[string]any{"default": {"description": "default", "validityPeriod": int(o.Validity / time.Second)}}
	for name, validity := range o.Profiles {
		profiles[name] = map[string]any{"description": name, "validityPeriod": int(validity / time.Second)}
	}
	settings["profiles"] = profiles
	conf, err := json.Marshal(map[string]any{"pebble": settings})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(path, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Tool(t, "pebble"), "-config", path, "-dnsserver", o.Resolver)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5", "PEBBLE_AUTHZREUSE=0", "PEBBLE_ALTERNATE_ROOTS=1")
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting pebble: %v", err)
	}
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // the signal is its exit status
	})
	t.Cleanup(p.stop)
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if p.answers() {
			return p
		}
		if time.Now().After(until) {
			t.Fatalf("pebble does not answer\n%s", p.log)
		}
	}
}

func portNumber(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port) // 0 is refused by Pebble
	return n
}

func (p *Pebble) answers() bool {
	for _, addr := range []string{strings.TrimSuffix(strings.TrimPrefix(p.Directory, "https://"), "/dir"), p.management} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

// Client returns a client that trusts Pebble's own TLS.
func (p *Pebble) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.Root))
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
}

// get returns what the management interface answers.
func (p *Pebble) get(path string) []byte {
	p.t.Helper()
	res, err := p.Client().Get("https://" + p.management + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return body
}

// Issuers returns the root of the certificates that Pebble issues, which it makes
// anew each time it starts.
func (p *Pebble) Issuers() *x509.CertPool {
	p.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.RootPEM()) {
		p.t.Fatal("pebble shows no root")
	}
	return pool
}

// RootPEM returns that root in PEM.
func (p *Pebble) RootPEM() []byte { return p.get("/roots/0") }

// AlternateIssuer returns the common name of the issuer of the intermediate in
// the chain that is not the first.
func (p *Pebble) AlternateIssuer() string {
	p.t.Helper()
	block, _ := pem.Decode(p.get("/roots/1"))
	if block == nil {
		p.t.Fatal("pebble shows no second root")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		p.t.Fatal(err)
	}
	return c.Subject.CommonName
}

// Status returns what Pebble says of a certificate, such as Valid or Revoked.
func (p *Pebble) Status(c *x509.Certificate) string {
	p.t.Helper()
	var s struct{ Status string }
	if err := json.Unmarshal(p.get("/cert-status-by-serial/"+c.SerialNumber.Text(16)), &s); err != nil {
		p.t.Fatal(err)
	}
	return s.Status
}

// Renew has Pebble say from now on that a certificate is to be renewed within a window
// (RFC 9773).
func (p *Pebble) Renew(c *x509.Certificate, start, end time.Time) {
	p.t.Helper()
	window := map[string]any{"suggestedWindow": map[string]time.Time{"start": start.UTC(), "end": end.UTC()}}
	answer, err := json.Marshal(window)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})), "ariResponse": string(answer),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.Client().Post("https://"+p.management+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("pebble answers %s", res.Status)
	}
}

// Stop ends Pebble before the test does.
func (p *Pebble) Stop() { p.stop() }

// Orders returns how many orders Pebble has taken.
func (p *Pebble) Orders() int {
	return strings.Count(p.log.String(), "Added order ")
}

// Log returns what Pebble has said.
func (p *Pebble) Log() string { return p.log.String() }

// loopbackCertificate writes a certificate for 127.0.0.1 and its key, and returns
// it as PEM.
func loopbackCertificate(t testing.TB, certPath, keyPath string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, text := range map[string][]byte{certPath: cert, keyPath: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return string(bytes.TrimSpace(cert)) + "\n"
}
