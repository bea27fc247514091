package edge_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/zone"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

// TestIntegrationACMERenewalInfo shows that certificates are of the profile that is
// asked for, and are replaced when their authority says so, also by revoking one.
func TestIntegrationACMERenewalInfo(t *testing.T) {
	t.Parallel()
	const week = 160 * time.Hour
	r := newACMERig(t, testkit.PebbleOptions{Profiles: map[string]time.Duration{"shortlived": week}})
	conf := r.yaml(true, "domains: [web.test]", "profile: shortlived")
	roots := r.pebble.Issuers()
	e := testkit.StartEdge(t, conf)
	first := served(t, e, roots, "web.test")
	if life := first.NotAfter.Sub(first.NotBefore).Round(time.Hour); life != week {
		t.Errorf("the certificate is for %v, want %v", life, week)
	}
	e.Stop()

	r.pebble.Renew(first, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	e = testkit.StartEdge(t, conf)
	second := servedNext(t, e, r, first)
	e.Stop()

	r.revoke(e, conf, "web.test")
	if s := r.pebble.Status(second); s != "Revoked" {
		t.Fatalf("the authority says %q", s)
	}
	e = testkit.StartEdge(t, conf)
	servedNext(t, e, r, second)
	if n := r.pebble.Orders(); n != 3 {
		t.Errorf("there were %d orders, want 3", n)
	}
}

// TestIntegrationACMENoProfile shows what is told of a profile that the authority does
// not have.
func TestIntegrationACMENoProfile(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	e := testkit.StartEdge(t, r.yaml(true, "domains: [web.test]", "profile: forever"))
	for until := time.Now().Add(orderTime); ; time.Sleep(10 * time.Millisecond) {
		if p := e.Status().ACME.Problems; len(p) == 1 {
			if !strings.Contains(p[0].Error, "forever") {
				t.Errorf("the status tells %+v", p)
			}
			return
		}
		if time.Now().After(until) {
			t.Fatalf("nothing is told\n%s", e.Log)
		}
	}
}

// TestIntegrationACMEFollowed has names proved by records that are set where a CNAME
// leads to, by updates and by a program, one of which has a wildcard.
func TestIntegrationACMEFollowed(t *testing.T) {
	t.Parallel()
	r := newACMERig(t, testkit.PebbleOptions{})
	host, port, _ := strings.Cut(r.zone.Addr, ":")
	program := filepath.Join(t.TempDir(), "set-record")
	script := fmt.Sprintf(`#!/bin/sh
case $BULWARK_ACME_ACTION in
present) change="add $BULWARK_ACME_RECORD 60 TXT $BULWARK_ACME_VALUE" ;;
cleanup) change="delete $BULWARK_ACME_RECORD 60 TXT $BULWARK_ACME_VALUE" ;;
esac
printf 'server %s %s\nzone test.\nupdate %%s\nsend\n' "$change" | exec nsupdate -v -y hmac-sha256:%s:%s
`, host, port, zone.KeyName, zone.Key)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r.zone.Lead("_acme-challenge.web.test", "web.proofs.test")
	for _, tt := range []struct{ name, dns string }{
		{"rfc2136", fmt.Sprintf("rfc2136: {server: %q, key_name: %s, key: %q}", r.zone.Addr, zone.KeyName, zone.Key)},
		{"exec", fmt.Sprintf("exec: [%q], resolvers: [%q]", program, r.zone.Addr)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.storage = filepath.Join(t.TempDir(), "acme")
			before := len(r.zone.Updates())
			e := testkit.StartEdge(t, r.yaml(true, "domains: ['*.web.test']", "challenges: [dns-01]", fmt.Sprintf("dns: {%s, cname_resolvers: [%q]}", tt.dns, r.zone.Addr)))
			served(t, e, r.pebble.Issuers(), "any.web.test")
			if got := strings.Join(r.zone.Updates()[before:], " "); got != "+web.proofs.test. -web.proofs.test." {
				t.Errorf("the updates are %q", got)
			}
			e.Stop()
		})
	}
}

// revoke has a certificate revoked behind the back of those who use the storage.
func (r *acmeRig) revoke(e *testkit.Edge, conf, name string) {
	t := r.t
	t.Helper()
	cfg, err := e.Load(conf)
	if err != nil {
		t.Fatal(err)
	}
	terms, err := edge.Terms(cfg, catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(t.TempDir(), "acme")
	if err := os.CopyFS(aside, os.DirFS(r.storage)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	records, err := file.OpenRecords(aside)
	if err != nil {
		t.Fatal(err)
	}
	o := issuer.Options{Product: "bulwark/test", Log: slog.New(slog.DiscardHandler)}
	if err := issuer.Revoke(t.Context(), records, terms, name, issuer.ReasonKeyCompromise, o); err != nil {
		t.Fatal(err)
	}
}
