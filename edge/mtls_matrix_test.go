package edge_test

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// matrixModes are the modes of revocation, by the host that has each.
var matrixModes = [3]string{"skip", "ignore_ca_error", "strict"}

// Which modes let a client in.
var (
	inAll    = [3]bool{true, true, true}
	inDoubt  = [3]bool{true, true, false} // nobody could say whether it is revoked
	inSkip   = [3]bool{true, false, false}
	inNone   = [3]bool{}
	begins   = func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
	outdated = func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}
	forServers = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
)

// matrixKind is a kind of client.
type matrixKind struct {
	name string
	who  pki.Pair
	in   [3]bool
	why  string // what the logs tell: a reason, or of inDoubt the doubt
}

// verify is what the access log tells of the client in a mode.
func (k *matrixKind) verify(mode int) string {
	switch {
	case k.in[mode]:
		return "SUCCESS"
	case k.in == inDoubt:
		return "FAILED:revocation_unknown (" + k.why + ")"
	}
	return "FAILED:" + k.why
}

// matrixKinds makes the clients, and the servers that tell of their revocation.
func matrixKinds(t *testing.T, root *pki.CA) []matrixKind {
	t.Helper()
	server, responder := pki.NewServer(t), root.StartOCSP(t)
	closed := pki.NewServer(t)
	closed.Close()
	real := pki.OCSPAt(responder.URL)
	fine, gone := root.Client("fine", real), root.Client("gone", real)
	responder.Good(fine.Cert)
	responder.Revoke(gone.Cert)
	listed := root.Client("listed", pki.CRLAt(server.URL+"/crl"))
	server.Put("/crl", root.CRL([]*x509.Certificate{listed.Cert}))
	answers := func(path string, ca *pki.CA, change func(*ocsp.Response)) pki.Change {
		return pki.OCSPAt(server.Handle(path, ca.Answers(t, nil, change)))
	}

	middle := root.Intermediate("Middle", pki.CRLAt(server.URL+"/crl"))
	server.Put("/middle", middle.CRL(nil))
	other := pki.NewCA(t, "Other")
	a, b := other.Intermediate("A"), other.Intermediate("B")
	loop := a.Client("loop")
	loop.Middle = []*x509.Certificate{b.Cross(a), a.Cross(b)}
	many := root.Client("many")
	for range 100 {
		many.Middle = append(many.Middle, middle.Cert)
	}
	return []matrixKind{
		{"good by a list", root.Client("c", pki.CRLAt(server.URL+"/crl")), inAll, ""},
		{"good by OCSP", fine, inAll, ""},
		{"good through an intermediate", middle.Client("c", pki.CRLAt(server.URL+"/middle")), inAll, ""},
		{"revoked by a list", listed, inSkip, "revoked"},
		{"revoked by OCSP", gone, inSkip, "revoked"},
		{"nobody to ask", root.Client("c"), inDoubt, "no_source"},
		{"a server that is down", root.Client("c", pki.CRLAt(closed.URL)), inDoubt, "unreachable"},
		{"a stale list", root.Client("c", pki.CRLAt(server.Put("/stale", root.CRL(nil, pki.Stale)))), inDoubt, "stale"},
		{"a forged list", root.Client("c", pki.CRLAt(server.Put("/forged", root.Impostor().CRL(nil)))), inDoubt, "forged"},
		{"a huge list", root.Client("c", pki.CRLAt(server.Handle("/huge", pki.Endless))), inDoubt, "too_large"},
		{"a late answer", root.Client("c", answers("/late", root, func(r *ocsp.Response) {
			r.ThisUpdate, r.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		})), inDoubt, "stale"},
		{"a forged answer", root.Client("c", answers("/impostor", root.Impostor(), nil)), inDoubt, "forged"},
		{"an answer for another serial", root.Client("c", answers("/serial", root, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(1) })), inDoubt, "other_certificate"},
		{"a responder that talks nonsense", root.Client("c", pki.OCSPAt(server.Handle("/nonsense", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "no")
		}))), inDoubt, "malformed"},
		{"expired", root.Client("c", outdated), inNone, "expired"},
		{"not yet valid", root.Client("c", begins), inNone, "not_yet_valid"},
		{"for servers", root.Client("c", forServers), inNone, "wrong_usage"},
		{"of an unknown CA", other.Client("c"), inNone, "unknown_ca"},
		{"self-signed", pki.SelfSigned(t, "c"), inNone, "self_signed"},
		{"a loop", loop, inNone, "loop"},
		{"100 intermediates", many, inNone, "too_many_certificates"},
		{"a name of 16 KiB", root.Client(strings.Repeat("x", 16<<10)), inNone, "bad_name"},
	}
}

