package issuer

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/internal/testkit/zone"
)

func challengeOf(name string) acme.Challenge {
	return acme.Challenge{Type: "dns-01", Token: "token", KeyAuthorization: "token.thumb", Identifier: acme.Identifier{Type: "dns", Value: name}}
}

func updateOf(z *zone.Server) *Update {
	return &Update{Server: z.Addr, KeyName: zone.KeyName, Key: zone.Key, Algorithm: "hmac-sha256", TTL: 60}
}

// TestUpdate sets a record, waits until it is shown, and removes it.
func TestUpdate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(d *DNS)
		record string
	}{
		{"the server names the zone", func(*DNS) {}, "_acme-challenge.shop.test."},
		{"the zone is named", func(d *DNS) { d.Update.Zone = "test" }, "_acme-challenge.shop.test."},
		{"another name", func(d *DNS) { d.Alias = "proofs.test" }, "proofs.test."},
		{"another algorithm", func(d *DNS) { d.Update.Algorithm = "hmac-sha512" }, "_acme-challenge.shop.test."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := zone.Start(t)
			d := &DNS{Update: updateOf(z), Timeout: patience}
			tt.change(d)
			p := &dnsProof{dns: d}
			c := challengeOf("shop.test")
			if err := p.Present(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.DNS01KeyAuthorization()}, z.TXT(tt.record)); diff != "" {
				t.Errorf("the records of %s differ (-want +got):\n%s", tt.record, diff)
			}
			z.Hide(2)
			if err := p.Wait(t.Context(), c); err != nil {
				t.Error(err)
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.CleanUp(over, c); err != nil { // it is done also when the order was given up
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"+" + tt.record, "-" + tt.record}, z.Updates()); diff != "" {
				t.Errorf("the updates differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpdateTrouble(t *testing.T) {
	z := zone.Start(t)
	for _, tt := range []struct {
		name   string
		change func(u *Update)
		want   string
	}{
		{"another key", func(u *Update) { u.Key = "YW5vdGhlcg==" }, "NOTAUTH"},
		{"no key", func(u *Update) { u.KeyName = "" }, "NOTAUTH"},
		{"nobody there", func(u *Update) { u.Server = "127.0.0.1:1" }, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := updateOf(z)
			tt.change(u)
			err := (&dnsProof{dns: &DNS{Update: u}}).Present(t.Context(), challengeOf("shop.test"))
			if err == nil || !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "signature") {
				t.Errorf("got the error %v, want one with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), u.Key) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
	if len(z.Updates()) != 0 {
		t.Errorf("there were updates: %q", z.Updates())
	}
	err := (&dnsProof{dns: &DNS{Update: updateOf(z)}}).Present(t.Context(), challengeOf("shop.example"))
	if err == nil || !strings.Contains(err.Error(), errNoZone.Error()) {
		t.Errorf("got the error %v, want %v", err, errNoZone)
	}
}

// TestWait shows that all name servers are waited for, and for how long.
func TestWait(t *testing.T) {
	a, b := zone.Start(t), zone.Start(t)
	c := challengeOf("shop.test")
	a.Set("_acme-challenge.shop.test.", "another")
	a.Set("_acme-challenge.shop.test.", c.DNS01KeyAuthorization())
	d := &DNS{Hook: []string{"/bin/true"}, Timeout: time.Second, Delay: time.Millisecond}
	for _, z := range []*zone.Server{a, b} {
		d.Resolvers = append(d.Resolvers, netip.MustParseAddrPort(z.Addr))
	}
	p := &dnsProof{dns: d}
	if err := p.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context(), c); err == nil || !strings.Contains(err.Error(), b.Addr) || strings.Contains(err.Error(), a.Addr) {
		t.Errorf("got the error %v, want one about %s only", err, b.Addr)
	}
	d.Timeout = patience
	b.Set("_acme-challenge.shop.test.", c.DNS01KeyAuthorization())
	if err := p.Wait(t.Context(), c); err != nil {
		t.Error(err)
	}
	d.Resolvers = nil
	if err := p.Wait(t.Context(), c); err != nil {
		t.Errorf("with nobody to ask: %v", err)
	}
}

// TestFollow shows where a record is set when its name has a CNAME.
func TestFollow(t *testing.T) {
	z := zone.Start(t)
	z.Lead("_acme-challenge.a.test", "A.Proofs.test")
	z.Lead("_acme-challenge.b.test", "one.test")
	z.Lead("one.test", "_two.test")
	z.Lead("around.test", "back.test")
	z.Lead("back.test", "Around.test")
	z.Lead("self.test", "self.test")
	z.Lead("root.test", ".")
	z.Lead("evil.test", `a\010b.test`)
	for i := range maxCNAMEs + 1 {
		z.Lead("n"+strconv.Itoa(i)+".test", "n"+strconv.Itoa(i+1)+".test")
	}
	here, nobody := netip.MustParseAddrPort(z.Addr), netip.MustParseAddrPort("127.0.0.1:1")
	for _, tt := range []struct {
		name    string
		servers []netip.AddrPort
		want    string
		err     string
	}{
		{"_acme-challenge.A.test.", []netip.AddrPort{here}, "a.proofs.test.", ""},
		{"_acme-challenge.b.test.", []netip.AddrPort{nobody, here}, "_two.test.", ""},
		{"none.test.", []netip.AddrPort{here}, "none.test.", ""},
		{"n1.test.", []netip.AddrPort{here}, "n9.test.", ""},
		{"n0.test.", []netip.AddrPort{here}, "", errManyCNAMEs.Error()},
		{"around.test.", []netip.AddrPort{here}, "", errCNAMELoop.Error()},
		{"self.test.", []netip.AddrPort{here}, "", errCNAMELoop.Error()},
		{"root.test.", []netip.AddrPort{here}, "", errCNAME.Error()},
		{"evil.test.", []netip.AddrPort{here}, "", errCNAME.Error()},
		{"none.test.", []netip.AddrPort{nobody}, "", "127.0.0.1:1"},
	} {
		got, err := follow(t.Context(), tt.servers, tt.name)
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %q and the error %v, want %q and %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// TestFollowed shows that both ways to set a record set it where a CNAME leads to, and
// remove it there, whatever it leads to by then.
func TestFollowed(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		name string
		set  func(z *zone.Server) DNS
		read func(z *zone.Server) string
		want string
	}{
		{
			"rfc2136", func(z *zone.Server) DNS { return DNS{Update: updateOf(z)} },
			func(z *zone.Server) string { return strings.Join(z.Updates(), " ") }, "+shop.proofs.test. -shop.proofs.test.",
		},
		{
			"exec", func(*zone.Server) DNS {
				return DNS{Hook: []string{"/bin/sh", "-c", `echo "$BULWARK_ACME_ACTION $BULWARK_ACME_DOMAIN $BULWARK_ACME_RECORD" >>` + out}}
			},
			func(*zone.Server) string {
				b, err := os.ReadFile(out)
				if err != nil {
					t.Error(err)
				}
				return string(b)
			}, "present shop.test shop.proofs.test.\ncleanup shop.test shop.proofs.test.\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z := zone.Start(t)
			z.Lead("_acme-challenge.shop.test", "shop.proofs.test")
			d := tt.set(z)
			d.Follow, d.Timeout = []netip.AddrPort{netip.MustParseAddrPort(z.Addr)}, patience
			p, c := &dnsProof{dns: &d}, challengeOf("shop.test")
			for _, step := range []func(context.Context, acme.Challenge) error{p.Present, p.Wait} {
				if err := step(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			z.Lead("_acme-challenge.shop.test", "elsewhere.test")
			if err := p.CleanUp(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.read(z)); diff != "" {
				t.Errorf("what was set differs (-want +got):\n%s", diff)
			}
		})
	}
	z := zone.Start(t)
	z.Lead("_acme-challenge.shop.test", "_acme-challenge.shop.test")
	p := &dnsProof{dns: &DNS{Update: updateOf(z), Follow: []netip.AddrPort{netip.MustParseAddrPort(z.Addr)}}}
	if err := p.Present(t.Context(), challengeOf("shop.test")); !errors.Is(err, errCNAMELoop) || len(z.Updates()) > 0 {
		t.Errorf("got the error %v and the updates %q", err, z.Updates())
	}
	if err := p.CleanUp(t.Context(), challengeOf("shop.test")); err != nil || len(z.Updates()) > 0 {
		t.Errorf("what was never set is removed: %v, %q", err, z.Updates())
	}
}
