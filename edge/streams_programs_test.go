package edge_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
)

// run runs a program and returns what it prints and its error.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// says runs a program and holds what it prints against want.
func says(t *testing.T, want, name string, args ...string) {
	t.Helper()
	if got, err := run(t, name, args...); err != nil || got != want {
		t.Errorf("%s %q prints %q, %v, want %q", name, args, got, err, want)
	}
}

// portOf returns the port of an address.
func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// writePEM writes a certificate and its key to files.
func writePEM(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certText, keyText := makeCertificate(t, names...)
	for path, text := range map[string]string{cert: certText, key: keyText} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// programs are the servers behind examples/streams.yaml, and the example on
// ports that are free.
type programs struct {
	*testkit.Edge
	text     string // the example
	port     string // of HTTPS, all streams over TLS, and QUIC
	postgres string
	dns      string
	ca       string // the certificate of who is passed through to
	h3       int    // the process of the HTTP/3 server
}

func startPrograms(t *testing.T) *programs {
	t.Helper()
	p := &programs{postgres: testkit.LastingAddr(t), dns: testkit.LastingAddr(t)}
	cert, key := writePEM(t, "pass.example.com", "*.pass.example.com")
	p.ca = cert
	pass, web := testkit.LastingAddr(t), testkit.LastingAddr(t)
	testkit.StartNginxConf(t, fmt.Sprintf(`
server { listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; return 200 "passed to $ssl_server_name"; }
server { listen %s; return 200 "web over $http_x_forwarded_proto"; }
`, pass, cert, key, web), web)
	p.h3 = startH3(t, pass, cert, key)
	redis := testkit.StartRedis(t)
	names := testkit.StartDnsmasq(t, "192.0.2.7 host.test\n")
	src, err := os.ReadFile("../examples/streams.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.text = string(src)
	https := testkit.LastingAddr(t)
	p.port = portOf(t, https)
	for _, swap := range [][2]string{
		{`":8443"`, `"` + https + `"`},
		{`":5432"`, `"` + p.postgres + `"`},
		{`port: 5432`, `port: ` + portOf(t, p.postgres)},
		{`":5353"`, `"` + p.dns + `"`},
		{`port: 5353`, `port: ` + portOf(t, p.dns)},
		{`127.0.0.1:9443`, pass},
		{`127.0.0.1:6379`, redis},
		{`127.0.0.1:15432`, redis},
		{`127.0.0.1:53`, names.Addr},
		{`127.0.0.1:9000`, web},
	} {
		if !strings.Contains(p.text, swap[0]) {
			t.Fatalf("the example has no %q", swap[0])
		}
		p.text = strings.ReplaceAll(p.text, swap[0], swap[1])
	}
	p.Edge = testkit.StartEdge(t, p.text)
	return p
}

// stop ends the edge without waiting for flows that would still be silent for
// long.
func (p *programs) stop(t *testing.T) {
	t.Helper()
	if err := p.Use("node: {listeners: [], drain: 0s}"); err != nil {
		t.Error(err)
	}
	p.Stop()
}

// TestIntegrationStreams runs examples/streams.yaml with real servers and
// clients: on one port TLS that is passed through, TLS that ends here in front of
// redis, HTTPS, and HTTP/3 that is passed through to another process; beside it
// plain TCP, and DNS over both transports.
func TestIntegrationStreams(t *testing.T) {
	p := startPrograms(t)
	defer p.stop(t)
	https := p.At("https").String()
	url := func(name string) []string {
		return []string{"--resolve", name + ":" + p.port + ":127.0.0.1", "https://" + name + ":" + p.port + "/"}
	}
	for _, name := range []string{"pass.example.com", "a.pass.example.com"} {
		if got := testkit.Curl(t, append(url(name), "--cacert", p.ca)...); got != "passed to "+name {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got, err := run(t, "openssl", "s_client", "-connect", https, "-servername", "pass.example.com", "-CAfile", p.ca, "-verify_return_error", "-brief"); err != nil || !strings.Contains(got, "Verification: OK") {
		t.Errorf("the certificate of who is passed through to: %v\n%s", err, got)
	}
	if got := testkit.Curl(t, append(url("www.example.com"), "-k")...); got != "web over https" {
		t.Errorf("HTTPS: got %q", got)
	}

	large := strings.Repeat("x", 100_000)
	for _, name := range []string{"pass.example.com", "a.pass.example.com"} {
		want := fmt.Sprintf("HTTP/3.0 %s by process %d\n%s", name, p.h3, large)
		if got := askH3(t, p.At("quic"), p.ca, "https://"+name+"/", large); got != want {
			t.Errorf("%s by HTTP/3: got %.200q, want %.200q", name, got, want)
		}
	}

	over := []string{"--tls", "--insecure", "--sni", "redis.example.com", "-p", p.port}
	says(t, "OK", "redis-cli", append(over, "set", "key", "value over TLS")...)
	says(t, "value over TLS", "redis-cli", "-p", portOf(t, p.postgres), "get", "key")
	says(t, "OK", "redis-cli", append(over, "set", "large", large)...)
	says(t, large, "redis-cli", append(over, "get", "large")...)

	for _, how := range []string{"+notcp", "+tcp"} {
		says(t, "192.0.2.7", "dig", "@127.0.0.1", "-p", portOf(t, p.dns), how, "+short", "+tries=1", "host.test", "A")
	}
	counted := map[string]string{
		`bulwark_stream_sessions_total{listener="dns-udp",protocol="udp"}`: "1",
		`bulwark_stream_sessions_total{listener="dns-tcp",protocol="tcp"}`: "1",
		// By the one answer that a query is due; else it would last for seconds.
		`bulwark_stream_sessions_active{listener="dns-udp",protocol="udp"}`:           "0",
		`bulwark_stream_sessions_total{listener="https",protocol="tls"}`:              "3",
		`bulwark_stream_sessions_total{listener="https",protocol="tls_passthrough"}`:  "3",
		`bulwark_stream_sessions_active{listener="https",protocol="tls_passthrough"}`: "0",
		`bulwark_stream_sessions_total{listener="quic",protocol="tls_passthrough"}`:   "2",
	}
	for line, want := range counted {
		eventually(t, line+" to be "+want, func() bool { return metric(p.Edge, line) == want })
	}

	// Where no HTTPS is served a name without a route is refused by TLS's alert.
	const only = "    - {name: only, address: \"127.0.0.1:0\", serve: tls}\n\nservices:\n"
	if err := p.Use(strings.Replace(p.text, "services:\n", only, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := run(t, "openssl", "s_client", "-connect", p.At("only").String(), "-servername", "other.example.com")
	if err == nil || !strings.Contains(got, "unrecognized name") || !strings.Contains(got, "alert number 112") {
		t.Errorf("a name without a route: %v\n%s", err, got)
	}
	counts(t, p.Edge, l4.ReasonNoRoute, 1)
	if got, err := run(t, "openssl", "s_client", "-connect", p.At("only").String(), "-servername", "pass.example.com", "-CAfile", p.ca, "-verify_return_error", "-brief"); err != nil {
		t.Errorf("a name with a route: %v\n%s", err, got)
	}
}

// TestIntegrationStreamsProxyProtocol has HAProxy in front and nginx behind, both
// speaking the PROXY protocol with us: nginx is told the client of HAProxy, whom
// our log names too.
func TestIntegrationStreamsProxyProtocol(t *testing.T) {
	cert, key := writePEM(t, "end.test")
	plain, secure := testkit.LastingAddr(t), testkit.LastingAddr(t)
	const answer = `return 200 "$proxy_protocol_addr $proxy_protocol_server_port";`
	testkit.StartNginxConf(t, fmt.Sprintf("server { listen %s proxy_protocol; %s }\nserver { listen %s ssl proxy_protocol; ssl_certificate %s; ssl_certificate_key %s; %[2]s }\n",
		plain, answer, secure, cert, key), plain)
	e := testkit.StartEdge(t, fmt.Sprintf(`
node:
  listeners:
    - {name: v1, address: "127.0.0.1:0", serve: tcp, proxy_protocol: [127.0.0.0/8]}
    - {name: v2, address: "127.0.0.1:0", serve: tls, proxy_protocol: [127.0.0.0/8]}
services:
  - name: plain
    url: tcp://%s
    plugins: [{name: proxy-protocol, config: {version: "1"}}]
    routes: [{name: plain, protocols: [tcp], sources: [{ip: 127.0.0.5}]}]
  - name: secure
    url: tls://%s
    plugins: [{name: proxy-protocol, config: {version: "2", tlvs: [authority, alpn, ssl]}}]
    routes: [{name: ended, protocols: [tls], snis: [end.test]}]
  - name: passed
    url: tcp://%[2]s
    plugins: [{name: proxy-protocol}]
    routes: [{name: passed, protocols: [tls_passthrough], snis: [pass.test]}]
`, plain, secure))
	ways := []struct{ listener, send, url string }{
		{"v1", "send-proxy", "http://end.test"},
		{"v1", "send-proxy-v2", "http://end.test"},
		{"v2", "send-proxy", "https://end.test"},
		{"v2", "send-proxy-v2", "https://end.test"},
		{"v2", "send-proxy", "https://pass.test"},
		{"v2", "send-proxy-v2 proxy-v2-options crc32c", "https://pass.test"},
	}
	conf := "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n"
	front := make([]string, len(ways))
	for i, w := range ways {
		front[i] = testkit.LastingAddr(t)
		conf += fmt.Sprintf("listen l%d\n  bind %s\n  server s %s %s\n", i, front[i], e.At(w.listener), w.send)
	}
	testkit.StartHAProxy(t, conf, front[len(front)-1])
	for i, w := range ways {
		t.Run(fmt.Sprintf("%s by %s", w.url, w.send), func(t *testing.T) {
			port := portOf(t, front[i])
			_, name, _ := strings.Cut(w.url, "://")
			got := testkit.Curl(t, "-k", "--interface", "127.0.0.5", "--resolve", name+":"+port+":127.0.0.1", w.url+":"+port+"/")
			if want := "127.0.0.5 " + port; got != want {
				t.Errorf("nginx is told %q, want %q", got, want)
			}
		})
	}
	e.Stop()
	served := 0
	for _, l := range e.AccessLog() {
		if strings.Contains(l, `"client_ip":"127.0.0.5"`) && strings.Contains(l, `"status":200`) {
			served++
		}
	}
	if served != len(ways) {
		t.Errorf("%d streams are logged as the client's, want %d:\n%s", served, len(ways), strings.Join(e.AccessLog(), "\n"))
	}
}