// matrixEdge serves a host and a stream for each mode.
func matrixEdge(t *testing.T, root *pki.CA) *testkit.Edge {
	t.Helper()
	upstream := testkit.StartTCP(t, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nstream")
		}
	})
	const id = "0855b320-0dd2-547d-891d-000000000001"
	var policies, routes, names strings.Builder
	for _, mode := range matrixModes {
		name := strings.ReplaceAll(mode, "_", "-")
		fmt.Fprintf(&policies, "    - {name: %s, snis: [stream-%s.test], client_auth: {mode: require, ca_pem: %q, revocation: %s, revocation_timeout: 30s, ocsp_ttl: 1s}}\n", name, name, pki.PEM(root.Cert), mode)
		fmt.Fprintf(&routes, "- {name: %s, hosts: [%s.test], plugins: [{name: mtls-auth, config: {ca_certificates: [%s], skip_consumer_lookup: true, cache_ttl: 0, cert_cache_ttl: 1, revocation_check_mode: %s}}]}\n", name, name, id, strings.ToUpper(mode))
		fmt.Fprintf(&names, "stream-%s.test, ", name)
	}
	return testkit.StartEdge(t, fmt.Sprintf(`node:
  revocation_servers: [127.0.0.0/8]
  limits: {header_timeout: 60s}
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: tls, address: "127.0.0.1:0", serve: tls}
  tls:
    policies:
%s
ca_certificates: [{id: %s, cert: %q}]
plugins: [{name: request-termination, config: {status_code: 200, message: in}}]
routes:
%s
services:
- {name: stream, url: "tcp://%s", routes: [{name: stream, protocols: [tls], snis: [%s]}]}
`, policies.String(), id, pki.PEM(root.Cert), routes.String(), upstream, strings.TrimSuffix(names.String(), ", ")))
}

// matrixFiles writes what openssl's client and curl take of a client.
func matrixFiles(t *testing.T, who pki.Pair) (openssl, curl []string) {
	t.Helper()
	cert, key := certificateFiles(t, who)
	openssl = []string{"-cert", cert, "-key", key}
	if len(who.Middle) > 0 {
		var b []byte
		for _, c := range who.Middle {
			b = append(b, pki.PEM(c)...)
		}
		chain := filepath.Join(t.TempDir(), "chain.pem")
		if err := os.WriteFile(chain, b, 0o600); err != nil {
			t.Fatal(err)
		}
		openssl = append(openssl, "-cert_chain", chain)
	}
	return openssl, []string{"--cert", cert, "--key", key}
}

const letIn = "HTTP/1.1 200 OK"

// TestIntegrationClientCertificates holds every kind of client's certificate
// against every mode of revocation, for HTTP and for streams, in a full handshake
// and in a resumed one, with openssl's client and curl.
func TestIntegrationClientCertificates(t *testing.T) {
	t.Parallel()
	root := pki.NewCA(t, "Root")
	kinds := matrixKinds(t, root)
	e := matrixEdge(t, root)
	for _, kind := range kinds {
		for i, mode := range matrixModes {
			t.Run(kind.name+"/"+mode, func(t *testing.T) {
				host := strings.ReplaceAll(mode, "_", "-") + ".test"
				openssl, curl := matrixFiles(t, kind.who)
				matrixHTTP(t, e, host, openssl, append(curl, "-A", kind.name), kind.in[i], resumes(kind.who))
				said := len(e.Log.String())
				matrixStream(t, e, "stream-"+host, openssl, kind.in[i])
				matrixTold(t, e, said, &kind, i)
			})
		}
	}
	matrixLines(t, e, kinds)
}

// matrixTold expects that the log says, from some place on, why a stream's client
// is refused, or passes though nobody says whether its certificate is revoked.
func matrixTold(t *testing.T, e *testkit.Edge, from int, kind *matrixKind, mode int) {
	t.Helper()
	var want []string
	switch {
	case !kind.in[mode] && kind.in == inDoubt:
		want = []string{"shaking hands with a stream's client", "reason=tls_handshake", "client certificate refused: revocation_unknown", kind.why}
	case !kind.in[mode]:
		want = []string{"shaking hands with a stream's client", "reason=tls_handshake", "client certificate refused: " + kind.why}
	case kind.in == inDoubt && mode > 0:
		want = []string{"a client passes of whom nobody says", "reason=" + kind.why}
	}
	eventually(t, fmt.Sprintf("a line of the log with %q", want), func() bool {
		for line := range strings.Lines(e.Log.String()[from:]) {
			if !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(line, part) }) {
				return true
			}
		}
		return len(want) == 0
	})
}

