package edge_test

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// standingTime is the patience for something that is to end.
const standingTime = 3 * time.Minute

// held is openssl's client with a connection that it keeps open.
type held struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Reader
	kill func() error
	done chan struct{}
}

// holdOpen opens a connection with openssl, sends first, and waits until the
// upstream has answered.
func holdOpen(t *testing.T, at netip.AddrPort, name string, who pki.Pair, first string, args ...string) *held {
	t.Helper()
	var show []string // nothing
	if who.Cert != nil {
		show, _ = matrixFiles(t, who)
	}
	args = append(args, "s_client", "-quiet", "-connect", at.String(), "-servername", name)
	cmd := exec.CommandContext(t.Context(), "openssl", append(args, show...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install openssl (Debian: apt install openssl)", err)
	}
	h := &held{t, in, bufio.NewReader(out), cmd.Process.Kill, make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-h.done
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		select {
		case <-h.done:
		default:
			close(h.done)
		}
		<-ended
	})
	h.say(first)
	for line := ""; line != "ready\n"; {
		if line, err = h.line(); err != nil {
			t.Fatalf("%s: no connection: %v", name, err)
		}
	}
	return h
}

func (h *held) say(text string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, text); err != nil {
		h.t.Fatal(err)
	}
}

// line reads a line. The process is ended when none comes in time.
func (h *held) line() (string, error) {
	late := time.AfterFunc(standingTime, func() { _ = h.kill() })
	defer late.Stop()
	return h.out.ReadString('\n')
}

// goesOn fails unless the connection still carries bytes both ways.
func (h *held) goesOn(what string) {
	h.t.Helper()
	h.say("are you there\n")
	if line, err := h.line(); line != "are you there\n" {
		h.t.Errorf("%s: got %q, %v", what, line, err)
	}
}

// ends fails unless the connection is ended.
func (h *held) ends(what string) {
	h.t.Helper()
	over := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, h.out)
		over <- err
	}()
	select {
	case <-over:
		close(h.done)
	case <-time.After(standingTime):
		h.t.Fatalf("%s: the connection goes on", what)
	}
}

// echo answers with what it gets, after a greeting; of a POST in an answer as long as
// what is sent, of a GET within a switch of protocols.
func echo(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	switch b, _ := in.Peek(4); string(b) {
	case "GET ", "POST":
		head := "HTTP/1.1 200 OK\r\n\r\n"
		if string(b) == "GET " {
			head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		}
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(c, head)
	default:
		if _, err := in.Discard(4); err != nil {
			return
		}
	}
	_, _ = io.WriteString(c, "ready\n")
	_, _ = io.Copy(c, in)
}

// standingRig is an edge with a stream and with tunnels for clients of an
// authority.
type standingRig struct {
	t        *testing.T
	ca       *pki.CA
	dir      string
	upstream string
	edge     *testkit.Edge
}

// standingConfig is what a reload changes.
type standingConfig struct {
	lister    *pki.CA             // who signs the revocation list
	unlisted  bool                // the policies do not look at it
	roots     []*x509.Certificate // of the policies; the first also of the plugin
	consumers string
	route     string // the name of the tunnels' route
	plugin    bool
	more      string // of the plugin
	policy    string // more of the policies
	extra     string // a route that nobody uses
}

func newStandingRig(t *testing.T) *standingRig {
	r := &standingRig{t: t, ca: pki.NewCA(t, "Ours"), dir: t.TempDir(), upstream: testkit.StartTCP(t, echo)}
	r.revoke(r.ca)
	return r
}

// config returns what it all begins with.
func (r *standingRig) config() standingConfig {
	return standingConfig{lister: r.ca, roots: []*x509.Certificate{r.ca.Cert}, consumers: "[{username: joe}, {username: ann}]", route: "tunnel", plugin: true}
}

