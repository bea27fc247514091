package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// A connection whose listener has gone comes to no host any more where certificates
// are asked for, though it was never asked for one; else it is served to its end.
func TestListenerGoneLetsNobodyIn(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	for _, tt := range []struct {
		name, policies string
		want           int
	}{
		{"beside hosts that ask", strictPolicy(ca, ""), http.StatusMisdirectedRequest},
		{"where nobody asks", "      []\n", http.StatusOK},
	} {
		for _, serve := range []string{"https", "http"} { // of the listener that stays
			t.Run(tt.name+", "+serve, func(t *testing.T) {
				yaml := func(listener, drain string) string {
					return fmt.Sprintf(`node:
  drain: %s
  listeners: [%s]
  tls:
    policies:
%s
plugins: [{name: request-termination, config: {status_code: 200, message: in}}]
routes: [{name: all, paths: [/]}]
`, drain, listener, tt.policies)
				}
				e := testkit.StartEdge(t, yaml(`{name: https, address: "127.0.0.1:0", serve: https}`, "5s"))
				c := keep(t, e.At("https"), &tls.Config{ServerName: "open.test", InsecureSkipVerify: true})
				if got, _ := c.get(t, "open.test"); got != http.StatusOK {
					t.Fatalf("at first it is answered %d", got)
				}
				for _, drain := range []string{"5s", "6s"} {
					if err := e.Use(yaml(`{name: other, address: "127.0.0.1:0", serve: `+serve+`}`, drain)); err != nil {
						t.Fatal(err)
					}
				}
				if got, _ := c.get(t, "strict.test"); got != tt.want {
					t.Errorf("without its listener it is answered %d, want %d", got, tt.want)
				}
			})
		}
	}
}

// A tunnel that stands on the certificate in a header field ends with its consumer,
// also over plain HTTP, and the log tells why of that certificate.
func TestIntegrationStandingHeader(t *testing.T) {
	t.Parallel()
	ca := pki.NewCA(t, "Ours")
	up := testkit.StartTCP(t, echo)
	const id = "0855b320-0dd2-547d-891d-000000000001"
	yaml := func(consumers string) string {
		return fmt.Sprintf(`node:
  trusted_ips: [127.0.0.0/8]
  listeners:
  - {name: http, address: "127.0.0.1:0", serve: http}
ca_certificates: [{id: %s, cert: %q}]
consumers: %s
services:
- name: web
  url: http://%s
  routes:
  - {name: tunnel, hosts: [tunnel.test], plugins: [{name: header-cert-auth, config: {ca_certificates: [%s], certificate_header_name: x-cert, certificate_header_format: url_encoded}}]}
`, id, pki.PEM(ca.Cert), consumers, up, id)
	}
	e := testkit.StartEdge(t, yaml("[{username: joe}]"))
	shown := strings.ReplaceAll(url.QueryEscape(string(ca.Client("joe").CertPEM())), "+", "%20")
	c := dialAt(t, e.At("http"))
	if err := c.SetDeadline(time.Now().Add(standingTime)); err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: tunnel.test\r\nX-Cert: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", shown)
	b := bufio.NewReader(c)
	for line := ""; line != "ready\n"; {
		var err error
		if line, err = b.ReadString('\n'); err != nil {
			t.Fatalf("no tunnel: %v\n%s", err, e.Log)
		}
	}
	if err := e.Use(yaml("[{username: ann}]")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, b); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatal("the tunnel goes on")
	}
	r := &standingRig{t: t, edge: e}
	r.logs("client_certificate", `"header_client_verify":"FAILED:not_allowed"`)
	for _, line := range e.AccessLog() {
		if strings.Count(line, "header_client_verify") != 1 {
			t.Errorf("the verdict is not told once in %s", line)
		}
	}
}

// A policy that comes later counts for what a plugin, or nobody, has judged.
func TestIntegrationStandingPolicyLater(t *testing.T) {
	t.Parallel()
	ca, theirs := pki.NewCA(t, "Ours"), pki.NewCA(t, "Theirs")
	up := testkit.StartTCP(t, echo)
	const id = "0855b320-0dd2-547d-891d-000000000001"
	yaml := func(auth string) string {
		return fmt.Sprintf(`node:
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: tls, address: "127.0.0.1:0", serve: tls}
  tls:
    policies:
    - {name: later, snis: [stream.test, tunnel.test], client_auth: {%s}}
ca_certificates: [{id: %s, cert: %q}]
consumers: [{username: joe}]
services:
- name: web
  url: http://%s
  routes:
  - {name: tunnel, hosts: [tunnel.test], plugins: [{name: mtls-auth, config: {ca_certificates: [%s]}}]}
- {name: stream, url: "tcp://%s", routes: [{name: stream, protocols: [tls], snis: [stream.test]}]}
`, auth, id, pki.PEM(ca.Cert), up, id, up)
	}
	r := &standingRig{t: t, edge: testkit.StartEdge(t, yaml("mode: request"))}
	joe := ca.Client("joe")
	tunnel, stream := r.open("tunnel", joe), r.open("stream", joe)
	if err := r.edge.Use(yaml(fmt.Sprintf("mode: require, ca_pem: %q", pki.PEM(theirs.Cert)))); err != nil {
		t.Fatal(err)
	}
	tunnel.ends("a tunnel")
	stream.ends("a stream")
}

