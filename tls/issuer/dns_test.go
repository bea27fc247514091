package issuer

import (
	"context"
	"net/netip"
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
			p := &dnsProof{d}
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
			err := (&dnsProof{&DNS{Update: u}}).Present(t.Context(), challengeOf("shop.test"))
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
	err := (&dnsProof{&DNS{Update: updateOf(z)}}).Present(t.Context(), challengeOf("shop.example"))
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
	p := &dnsProof{d}
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
