package edge_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// clinic is an origin that notes the probes it gets and answers them as it is
// told.
type clinic struct {
	addr string

	mu     sync.Mutex
	answer string
	conns  int      // connections accepted
	probes []string // request line, Host and X-Ward of each
	certs  int      // client certificates shown in all
	names  map[string]bool
}

// startClinic starts a clinic, over TLS if it gets a certificate.
func startClinic(t *testing.T, cert *tls.Certificate) *clinic {
	t.Helper()
	c := &clinic{answer: answer, names: make(map[string]bool)}
	c.addr = testkit.StartTCP(t, func(nc net.Conn) {
		c.mu.Lock()
		c.conns++
		c.mu.Unlock()
		if cert != nil {
			secure := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert})
			if secure.Handshake() != nil {
				return
			}
			st := secure.ConnectionState()
			c.mu.Lock()
			c.certs += len(st.PeerCertificates)
			c.names[st.ServerName] = true
			c.mu.Unlock()
			nc = secure
		}
		r, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		c.mu.Lock()
		c.probes = append(c.probes, r.Method+" "+r.RequestURI+" "+r.Host+" "+strings.Join(r.Header["X-Ward"], ","))
		text := c.answer
		c.mu.Unlock()
		_, _ = io.WriteString(nc, text)
	})
	return c
}

func (c *clinic) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.probes)
}

// visited waits for n further probes.
func (c *clinic) visited(t *testing.T, n int) {
	t.Helper()
	until := c.count() + n
	eventually(t, "probes", func() bool { return c.count() >= until })
}

// ward returns a configuration of an upstream with one target.
func ward(addr, upstream, active, more string) string {
	return fmt.Sprintf(`
services:
  - {name: ward, host: ward, protocol: https, port: 443, %s routes: [{name: ward, paths: [/]}]}
upstreams:
  - {name: ward, %s targets: [{target: %q}], healthchecks: {active: {%s, healthy: {interval: 0.03, successes: 1}, unhealthy: {interval: 0.03, http_failures: 1, tcp_failures: 1, timeouts: 3}}}}
`, more, upstream, addr, active)
}

// health returns the state of the only address and the reason of its last
// change.
func health(e *testkit.Edge) (telemetry.Health, string) {
	a := e.Upstreams()[0].Targets[0].Addresses[0]
	return a.Health, a.Reason
}

func TestActiveCheckOverHTTP(t *testing.T) {
	c := startClinic(t, nil)
	e := testkit.StartEdge(t, ward(c.addr, "host_header: ward.test,", "http_path: /pulse, headers: {x-ward: [a, b]}", ""))
	c.visited(t, 3)
	want := "GET /pulse ward.test a,b"
	if diff := cmp.Diff([]string{want, want, want}, c.probes[:3]); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	for _, step := range []struct {
		answer string
		state  telemetry.Health
		why    string
	}{
		{"HTTP/1.1 503 x\r\n\r\n", telemetry.Unhealthy, "probes: 1 answers, the last of status 503"},
		{"HTTP/1.1 302 x\r\nLocation: /elsewhere\r\n\r\n", telemetry.Healthy, "probes: 1 answers, the last of status 302"},
		{"nonsense\r\n\r\n", telemetry.Unhealthy, "probes: 1 answers, the last of status 0"},
		{answer, telemetry.Healthy, "probes: 1 answers, the last of status 200"},
		{"", telemetry.Unhealthy, "probes: 1 connection failures"},
	} {
		c.mu.Lock()
		c.answer = step.answer
		c.mu.Unlock()
		eventually(t, step.why, func() bool { state, why := health(e); return state == step.state && why == step.why })
	}
	if log := e.Log.String(); !strings.Contains(log, `msg="target became unhealthy" upstream=ward`) || !strings.Contains(log, `msg="target became healthy" upstream=ward`) {
		t.Errorf("the log does not tell the changes:\n%s", log)
	}
}

func TestActiveCheckOverTLS(t *testing.T) {
	cert, key := makeCertificate(t, "ward.test")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	const id, ca = "0855b320-0dd2-547d-891d-601e9b38647f", "9d2a3c4e-3b60-4c4e-8a5d-0f3f6a1f4b11"
	entities := fmt.Sprintf("certificates: [{id: %s, cert: %q, key: %q}]\nca_certificates: [{id: %s, cert: %q}]\n", id, cert, key, ca, cert)
	tests := []struct {
		name, upstream, active, service string
		state                           telemetry.Health
		certs                           bool
		sni                             string
	}{
		{"verified", "", "type: https, https_sni: ward.test", "ca_certificates: [" + ca + "],", telemetry.Healthy, false, "ward.test"},
		{"with our certificate", "client_certificate: " + id + ",", "type: https, https_sni: ward.test", "ca_certificates: [" + ca + "],", telemetry.Healthy, true, "ward.test"},
		{"another name", "", "type: https, https_sni: other.test", "ca_certificates: [" + ca + "],", telemetry.Unhealthy, false, ""},
		{"the target's own name", "", "type: https", "ca_certificates: [" + ca + "],", telemetry.Unhealthy, false, ""},
		{"unknown authority", "", "type: https, https_sni: ward.test", "", telemetry.Unhealthy, false, ""},
		{"not verified", "", "type: https, https_sni: other.test, https_verify_certificate: false", "", telemetry.Healthy, false, "other.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := startClinic(t, &pair)
			e := testkit.StartEdge(t, entities+ward(c.addr, tt.upstream, tt.active, tt.service))
			if tt.state == telemetry.Unhealthy {
				eventually(t, "a failed handshake", func() bool {
					state, why := health(e)
					return state == telemetry.Unhealthy && why == "probes: 1 connection failures"
				})
				if n := c.count(); n > 0 {
					t.Errorf("%d probes came through", n)
				}
				return
			}
			c.visited(t, 3)
			c.mu.Lock()
			if (c.certs > 0) != tt.certs || !c.names[tt.sni] || len(c.names) != 1 {
				t.Errorf("%d certificates, names %v; want %v, %q", c.certs, c.names, tt.certs, tt.sni)
			}
			c.mu.Unlock()
			if state, why := health(e); state != telemetry.Healthy || why != "" {
				t.Errorf("the target is %v: %s", state, why)
			}
		})
	}
}

