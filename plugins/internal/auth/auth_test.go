package auth_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// Two plugins that recognise clients: where both have an anonymous consumer the
// first that does settles it, else each must.
func TestComposition(t *testing.T) {
	const ca, other = "0855b320-0dd2-547d-891d-601e9b38647f", "0855b320-0dd2-547d-891d-601e9b386480"
	tests := []struct {
		name          string
		mtls, header  string // configuration beside the authorities
		shown, told   string // certificates in the handshake and in the field; "": none
		status        int
		username, who string // what the upstream is told
	}{
		{"both must, and do", "", "", "joe", "stranger", 200, "ann", ""},
		{"both must, the first does not", "", "", "", "stranger", 401, "", ""},
		{"both must, the second does not", "", "", "joe", "", 401, "", ""},
		{"either may, the first does", "anonymous: guest", "anonymous: guest", "joe", "stranger", 200, "joe", ""},
		{"either may, the second does", "anonymous: guest", "anonymous: guest", "", "stranger", 200, "ann", ""},
		{"either may, and neither does", "anonymous: guest", "anonymous: guest", "", "joe", 200, "guest", "true"},
		{"the first may, the second must", "anonymous: guest", "", "", "stranger", 200, "ann", ""},
		{"the first may, the second must and does not", "anonymous: guest", "", "joe", "", 401, "", ""},
		{"the second has no consumer, and the first has made it the anonymous one", "anonymous: guest", "anonymous: guest, skip_consumer_lookup: true", "", "stranger", 200, "", ""},
		{"the first has no consumer", "anonymous: guest, skip_consumer_lookup: true", "anonymous: guest", "joe", "stranger", 200, "", ""},
	}
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("X-Consumer-Username"), strings.Join(r.Header.Values("X-Anonymous-Consumer"), ","))
	})
	server := httptest.NewServer(origin)
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	quote := func(name string) string {
		text, err := testkit.ClientPEM(name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", text)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, fmt.Sprintf(`
ca_certificates: [{id: %s, cert: %s}, {id: %s, cert: %s}]
consumers:
  - {username: joe}
  - {username: ann, header_cert_auth_credentials: [{subject_name: joe.example}]}
  - {username: guest}
services: [{name: shop, url: "http://%s", routes: [{name: shop, hosts: [shop.test]}]}]
plugins:
  - {name: mtls-auth, config: {ca_certificates: [%s], %s}}
  - {name: header-cert-auth, config: {ca_certificates: [%s], certificate_header_name: X-Cert, certificate_header_format: url_encoded, secure_source: false, %s}}
`, ca, quote("ca"), other, quote("other"), addr, ca, tt.mtls, other, tt.header))
			cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test"}
			if tt.shown != "" {
				cfg.GetClientCertificate = testkit.ClientCertificate(tt.shown)
			}
			transport := &http.Transport{TLSClientConfig: cfg}
			defer transport.CloseIdleConnections()
			r, err := http.NewRequest(http.MethodGet, "https://"+e.At("https").String()+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "shop.test"
			if tt.told != "" {
				text, err := testkit.SpellClient(tt.told, "url")
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Cert", text)
			}
			answer, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			got, want := fmt.Sprint(answer.StatusCode), fmt.Sprint(tt.status)
			if tt.status == 200 {
				got, want = got+" "+string(body), want+" "+tt.username+"|"+tt.who
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			transport.CloseIdleConnections()
			e.Stop()
			var line struct{ Consumer struct{ Username string } }
			if err := json.Unmarshal([]byte(e.AccessLog()[0]), &line); err != nil {
				t.Fatal(err)
			}
			if tt.status == 200 && line.Consumer.Username != tt.username {
				t.Errorf("the access log tells of the consumer %q, want %q", line.Consumer.Username, tt.username)
			}
		})
	}
}