// revoke writes the revocation list of a CA.
func (r *standingRig) revoke(by *pki.CA, list ...*x509.Certificate) {
	r.t.Helper()
	path := filepath.Join(r.dir, "list.crl")
	if err := os.WriteFile(path+".new", by.CRL(list), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *standingRig) use(c standingConfig) {
	r.t.Helper()
	var roots []byte
	for _, root := range c.roots {
		roots = append(roots, pki.PEM(root)...)
	}
	if !c.unlisted {
		c.policy += fmt.Sprintf(", crl_files: [%q]", filepath.Join(r.dir, "list.crl"))
	}
	const id = "0855b320-0dd2-547d-891d-000000000001"
	plugins := "[]"
	if c.plugin {
		plugins = fmt.Sprintf("[{name: mtls-auth, config: {ca_certificates: [%s], cache_ttl: 3600%s}}]", id, c.more)
	}
	yaml := fmt.Sprintf(`node:
  revocation_servers: [127.0.0.0/8]
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: tls, address: "127.0.0.1:0", serve: tls}
  tls:
    policies:
    - {name: strict, snis: [stream.test, strict.test], client_auth: {mode: require, ca_pem: %q, revocation: ignore_ca_error%s}}
ca_certificates: [{id: %s, cert: %q}]
consumers: %s
services:
- name: web
  url: http://%s
  routes:
  - {name: %s, hosts: [tunnel.test], plugins: %s, request_buffering: false, response_buffering: false}
  - {name: strict, hosts: [strict.test], request_buffering: false, response_buffering: false}
%s
- {name: stream, url: "tcp://%s", routes: [{name: stream, protocols: [tls], snis: [stream.test]}]}
`, roots, c.policy, id, pki.PEM(c.roots[0]), c.consumers, r.upstream, c.route, plugins, c.extra, r.upstream)
	if r.edge == nil {
		r.edge = testkit.StartEdge(r.t, yaml)
		return
	}
	if err := r.edge.Use(yaml); err != nil {
		r.t.Fatal(err)
	}
}

// open opens a stream, a tunnel, or an exchange that sends and is answered.
func (r *standingRig) open(kind string, who pki.Pair) *held {
	r.t.Helper()
	if kind == "stream" {
		return holdOpen(r.t, r.edge.At("tls"), "stream.test", who, "hey\n")
	}
	if name, ok := strings.CutPrefix(kind, "lasting "); ok {
		return holdOpen(r.t, r.edge.At("https"), name+".test", who,
			"POST / HTTP/1.0\r\nHost: "+name+".test\r\nContent-Length: 1000000\r\n\r\n")
	}
	return holdOpen(r.t, r.edge.At("https"), kind+".test", who,
		"GET / HTTP/1.1\r\nHost: "+kind+".test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

// logs waits for a line of the access log with all of some texts.
func (r *standingRig) logs(texts ...string) {
	r.t.Helper()
	for end := time.Now().Add(standingTime); ; time.Sleep(10 * time.Millisecond) {
		lines := r.edge.AccessLog()
		for _, line := range lines {
			has := true
			for _, text := range texts {
				has = has && strings.Contains(line, text)
			}
			if has {
				return
			}
		}
		if time.Now().After(end) {
			r.t.Fatalf("no line with %q in\n%s", texts, strings.Join(lines, "\n"))
		}
	}
}

// standingKinds are what may stand on a certificate: a stream, a tunnel and an exchange
// that lasts under a policy, and a tunnel and such an exchange by a plugin.
var standingKinds = []string{"stream", "strict", "tunnel", "lasting strict", "lasting tunnel"}

// What was let in by a client's certificate ends when a list of revoked
// certificates has it; another client's goes on.
func TestIntegrationStandingRevoked(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	r.use(r.config())
	joe, ann := r.ca.Client("joe"), r.ca.Client("ann")
	for _, kind := range []string{"stream", "strict", "lasting strict"} {
		t.Run(kind, func(t *testing.T) {
			r := &standingRig{t: t, ca: r.ca, dir: r.dir, upstream: r.upstream, edge: r.edge}
			r.revoke(r.ca)
			r.use(r.config())
			stays, goes := r.open(kind, joe), r.open(kind, ann)
			stays.goesOn("before")
			goes.goesOn("before")
			r.revoke(r.ca, ann.Cert) // which nobody tells the edge of
			goes.ends("revoked")
			stays.goesOn("another one is revoked")
			switch kind {
			case "strict":
				r.logs("client_certificate", "FAILED:revoked", "101")
			case "stream":
				r.logs("client_certificate", "FAILED:revoked")
			default:
				r.logs("client_certificate", "FAILED:revoked", "POST", `"status":200`)
			}
		})
	}
	r.edge.Stop()
	for series, want := range map[string]string{"bulwark_stream_terminations_total": "1", "bulwark_terminations_total": "2"} {
		line := series + `{reason="client_certificate"}`
		if got := metric(r.edge, line); got != want {
			t.Errorf("%s is %q, want %s", line, got, want)
		}
	}
}

// By a plugin, revocation is learned from whom the certificate names.
func TestIntegrationStandingOCSP(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	responder := r.ca.StartOCSP(t)
	joe, ann := r.ca.Client("joe", pki.OCSPAt(responder.URL)), r.ca.Client("ann", pki.OCSPAt(responder.URL))
	responder.Good(joe.Cert, ann.Cert)
	c := r.config()
	c.unlisted = true
	c.more, c.policy = ", cert_cache_ttl: 1000", ", ocsp_ttl: 1s, revocation_timeout: 30s"
	r.use(c)
	var stays, goes []*held
	for _, kind := range standingKinds {
		stays, goes = append(stays, r.open(kind, joe)), append(goes, r.open(kind, ann))
	}
	responder.Revoke(ann.Cert)
	for i, kind := range standingKinds {
		goes[i].ends(kind)
	}
	for i, kind := range standingKinds {
		stays[i].goesOn(kind)
	}
}

// What a reload changes is asked of what goes on already. Ann's certificate is revoked
// each time, so that it is known when the change was looked at.
func TestIntegrationStandingReload(t *testing.T) {
	t.Parallel()
	theirs := pki.NewCA(t, "Theirs")
	for _, tt := range []struct {
		name   string
		kinds  []string
		change func(*standingConfig)
		ends   bool
	}{
		{"nothing", standingKinds, func(*standingConfig) {}, false},
		{"another route", standingKinds, func(c *standingConfig) { c.extra = "  - {name: extra, hosts: [extra.test]}" }, false},
		{"another pool", standingKinds, func(c *standingConfig) {
			c.roots, c.lister = []*x509.Certificate{theirs.Cert}, theirs
		}, true},
		{"a larger pool", standingKinds, func(c *standingConfig) { c.roots = append(c.roots, theirs.Cert) }, false},
		{"who is let in", []string{"stream", "strict", "lasting strict"}, func(c *standingConfig) { c.policy = `, allow_sans: ["dns:ann.test"]` }, true},
		{"no consumer", []string{"tunnel", "lasting tunnel"}, func(c *standingConfig) { c.consumers = "[{username: ann}]" }, true},
		{"the anonymous one", []string{"tunnel"}, func(c *standingConfig) {
			c.consumers, c.more = "[{username: ann}]", ", anonymous: ann"
		}, true},
		{"another's", []string{"tunnel"}, func(c *standingConfig) {
			c.consumers = "[{username: ann, custom_id: joe}]"
		}, true},
		{"no route", []string{"tunnel", "lasting tunnel"}, func(c *standingConfig) { c.route = "renamed" }, true},
		{"no plugin", []string{"tunnel", "lasting tunnel"}, func(c *standingConfig) { c.plugin = false }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newStandingRig(t)
			c := r.config()
			r.use(c)
			joe, witness := r.ca.Client("joe"), r.ca.Client("ann")
			var held []*held
			for _, kind := range tt.kinds {
				held = append(held, r.open(kind, joe))
			}
			seen := r.open("stream", witness)
			tt.change(&c)
			r.revoke(c.lister, witness.Cert)
			r.use(c)
			seen.ends("the witness")
			for i, kind := range tt.kinds {
				if tt.ends {
					held[i].ends(kind)
				}
			}
			if tt.ends {
				return
			}
			// The witness may have been looked at before the others, but not in a later turn.
			another := r.ca.Client("bob")
			seen = r.open("stream", another)
			r.revoke(c.lister, witness.Cert, another.Cert)
			r.use(c)
			seen.ends("another witness")
			for i, kind := range tt.kinds {
				held[i].goesOn(kind)
			}
		})
	}
}

// What goes on ends with the certificate that it stands on.
func TestIntegrationStandingExpiry(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	r.use(r.config())
	short := r.ca.Client("joe", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Minute) })
	long := r.ca.Client("joe")
	var goes, stays []*held
	for _, kind := range standingKinds { // first, since their time runs
		goes = append(goes, r.open(kind, short))
	}
	for _, kind := range standingKinds {
		stays = append(stays, r.open(kind, long))
	}
	time.Sleep(time.Until(short.Cert.NotAfter.Add(-20 * time.Second)))
	for i, kind := range standingKinds { // so that none ends for being idle
		goes[i].goesOn(kind)
		stays[i].goesOn(kind)
	}
	for i, kind := range standingKinds {
		goes[i].ends(kind)
	}
	if time.Now().Before(short.Cert.NotAfter) {
		t.Error("it has ended before its certificate")
	}
	for i, kind := range standingKinds {
		stays[i].goesOn(kind)
	}
	r.logs("client_certificate", "FAILED:expired", "101")
}

// A client whose certificates would fill a ticket comes back all the same, also
// where the hello is looked at.
func TestIntegrationLargeChainReturns(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	r.upstream = testkit.StartTCP(t, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, letIn+"\r\n\r\nstream")
		}
	})
	r.use(r.config())
	many := func(c *x509.Certificate) {
		for i := range 225 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%04d.%s.test", i, strings.Repeat("x", 50)))
		}
	}
	show, _ := matrixFiles(t, r.ca.Client("joe", many))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(t.TempDir(), "session")
		for _, with := range []string{"-sess_out", "-sess_in"} {
			args := append([]string{version, with, session}, show...)
			if _, err := os.Stat(session); with == "-sess_in" && err != nil {
				continue // there is nothing to come back with
			}
			got := opensslClient(t, r.edge.At("tls"), "stream.test", args...)
			if resumed(t, got) || !strings.Contains(got, letIn) {
				t.Errorf("%s %s: openssl prints\n%s", version, with, got)
			}
		}
	}
}
