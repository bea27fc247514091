package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/zone"
)

// acmeWalk is examples/acme.yaml with addresses of a test, and what stands around it.
type acmeWalk struct {
	t             *testing.T
	first, second *testkit.Pebble
	config        string // path
	https         string // address
	roots         string // path of the roots of what authorities issue
	env           []string
}

// shown are the names by which clients come to the example, each of whose
// certificates is proved by another challenge, and the names that they are ordered by.
var shown = [...]struct{ host, name string }{
	{"shop.example.com", "shop.example.com"}, {"www.example.com", "www.example.com"}, {"my.blog.example.com", "*.blog.example.com"},
}

// shortLife is how long certificates of the second authority are valid.
const shortLife = 2 * time.Minute

func newACMEWalk(t *testing.T) *acmeWalk {
	t.Helper()
	names, web, dir := zone.Start(t), testkit.LastingAddr(t), t.TempDir()
	names.Open()
	w := &acmeWalk{t: t, https: testkit.LastingAddr(t), config: filepath.Join(dir, "acme.yaml"), roots: filepath.Join(dir, "issuers.pem")}
	o := testkit.PebbleOptions{HTTP: web, TLS: w.https, Resolver: names.Addr}
	w.first = testkit.StartPebble(t, o)
	o.Validity = shortLife
	w.second = testkit.StartPebble(t, o)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the shop") }))
	t.Cleanup(origin.Close)
	src, err := os.ReadFile("../../examples/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for _, swap := range [...][2]string{
		{`":80"`, strconv.Quote(web)},
		{`":443"`, strconv.Quote(w.https)},
		{"/var/lib/bulwark/acme", filepath.Join(dir, "acme")},
		{"https://acme-v02.api.letsencrypt.org/directory", w.first.Directory},
		{"https://acme.second.example/directory", w.second.Directory},
		{"ns1.example.com", names.Addr},
		{"http://127.0.0.1:9000", origin.URL},
		// They are renewed after a tenth of their life, whenever Pebble, which speaks of any
		// day around it, wants that.
		{"    terms_accepted", "    renewal_info: false\n    renewal_window: 90\n    backoff: 1s\n    terms_accepted"},
		{"node:\n", "node:\n  status: \"127.0.0.1:0\"\n"}, // its address, else that of any other edge
	} {
		if strings.Count(text, swap[0]) != 1 {
			t.Fatalf("the example does not have %q once", swap[0])
		}
		text = strings.Replace(text, swap[0], swap[1], 1)
	}
	write(t, w.config, text)
	write(t, w.roots, string(w.first.RootPEM())+string(w.second.RootPEM()))
	authorities := filepath.Join(dir, "authorities.pem") // in place of the roots that the system trusts
	write(t, authorities, w.first.Root+w.second.Root)
	w.env = append(os.Environ(), asCommand+"=1", "SSL_CERT_FILE="+authorities, "SSL_CERT_DIR="+dir)
	return w
}

// start runs an edge until stop is called, which returns what it has said.
func (w *acmeWalk) start() (stop func() string) {
	w.t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(w.t.Context(), os.Args[0], "run", "--config", w.config)
	cmd.Env, cmd.Stderr = w.env, &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceValue(func() string {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its status is that of the signal
		return said.String()
	})
	w.t.Cleanup(func() {
		if said := stop(); w.t.Failed() {
			w.t.Log(said)
		}
	})
	return stop
}

// bulwark runs a command to its end.
func (w *acmeWalk) bulwark(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0], append(args, "--config", w.config)...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// leaf waits until a client that trusts an authority is shown a certificate for a host,
// another one than before.
func (w *acmeWalk) leaf(by *testkit.Pebble, host string, before *x509.Certificate) *x509.Certificate {
	w.t.Helper()
	roots := by.Issuers()
	var err error
	for until := time.Now().Add(shortLife + 2*patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", w.https, &tls.Config{ServerName: host, RootCAs: roots}); err != nil {
			continue
		}
		leaf := c.ConnectionState().PeerCertificates[0]
		c.Close()
		if before == nil || !leaf.Equal(before) {
			return leaf
		}
	}
	w.t.Fatalf("%q does not get a certificate: %v", host, err)
	return nil
}

