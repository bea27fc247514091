package edge_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// nameOf reads the PROXY header that a stream begins with, and answers with the
// common name that it tells.
func nameOf(c net.Conn) {
	h, err := proxyproto.Read(bufio.NewReader(c))
	if err != nil {
		return
	}
	list, err := h.TLVs()
	if err != nil {
		return
	}
	for _, e := range list {
		if e.Type != proxyproto.PP2_TYPE_SSL || len(e.Value) < 5 {
			continue
		}
		client, rest := e.Value[0], e.Value[5:]
		for len(rest) >= 3 {
			n := int(rest[1])<<8 | int(rest[2])
			if rest[0] == byte(proxyproto.PP2_SUBTYPE_SSL_CN) {
				fmt.Fprintf(c, "hello %s %#x %x\n", rest[3:3+n], client, e.Value[1:5])
			}
			rest = rest[3+n:]
		}
	}
}

// TestIntegrationMTLSExample runs examples/mtls.yaml with curl and openssl as
// clients: each kind of certificate on each kind of name, with full and with
// resumed handshakes.
func TestIntegrationMTLSExample(t *testing.T) {
	t.Parallel()
	web := testkit.LastingAddr(t)
	testkit.StartNginxConf(t, fmt.Sprintf(`
server { listen %s; return 200 "$http_x_consumer_username|$http_x_anonymous_consumer|$http_x_client_cert_dn|$http_x_client_cert_serial"; }
`, web), web)
	src, err := os.ReadFile("../examples/mtls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	redis := testkit.LastingAddr(t)
	text := string(src)
	for _, swap := range [][2]string{
		{`":8443"`, `"127.0.0.1:0"`},
		{`":6380"`, `"` + redis + `"`},
		{`port: 6380`, `port: ` + portOf(t, redis)},
		{`127.0.0.1:6379`, testkit.StartTCP(t, nameOf)},
		{`127.0.0.1:9000`, web},
	} {
		if !strings.Contains(text, swap[0]) {
			t.Fatalf("the example has no %q", swap[0])
		}
		text = strings.ReplaceAll(text, swap[0], swap[1])
	}
	e := testkit.StartEdge(t, text)
	const refused = `{"message":"TLS certificate failed verification"`
	tests := []struct{ cert, api, internal, stream string }{
		{"joe", "joe.example|||", "||CN=joe,O=Shop\\, Inc.|1004", "hello joe 0x7 00000000"},
		{"ann", "billing|||", "||CN=ann,O=Shop\\, Inc.|1005", ""},
		{"nobody", "guest|true||", "||CN=nobody,O=Shop\\, Inc.|", ""},
		{"below", "guest|true||", "||CN=below,O=Shop\\, Inc.|", ""},
		{"alone", "guest|true||", refused, ""},
		{"stranger", "guest|true||", refused, ""},
		{"selfsigned", "guest|true||", refused, ""},
		{"expired", "guest|true||", refused, ""},
		{"early", "guest|true||", refused, ""},
		{"server", "guest|true||", refused, ""},
		{"", "guest|true||", `{"message":"No required TLS certificate was sent"`, ""},
	}
	for _, tt := range tests {
		t.Run("certificate "+tt.cert, func(t *testing.T) {
			var show []string
			if tt.cert != "" {
				path := filepath.Join("../internal/testkit/clients", tt.cert+".pem")
				show = []string{"-cert", path, "-key", path}
				if tt.cert == "below" {
					show = append(show, "-cert_chain", path)
				}
			}
			port := fmt.Sprint(e.Port("https"))
			for host, want := range map[string]string{"api.example.com": tt.api, "internal.example.com": tt.internal, "www.example.com": "|||"} {
				args := []string{"-sk", "--connect-to", host + "::127.0.0.1:" + port, "https://" + host + "/"}
				if tt.cert != "" {
					args = append(args, "--cert", show[1], "--key", show[3])
				}
				// A second request comes by the connection of the first.
				if got := testkit.Curl(t, append(args, args[3])...); !strings.HasPrefix(got, want) || strings.Count(got, want) < 2 {
					t.Errorf("%s: curl prints %q, want %q twice", host, got, want)
				}
			}
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				session := filepath.Join(t.TempDir(), "session")
				for i, with := range []string{"-sess_out", "-sess_in"} {
					if i == 1 {
						if _, err := os.Stat(session); err != nil {
							if tt.stream != "" {
								t.Error("no session came")
							}
							break // who was refused has none
						}
					}
					got := openStream(t, redis, append([]string{version, with, session}, show...)...)
					want := tt.stream
					if i == 1 && want != "" {
						want = strings.Replace(want, "0x7", "0x5", 1) // shown when the session began
					}
					if want == "" && strings.Contains(got, "hello") || !strings.Contains(got, want) {
						t.Errorf("stream, %s %s: openssl prints %q, want %q", version, with, got, want)
					}
				}
			}
		})
	}
}

// openStream returns what openssl's client prints of a stream that the other side
// ends. Its exit status tells of a handshake that failed, which is a result too.
func openStream(t *testing.T, at string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_client", "-connect", at, "-ign_eof", "-servername", "redis.example.com"}, args...)...)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal("openssl did not run: install it (Debian: apt install openssl)")
	}
	return string(out)
}