// TestActiveCheckOfNames has a target whose name nobody but the check asks for.
func TestActiveCheckOfNames(t *testing.T) {
	c := startClinic(t, nil)
	_, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		t.Fatal(err)
	}
	testkit.StartEdge(t, ward("localhost:"+port, "", "http_path: /", ""))
	c.visited(t, 3)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.probes {
		if p != "GET / localhost " {
			t.Errorf("the probe %q does not have the target's name", p)
		}
	}
}

// TestActiveCheckOfConnections probes an origin that only has to accept.
func TestActiveCheckOfConnections(t *testing.T) {
	c := startClinic(t, nil)
	e := testkit.StartEdge(t, ward(c.addr, "", "type: tcp", ""))
	eventually(t, "connections", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.conns >= 3 })
	if state, why := health(e); state != telemetry.Healthy || why != "" || c.count() > 0 {
		t.Errorf("the target is %v: %s; %d requests came", state, why, c.count())
	}
	at := testkit.LastingAddr(t)
	if err := e.Use(ward(at, "", "type: tcp", "")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refused connection", func() bool { state, _ := health(e); return state == telemetry.Unhealthy })
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	eventually(t, "a connection", func() bool {
		state, why := health(e)
		return state == telemetry.Healthy && strings.HasPrefix(why, "probes: 1 ")
	})
}

// TestActiveCheckFollowsReloads shows that checks go on, change and end with the
// configuration.
func TestActiveCheckFollowsReloads(t *testing.T) {
	before := testkit.Goroutines()
	t.Run("reloads", func(t *testing.T) {
		c := startClinic(t, nil)
		one, two := ward(c.addr, "", "http_path: /one", ""), ward(c.addr, "", "http_path: /two", "")
		e := testkit.StartEdge(t, one)
		c.visited(t, 1)
		for i := range 20 {
			if err := e.Use(one + fmt.Sprintf("consumers: [{username: c%d}]\n", i)); err != nil {
				t.Fatal(err)
			}
		}
		c.visited(t, 3)
		if err := e.Use(two); err != nil {
			t.Fatal(err)
		}
		was := c.count() // what began before has ended
		c.visited(t, 3)
		c.mu.Lock()
		for _, p := range c.probes[was:] {
			if !strings.HasPrefix(p, "GET /two ") {
				t.Errorf("a probe of the old check came after the reload: %s", p)
			}
		}
		c.mu.Unlock()
		if err := e.Use("consumers: [{username: a}]"); err != nil {
			t.Fatal(err)
		}
		if all := e.Upstreams(); len(all) != 0 {
			t.Errorf("upstreams that are gone are told: %+v", all)
		}
	})
	if left := testkit.Leaked(before); len(left) > 0 {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	}
}

// TestUpstreamStates holds what is told of upstreams that nothing probes.
func TestUpstreamStates(t *testing.T) {
	e := testkit.StartEdge(t, `
upstreams:
  - {name: quiet, algorithm: least-connections, targets: [{target: "192.0.2.1", weight: 7}, {target: "192.0.2.2:81", weight: 0}]}
  - {name: lost, healthchecks: {passive: {unhealthy: {timeouts: 1}}}, targets: [{target: "[2001:db8::1]:82"}]}
  - {name: empty}
`)
	var got []string
	for _, u := range e.Upstreams() {
		got = append(got, fmt.Sprintf("%s %s %v", u.Name, u.Algorithm, u.Health))
		for _, g := range u.Targets {
			got = append(got, fmt.Sprintf("  %s %d weight %d %v, id %v", g.Host, g.Port, g.Weight, g.Health, g.ID != ""))
			for _, a := range g.Addresses {
				got = append(got, fmt.Sprintf("    %v weight %v %v open %d %q", a.Address, a.Weight, a.Health, a.Open, a.Reason))
			}
		}
	}
	want := []string{
		"empty round-robin HEALTHCHECKS_OFF",
		"lost round-robin HEALTHY",
		"  2001:0db8:0000:0000:0000:0000:0000:0001 82 weight 100 HEALTHY, id true",
		`    [2001:db8::1]:82 weight 100 HEALTHY open -1 ""`,
		"quiet least-connections HEALTHCHECKS_OFF",
		"  192.0.2.1 8000 weight 7 HEALTHCHECKS_OFF, id true",
		`    192.0.2.1:8000 weight 7 HEALTHCHECKS_OFF open 0 ""`,
		"  192.0.2.2 81 weight 0 HEALTHCHECKS_OFF, id true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("upstreams (-want +got):\n%s", diff)
	}
}
