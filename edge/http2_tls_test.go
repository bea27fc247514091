package edge_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestHTTP2FollowsReloads shows what becomes of connections whose clients are
// asked something else since a reload, as TestKeptConnectionFollowsReloads does
// for HTTP/1.
func TestHTTP2FollowsReloads(t *testing.T) {
	t.Parallel()
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	open := answering("  tls: {policies: [{name: p, snis: [x.test]}]}", "")
	strict := answering("  tls:\n    policies:\n"+strictPolicy(ca, ""), "")
	wider := answering("  tls:\n    policies:\n"+strictPolicy(ca, ", depth: 3"), "")
	others := answering("  tls:\n    policies:\n"+strictPolicy(other, ""), "")
	client := &tls.Config{ServerName: "strict.test", Certificates: []tls.Certificate{ca.Client("client").TLS()}}
	for _, tt := range []struct {
		name        string
		before, now string
		status      int
		on          bool
		log         []string
	}{
		{"nothing has changed", strict, strict, 200, true, []string{"200 SUCCESS", "200 SUCCESS"}},
		{"it asks now", open, strict, 421, false, []string{"200 NONE", "421 NONE"}},
		{"it asks in another way", strict, wider, 200, false, []string{"200 SUCCESS", "200 SUCCESS"}},
		{"another authority counts", strict, others, 421, false, []string{"200 SUCCESS", "421 FAILED:unknown_ca"}},
		{"it asks no more", strict, open, 200, false, []string{"200 SUCCESS", "200 SUCCESS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := testkit.StartEdge(t, tt.before)
			c := speak(t, e.At("https"), client)
			if status, _ := c.answer(c.get("strict.test")); status != 200 || c.away {
				t.Fatalf("before the reload: %d, and goes on: %v", status, !c.away)
			}
			if err := e.Use(tt.now); err != nil {
				t.Fatal(err)
			}
			if status, _ := c.answer(c.get("strict.test")); status != tt.status || c.away == tt.on {
				t.Errorf("after the reload: %d, and goes on: %v", status, !c.away)
			}
			if diff := cmp.Diff(tt.log, verdicts(t, e)); diff != "" {
				t.Errorf("the access log (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHTTP2GuardsEachRequest shows that each stream is held against what its own
// host asks of clients, and that a session that is resumed is no way around it.
func TestHTTP2GuardsEachRequest(t *testing.T) {
	t.Parallel()
	ca := pki.NewCA(t, "CA")
	e := testkit.StartEdge(t, answering("  tls:\n    policies:\n"+strictPolicy(ca, ""), ""))
	cache := tls.NewLRUClientSessionCache(8)
	for _, tt := range []struct {
		name, sni string
		certs     []tls.Certificate
		want      map[string]int
	}{
		{"without a certificate", "a.test", nil, map[string]int{"a.test": 200, "strict.test": 421, "b.test": 200}},
		{"resumed without a certificate", "a.test", nil, map[string]int{"a.test": 200, "strict.test": 421}},
		{"with one", "strict.test", []tls.Certificate{ca.Client("client").TLS()}, map[string]int{"strict.test": 200, "a.test": 421}},
		{"resumed with one", "strict.test", []tls.Certificate{ca.Client("client").TLS()}, map[string]int{"strict.test": 200, "a.test": 421}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := speak(t, e.At("https"), &tls.Config{ServerName: tt.sni, Certificates: tt.certs, ClientSessionCache: cache})
			for host, want := range tt.want {
				if status, _ := c.answer(c.get(host)); status != want {
					t.Errorf("%s is answered %d, want %d", host, status, want)
				}
			}
			if resumed := c.conn.(*tls.Conn).ConnectionState().DidResume; resumed != strings.HasPrefix(tt.name, "resumed") {
				t.Errorf("resumed: %v", resumed)
			}
		})
	}
}

// TestHTTP2WeakSuite shows that HTTP/2 is not spoken over suites that it forbids,
// although a policy allows them, and that HTTP/1 is.
func TestHTTP2WeakSuite(t *testing.T) {
	t.Parallel()
	e := testkit.StartEdge(t, answering("  tls:\n    default: old\n    policies:\n    - {name: old, ciphers: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]}\n", ""))
	for _, tt := range []struct {
		suite uint16
		weak  bool
	}{{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, true}, {tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, false}} {
		cfg := &tls.Config{ServerName: "a.test", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tt.suite}}
		c := speak(t, e.At("https"), cfg)
		if !tt.weak {
			if status, _ := c.answer(c.get("a.test")); status != 200 {
				t.Errorf("%s: answered %d", tls.CipherSuiteName(tt.suite), status)
			}
			continue
		}
		for {
			f, err := c.fr.ReadFrame()
			c.check(err)
			if away, ok := f.(*http2.GoAwayFrame); ok {
				if away.ErrCode != http2.ErrCodeInadequateSecurity {
					t.Errorf("the connection ends by %s", away.ErrCode)
				}
				break
			}
		}
		k := keep(t, e.At("https"), cfg)
		if status, _ := k.get(t, "a.test"); status != 200 {
			t.Errorf("over HTTP/1.1 it answers %d", status)
		}
	}
}

// TestIntegrationHTTP2EarlyAnswer lets curl send content that is not wanted: it
// gets the answer, and no error, however much it has to send.
func TestIntegrationHTTP2EarlyAnswer(t *testing.T) {
	t.Parallel()
	e := testkit.StartEdge(t, http2Node+"routes: [{name: all, paths: [/], plugins: [{name: request-termination, config: {status_code: 403}}]}]\n")
	for _, url := range []string{"http://" + e.At("http").String(), "https://" + e.At("https").String()} {
		for _, size := range []int{1 << 10, 500 << 10, 3 << 20, 20 << 20} {
			path := filepath.Join(t.TempDir(), "content")
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			got := output(t, "curl", "-sSk", "--max-time", fmt.Sprint(int(patience.Seconds())), "--http2-prior-knowledge", "-o", os.DevNull, "-w", "%{http_version} %{http_code}", "--data-binary", "@"+path, url+"/")
			if got != "2 403" {
				t.Errorf("%d bytes to %s: %q", size, url, got)
			}
		}
	}
}
