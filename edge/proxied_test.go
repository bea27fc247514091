package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestIntegrationHAProxyInFront lets a real HAProxy pass TCP on with PROXY
// headers of both versions, over http and https, and looks at what the upstream
// is told and whom plugins see.
func TestIntegrationHAProxyInFront(t *testing.T) {
	echo := testkit.LastingAddr(t)
	testkit.StartNginxConf(t, "server {\nlisten "+echo+";\nreturn 200 \"$http_x_forwarded_for $http_x_real_ip $http_x_forwarded_port\";\n}\n", echo)
	e := testkit.StartEdge(t, `
node:
  listeners:
    - {name: http, address: "127.0.0.1:0", proxy_protocol: [127.0.0.1]}
    - {name: https, address: "127.0.0.1:0", serve: https, proxy_protocol: [127.0.0.1]}
    - {name: strict, address: "127.0.0.1:0", serve: https, proxy_protocol: [127.0.0.1], plugins: [{name: ip-restriction, config: {deny: [127.0.0.6]}}]}
services:
  - name: shop
    url: http://`+echo+`
    routes:
      - {name: shop, paths: [/]}
      - {name: private, paths: [/private], plugins: [{name: ip-restriction, config: {allow: [127.0.0.5]}}]}
`)
	// The extensions are there so that the checksum covers some.
	ways := []struct{ name, listener, send string }{
		{"http v1", "http", "send-proxy"},
		{"http v2", "http", "send-proxy-v2"},
		{"https v1", "https", "send-proxy"},
		{"https v2", "https", "send-proxy-v2"},
		{"https v2 with extensions", "https", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl"},
		{"strict", "strict", "send-proxy-v2"},
	}
	conf := "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n"
	front := make([]string, len(ways))
	for i, w := range ways {
		front[i] = testkit.LastingAddr(t)
		conf += fmt.Sprintf("listen l%d\n  bind %s\n  unique-id-format %%{+X}o%%ci:%%cp\n  server s %s %s\n", i, front[i], e.At(w.listener), w.send)
	}
	testkit.StartHAProxy(t, conf, front[0])

	code := "%{http_code}"
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			scheme := "https"
			if w.listener == "http" {
				scheme = "http"
			}
			url := scheme + "://" + front[i]
			_, port, _ := net.SplitHostPort(front[i])
			if got, want := testkit.Curl(t, "-k", "--interface", "127.0.0.5", url+"/"), "127.0.0.5 127.0.0.5 "+port; got != want {
				t.Errorf("the upstream is told %q, want %q", got, want)
			}
			// A second request on the connection, and an address that a plugin allows.
			if got := testkit.Curl(t, "-k", "--interface", "127.0.0.5", "-o", "/dev/null", "-o", "/dev/null", "-w", code+" %{num_connects} ", url+"/", url+"/private"); got != "200 1 200 0 " {
				t.Errorf("status and connections %q", got)
			}
			if w.listener == "strict" {
				return
			}
			got := testkit.Curl(t, "-k", "--interface", "127.0.0.6", "-w", " "+code, url+"/private")
			if !strings.Contains(got, "IP address not allowed: 127.0.0.6") || !strings.HasSuffix(got, " 403") {
				t.Errorf("answer %q", got)
			}
		})
	}
	t.Run("refused before TLS", func(t *testing.T) {
		isClosed(t, dialFrom(t, "127.0.0.6", addrPort(t, front[5])))
		eventually(t, "the refusal to be counted", func() bool {
			return metric(e, `bulwark_connections_refused_total{listener="strict",reason="plugin"}`) == "1"
		})
	})
}

// TestIntegrationRealIPLikeNginx holds the client that is found against the one
// that nginx's realip module finds, for lists in which anything may stand.
func TestIntegrationRealIPLikeNginx(t *testing.T) {
	const trusted, also, six = "127.0.0.0/8", "10.0.0.0/8", "2001:db8:1::/48"
	ways := []struct {
		header    string
		recursive bool
	}{{"X-Real-IP", false}, {"X-Real-IP", true}, {"X-Forwarded-For", false}, {"X-Forwarded-For", true}, {"X-Own", true}}
	echo := testkit.LastingAddr(t)
	servers := "server {\nlisten " + echo + ";\nreturn 200 $http_x_real_ip;\n}\n"
	reference := make([]string, len(ways))
	for i, w := range ways {
		reference[i] = testkit.LastingAddr(t)
		recursive := "off"
		if w.recursive {
			recursive = "on"
		}
		servers += fmt.Sprintf("server {\nlisten %s;\nset_real_ip_from %s;\nset_real_ip_from %s;\nset_real_ip_from %s;\nreal_ip_header %s;\nreal_ip_recursive %s;\nreturn 200 $remote_addr;\n}\n",
			reference[i], trusted, also, six, w.header, recursive)
	}
	testkit.StartNginxConf(t, servers, echo)

	values := [][]string{
		nil,
		{""},
		{"203.0.113.7"},
		{"203.0.113.7, 10.0.0.2"},
		{"203.0.113.8,203.0.113.7,10.0.0.3,10.0.0.2"},
		{"203.0.113.7 10.0.0.2"},
		{"203.0.113.7 ,, 10.0.0.2"},
		{"203.0.113.7, "},
		{","},
		{", 10.0.0.2"},
		{"10.0.0.4, 10.0.0.3"},
		{"203.0.113.7, unknown, 10.0.0.2"},
		{"unknown"},
		{"203.0.113.7:80"},
		{"203.0.113.7:0"},
		{"203.0.113.7:65536"},
		{"203.0.113.7:"},
		{"2001:db8::7"},
		{"2001:DB8:0::7, 2001:db8:1::2"},
		{"[2001:db8::7]:80"},
		{"[2001:db8::7]"},
		{"fe80::1%eth0"},
		{"203.0.113.7;10.0.0.2"},
		{"203.0.113.7\t, 10.0.0.2"},
		{"203.0.113.7,\t10.0.0.2"},
		{"203.0.113.8", "203.0.113.7"},
		{"203.0.113.8", "203.0.113.7, 10.0.0.2"},
		{"203.0.113.8, 10.0.0.5", "10.0.0.3, 10.0.0.2"},
		{"203.0.113.8, unknown", "10.0.0.2"},
		{"203.0.113.8", "unknown"},
		{"203.0.113.8", ""},
		{"203.0.113.8", ", 10.0.0.2"},
		{"10.0.0.5", "10.0.0.4"},
	}
	for i, w := range ways {
		t.Run(fmt.Sprintf("%s recursive %v", w.header, w.recursive), func(t *testing.T) {
			e := testkit.StartEdge(t, fmt.Sprintf("node: {trusted_ips: [%q, %q, %q], real_ip_header: %s, real_ip_recursive: %v}\n", trusted, also, six, w.header, w.recursive)+shop(echo))
			for _, v := range values {
				head := "GET / HTTP/1.1\r\nHost: shop.test\r\n"
				for _, line := range v {
					head += w.header + ": " + line + "\r\n"
				}
				head += "\r\n"
				got, want := content(t, e.At("http").String(), head), content(t, reference[i], head)
				if got != want {
					t.Errorf("%q: client %s, nginx says %s", v, got, want)
				}
			}
		})
	}
}

// content returns the content of the answer to a request.
func content(t *testing.T, addr, head string) string {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
