package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/zone"
)

// TestIntegrationACME orders a certificate, lists it and has it revoked, each by
// a process of its own.
func TestIntegrationACME(t *testing.T) {
	names, web, secure := zone.Start(t), testkit.LastingAddr(t), testkit.LastingAddr(t)
	pebble := testkit.StartPebble(t, testkit.PebbleOptions{HTTP: web, TLS: secure, Resolver: names.Addr})
	dir := t.TempDir()
	path := filepath.Join(dir, "bulwark.yaml")
	write(t, path, fmt.Sprintf(`
_format_version: "3.0"
node:
  status: "off"
  log: {access: "off"}
  listeners: [{name: http, address: %q, serve: http}, {name: https, address: %q, serve: https}]
  acme: {storage: %s, terms_accepted: true, domains: [web.test], cas: [{directory: %q, root_ca: %q}]}
`, web, secure, filepath.Join(dir, "acme"), pebble.Directory, pebble.Root))

	if _, stderr, code := finish(t, "acme", "list", "--config", path); code != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("before anything is ordered: exit %d, printed %q", code, stderr)
	}
	leaf := orderOnce(t, path, secure, pebble.Issuers())
	stdout, stderr, code := finish(t, "acme", "list", "--config", path)
	if code != 0 || !strings.Contains(stdout, "web.test  "+leaf.NotAfter.UTC().Format(time.RFC3339)+"  "+pebble.Directory) {
		t.Errorf("exit %d, printed %q and %q", code, stdout, stderr)
	}
	if _, stderr, code := finish(t, "acme", "revoke", "web.test", "--reason", "boredom", "--config", path); code != 1 || !strings.Contains(stderr, "superseded") {
		t.Errorf("a wrong reason: exit %d, printed %q", code, stderr)
	}
	if s := pebble.Status(leaf); s != "Valid" {
		t.Errorf("before the revocation the authority says %q", s)
	}
	stdout, stderr, code = finish(t, "acme", "revoke", "Web.test", "--reason", "superseded", "--config", path)
	if code != 0 || stdout != "the certificate of web.test is revoked and forgotten\n" {
		t.Errorf("exit %d, printed %q and %q", code, stdout, stderr)
	}
	if s := pebble.Status(leaf); s != "Revoked" {
		t.Errorf("after the revocation the authority says %q", s)
	}
	if _, stderr, code := finish(t, "acme", "revoke", "web.test", "--config", path); code != 1 || !strings.Contains(stderr, "none is stored") {
		t.Errorf("a second time: exit %d, printed %q", code, stderr)
	}
	if again := orderOnce(t, path, secure, pebble.Issuers()); again.Equal(leaf) {
		t.Error("what was revoked is served again")
	}
}

// orderOnce runs an edge until it serves a name, and returns what it shows.
func orderOnce(t *testing.T, path, addr string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	cmd := command(t, "run", "--config", path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its status is that of the signal
	}()
	var err error
	for until := time.Now().Add(2 * patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", addr, &tls.Config{ServerName: "web.test", RootCAs: roots}); err == nil {
			defer c.Close()
			return c.ConnectionState().PeerCertificates[0]
		}
	}
	t.Fatalf("it does not serve: %v", err)
	return nil
}

// TestACMEWithoutOrders shows what is said where nothing is ordered.
func TestACMEWithoutOrders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, configOf("", "http://127.0.0.1:9"))
	if _, stderr, code := finish(t, "acme", "list", "--config", path); code != 1 || !strings.Contains(stderr, "nothing is ordered") {
		t.Errorf("exit %d, printed %q", code, stderr)
	}
}
