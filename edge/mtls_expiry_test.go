package edge_test

import (
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestMTLSExpiry lets a client's certificate expire while its connection lives: it
// was let in, and is let in no more, by a plugin and by a policy, on the same
// connection and by its session. cache_ttl would keep what was found far longer.
func TestMTLSExpiry(t *testing.T) {
	t.Parallel()
	ca := pki.NewCA(t, "Ours")
	for _, tt := range []struct {
		name, yaml, host string
		status           int
		verify           string
	}{
		{"a plugin", protected(t, []*pki.CA{ca}, ", cache_ttl: 100000, skip_consumer_lookup: true"), "shop.test", http.StatusUnauthorized, "401 FAILED:expired"},
		{"a policy", answering("  tls:\n    policies:\n"+strictPolicy(ca, ""), ""), "strict.test", http.StatusMisdirectedRequest, "421 FAILED:expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := testkit.StartEdge(t, tt.yaml)
			who := ca.Client("joe", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(20 * time.Second) })
			session := new(sessions)
			v := visitAs(t, e, tt.host, &who, session)
			v.want("while it is good", tt.host, http.StatusOK)
			got := http.StatusOK
			for end := time.Now().Add(2 * time.Minute); got == http.StatusOK && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				got = v.ask(tt.host)
			}
			if got != tt.status || time.Now().Before(who.Cert.NotAfter) {
				t.Errorf("answered %d before %v, want %d after it", got, who.Cert.NotAfter, tt.status)
			}
			if session.last == nil {
				t.Fatal("no ticket came")
			}
			again := dialAt(t, e.At("https"))
			c := visitOver(again, tt.host, &who, session)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+tt.host+"\r\nConnection: close\r\n\r\n")
			if answer, err := io.ReadAll(c); len(answer) > 0 && string(answer[9:12]) != "401" {
				t.Errorf("by its session the client is answered %q, %v", answer, err)
			}
			if told := verdicts(t, e); !slices.Contains(told, "200 SUCCESS") || !slices.Contains(told, tt.verify) {
				t.Errorf("the access log tells %q, want %q among it", told, tt.verify)
			}
		})
	}
}

// TestMTLSListChanges shows that what a plugin has found of a connection is found
// anew when a revocation list changes, whoever has it, and not before.
func TestMTLSListChanges(t *testing.T) {
	ca := pki.NewCA(t, "Ours")
	list := filepath.Join(t.TempDir(), "list.crl")
	write := func() {
		if err := os.WriteFile(list+".new", ca.CRL(nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	write()
	yaml := func(drain string) string {
		return strings.Replace(protected(t, []*pki.CA{ca}, ", cache_ttl: 100000, skip_consumer_lookup: true"), "node: {",
			"node: {drain: "+drain+", tls: {policies: ["+strings.TrimPrefix(strings.TrimSpace(strictPolicy(ca, ", crl_files: ["+list+"]")), "- ")+"]}, ", 1)
	}
	e := testkit.StartEdge(t, yaml("5s"))
	joe := ca.Client("joe")
	v := visitAs(t, e, "shop.test", &joe, nil)
	judged := func() int { return strings.Count(e.Log.String(), "a client passes of whom nobody says") }
	ask := func(when string, want int) {
		t.Helper()
		for range 3 {
			v.want(when, "shop.test", http.StatusOK)
		}
		if got := judged(); got != want {
			t.Errorf("%s: judged %d times, want %d", when, got, want)
		}
	}
	ask("at first", 1)
	if err := e.Use(yaml("6s")); err != nil {
		t.Fatal(err)
	}
	ask("after a reload", 1)
	write()
	if err := e.Use(yaml("7s")); err != nil { // which reads the list
		t.Fatal(err)
	}
	ask("with another list", 2)
}