// Who was asked for a certificate and has shown none ends when one is required, and
// goes on while it is only asked for.
func TestIntegrationStandingRequired(t *testing.T) {
	t.Parallel()
	ca, up := pki.NewCA(t, "Ours"), testkit.StartTCP(t, echo)
	yaml := func(auth, other string) string {
		return fmt.Sprintf(`node:
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
  - {name: tls, address: "127.0.0.1:0", serve: tls}
  tls:
    policies:
    - {name: asking, snis: [stream.test, strict.test], client_auth: {%s}}
    - {name: other, snis: [tunnel.test], client_auth: {%s}}
services:
- name: web
  url: http://%s
  routes: [{name: all, paths: [/], request_buffering: false, response_buffering: false}]
- {name: stream, url: "tcp://%s", routes: [{name: stream, protocols: [tls], snis: [stream.test]}]}
`, auth, other, up, up)
	}
	require := fmt.Sprintf("mode: require, ca_pem: %q", pki.PEM(ca.Cert))
	r := &standingRig{t: t, edge: testkit.StartEdge(t, yaml("mode: request", "mode: request"))}
	var goes, stays []*held
	for _, kind := range []string{"stream", "strict", "lasting strict"} {
		goes = append(goes, r.open(kind, pki.Pair{}))
	}
	for _, kind := range []string{"tunnel", "lasting tunnel"} {
		stays = append(stays, r.open(kind, pki.Pair{}))
	}
	if err := r.edge.Use(yaml(require, fmt.Sprintf("mode: request, send_ca_dn: true, ca_pem: %q", pki.PEM(ca.Cert)))); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{"stream", "strict", "lasting strict"} {
		goes[i].ends(kind)
	}
	for _, held := range stays {
		held.goesOn("where none is required")
	}
	r.logs("client_certificate", "FAILED:no_certificate", "POST")
}

// What waits for its upstream, or for its client, ends too.
func TestIntegrationStandingWaits(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	silent := testkit.StartTCP(t, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nready\n")
			_, _ = io.Copy(io.Discard, c)
		}
	})
	c := r.config()
	c.extra = fmt.Sprintf("- {name: silent, url: \"http://%s\", read_timeout: 3600000, routes: [{name: silent, hosts: [strict.test], paths: [/silent], response_buffering: false}, {name: upload, hosts: [strict.test], paths: [/upload]}]}", silent)
	r.use(c)
	ann := r.ca.Client("ann")
	events := holdOpen(t, r.edge.At("https"), "strict.test", ann, "GET /silent HTTP/1.0\r\nHost: strict.test\r\n\r\n")
	sends := tls.Client(dialAt(t, r.edge.At("https")), &tls.Config{ServerName: "strict.test", InsecureSkipVerify: true, Certificates: []tls.Certificate{ann.TLS()}})
	if err := sends.SetDeadline(time.Now().Add(standingTime)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(sends, "PUT /upload HTTP/1.1\r\nHost: strict.test\r\nContent-Length: 100\r\n\r\nsome") // and never the rest
	r.revoke(r.ca, ann.Cert)
	events.ends("an answer that says nothing")
	if _, err := io.Copy(io.Discard, sends); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("content that does not come is waited for")
	}
	r.logs("client_certificate", "FAILED:revoked", "/silent")
	r.logs("client_certificate", "FAILED:revoked", "/upload", `"status":401`)
}

// A question that hangs keeps nobody from ending.
func TestIntegrationStandingShutdown(t *testing.T) {
	t.Parallel()
	r := newStandingRig(t)
	answers := r.ca.Answers(t, nil, nil)
	var hang atomic.Bool
	hung := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !hang.Load() {
			answers(w, q)
			return
		}
		_, _ = io.ReadAll(q.Body) // else the end of the connection is not seen
		select {
		case hung <- struct{}{}:
		default:
		}
		<-q.Context().Done()
	}))
	defer s.Close()
	c := r.config()
	c.unlisted, c.policy = true, ", ocsp_ttl: 1s, revocation_timeout: 30s"
	r.use(c)
	r.open("stream", r.ca.Client("joe", pki.OCSPAt(s.URL)))
	hang.Store(true)
	select {
	case <-hung:
	case <-time.After(standingTime):
		t.Fatal("nobody asks")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- r.edge.Edge.Shutdown(ctx) }()
	select {
	case <-over:
	case <-time.After(20 * time.Second): // a third less than the question may take
		t.Fatal("the edge does not end before the question does")
	}
}