// leaves waits for one of each name, and has curl fetch something by it.
func (w *acmeWalk) leaves(by *testkit.Pebble) (all [len(shown)]*x509.Certificate) {
	w.t.Helper()
	for i, s := range shown {
		all[i] = w.leaf(by, s.host, nil)
		out, err := exec.Command("curl", "-sS", "--cacert", w.roots, "--connect-to", "::"+w.https, "https://"+s.host+"/").CombinedOutput()
		if err != nil || string(out) != "from the shop" {
			w.t.Errorf("curl of %s: %v, %q", s.host, err, out)
		}
	}
	return all
}

// TestIntegrationACME runs examples/acme.yaml against two authorities, each step by a
// process of its own: three names are ordered, each by another challenge, and served; a
// restart orders nothing; they are revoked; while the first authority is gone the
// second is asked; its short-lived certificates are renewed before they end.
func TestIntegrationACME(t *testing.T) {
	w := newACMEWalk(t)
	if _, stderr, code := w.bulwark("acme", "list"); code != 1 || !strings.Contains(stderr, "no such file") {
		t.Errorf("before anything is ordered: exit %d, printed %q", code, stderr)
	}
	stop := w.start()
	ordered := w.leaves(w.first)
	stop()
	if n := w.first.Orders(); n != len(shown) {
		t.Errorf("there were %d orders, want %d\n%s", n, len(shown), w.first.Log())
	}
	w.lists(ordered, w.first)

	stop = w.start()
	if again := w.leaves(w.first); !equal(ordered, again) {
		t.Error("another certificate is served after a restart")
	}
	if n := w.first.Orders() + w.second.Orders(); n != len(shown) {
		t.Errorf("a restart has ordered: there were %d orders, want %d", n, len(shown))
	}
	w.revokes(ordered)
	stop()

	w.first.Stop()
	stop = w.start()
	short := w.leaves(w.second)
	for i, s := range shown {
		if next := w.leaf(w.second, s.host, short[i]); !next.NotBefore.Before(short[i].NotAfter) {
			t.Errorf("%s had a certificate until %v, and the next from %v", s.host, short[i].NotAfter, next.NotBefore)
		}
	}
	said := stop()
	if !strings.Contains(said, w.first.Directory) || !strings.Contains(said, "connection refused") {
		t.Errorf("the log does not tell of the first authority\n%s", said)
	}
}

// lists holds what "acme list" prints against what was seen.
func (w *acmeWalk) lists(want [len(shown)]*x509.Certificate, by *testkit.Pebble) {
	w.t.Helper()
	stdout, stderr, code := w.bulwark("acme", "list")
	for i, s := range shown {
		fields := []string{s.name, want[i].NotAfter.UTC().Format(time.RFC3339), by.Directory}
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(stdout), " "), strings.Join(fields, " ")) {
			w.t.Errorf("exit %d, printed %q and %q, want %q", code, stdout, stderr, fields)
		}
	}
}

// revokes has all revoked by the first authority.
func (w *acmeWalk) revokes(leaves [len(shown)]*x509.Certificate) {
	t := w.t
	t.Helper()
	if _, stderr, code := w.bulwark("acme", "revoke", shown[0].name, "--reason", "boredom"); code != 1 || !strings.Contains(stderr, "superseded") {
		t.Errorf("a wrong reason: exit %d, printed %q", code, stderr)
	}
	for i, s := range shown {
		if is := w.first.Status(leaves[i]); is != "Valid" {
			t.Errorf("before the revocation the authority says %q of %s", is, s.name)
		}
		stdout, stderr, code := w.bulwark("acme", "revoke", strings.ToUpper(s.name), "--reason", "superseded")
		if code != 0 || stdout != "the certificate of "+s.name+" is revoked and forgotten\n" {
			t.Errorf("exit %d, printed %q and %q", code, stdout, stderr)
		}
		if is := w.first.Status(leaves[i]); is != "Revoked" {
			t.Errorf("after the revocation the authority says %q of %s", is, s.name)
		}
	}
	if _, stderr, code := w.bulwark("acme", "revoke", shown[0].name); code != 1 || !strings.Contains(stderr, "none is stored") {
		t.Errorf("a second time: exit %d, printed %q", code, stderr)
	}
}

func equal(a, b [len(shown)]*x509.Certificate) bool {
	return slices.EqualFunc(a[:], b[:], (*x509.Certificate).Equal)
}

// TestACMEWithoutOrders shows what is said where nothing is ordered.
func TestACMEWithoutOrders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, configOf("", "http://127.0.0.1:9"))
	if _, stderr, code := finish(t, "acme", "list", "--config", path); code != 1 || !strings.Contains(stderr, "nothing is ordered") {
		t.Errorf("exit %d, printed %q", code, stderr)
	}
}