// matrixLines holds the access log against what each client's lines are to tell.
// curl comes first, with the kind's name; what follows for the host is openssl's.
func matrixLines(t *testing.T, e *testkit.Edge, kinds []matrixKind) {
	t.Helper()
	e.Stop()
	var kind *matrixKind
	lines := make(map[string]int)
	for _, text := range e.AccessLog() {
		var line struct {
			Request struct {
				Headers map[string]string
				TLS     struct {
					Verify string `json:"client_verify"`
				}
			}
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		r := &line.Request
		for i := range kinds {
			if r.Headers["user-agent"] == kinds[i].name {
				kind = &kinds[i]
			}
		}
		mode := slices.IndexFunc(matrixModes[:], func(mode string) bool {
			return strings.HasPrefix(r.Headers["host"], strings.ReplaceAll(mode, "_", "-")+".test")
		})
		if mode < 0 {
			continue // a stream
		}
		if want := kind.verify(mode); r.TLS.Verify != want {
			t.Errorf("%s/%s: the access log tells %q, want %q", kind.name, matrixModes[mode], r.TLS.Verify, want)
		}
		lines[kind.name+"/"+matrixModes[mode]]++
	}
	for i := range kinds {
		for _, mode := range matrixModes {
			if n := lines[kinds[i].name+"/"+mode]; n < 2 || resumes(kinds[i].who) && n != 3 {
				t.Errorf("%s/%s: %d lines of the access log, want one for each request", kinds[i].name, mode, n)
			}
		}
	}
}

// resumes reports whether a client can come back with its session. crypto/tls
// begins a new one if the certificate's time is over, and a ticket with 16 KiB of
// certificates in it makes for a hello that is too long.
func resumes(who pki.Pair) bool {
	size := 0
	for _, c := range who.Chain() {
		size += len(c.Raw)
	}
	return time.Now().Before(who.Cert.NotAfter) && size < 16<<10
}

// matrixHTTP asks for /, with a new session and with one that is resumed if it
// can be.
func matrixHTTP(t *testing.T, e *testkit.Edge, host string, openssl, curl []string, in, again bool) {
	t.Helper()
	code, line := "401", "HTTP/1.1 401 Unauthorized"
	if in {
		code, line = "200", letIn
	}
	says(t, code, "curl", append(curl, "-sSk", "--connect-to", "::127.0.0.1:", "-o", "/dev/null", "-w", "%{http_code}", fmt.Sprintf("https://%s:%d/", host, e.Port("https")))...)
	session := filepath.Join(t.TempDir(), "session")
	got := opensslClient(t, e.At("https"), host, append(openssl, "-sess_out", session)...)
	if resumed(t, got) || !strings.Contains(got, line) {
		t.Errorf("HTTP, full: openssl does not print %q:\n%s", line, got)
	}
	got = opensslClient(t, e.At("https"), host, append(openssl, "-sess_in", session)...)
	switch {
	case again && (!resumed(t, got) || !strings.Contains(got, line)):
		t.Errorf("HTTP, resumed: openssl does not print %q:\n%s", line, got)
	case !again && (in || strings.Contains(got, letIn) || strings.Contains(got, "\nReused, TLSv1.")):
		t.Errorf("HTTP, with a session that cannot be resumed: openssl prints:\n%s", got)
	}
}

func matrixStream(t *testing.T, e *testkit.Edge, name string, openssl []string, in bool) {
	t.Helper()
	session := filepath.Join(t.TempDir(), "session")
	got := opensslClient(t, e.At("tls"), name, append(openssl, "-sess_out", session)...)
	if strings.Contains(got, letIn) != in || !in && !strings.Contains(got, "alert") {
		t.Errorf("stream, full: let in, want %v; openssl prints:\n%s", in, got)
	}
	if !in {
		return // there is no session
	}
	if got = opensslClient(t, e.At("tls"), name, append(openssl, "-sess_in", session)...); !resumed(t, got) || !strings.Contains(got, letIn) {
		t.Errorf("stream, resumed: openssl prints:\n%s", got)
	}
}

// TestIntegrationRevokedSince resumes sessions of a client whose certificate has
// been revoked since they began: what the handshake once found counts no more.
func TestIntegrationRevokedSince(t *testing.T) {
	t.Parallel()
	root := pki.NewCA(t, "Root")
	responder := root.StartOCSP(t)
	who := root.Client("c", pki.OCSPAt(responder.URL))
	responder.Good(who.Cert)
	e := matrixEdge(t, root)
	openssl, _ := matrixFiles(t, who)
	for _, tt := range []struct{ listener, name string }{
		{"https", "strict.test"},
		{"tls", "stream-strict.test"},
	} {
		session := filepath.Join(t.TempDir(), "session")
		resume := func() string {
			return opensslClient(t, e.At(tt.listener), tt.name, append(openssl, "-sess_in", session)...)
		}
		responder.Good(who.Cert)
		deadline := time.Now().Add(time.Minute)
		for !strings.Contains(opensslClient(t, e.At(tt.listener), tt.name, append(openssl, "-sess_out", session)...), letIn) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: a good client is not let in", tt.name)
			}
		}
		if got := resume(); !resumed(t, got) || !strings.Contains(got, letIn) {
			t.Fatalf("%s: a good session is not resumed:\n%s", tt.name, got)
		}
		responder.Revoke(who.Cert)
		for strings.Contains(resume(), letIn) { // what is known of it counts for a moment
			if time.Now().After(deadline) {
				t.Fatalf("%s: a session of a revoked certificate is resumed and let in", tt.name)
			}
		}
	}
}
