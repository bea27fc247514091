package policy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/tls/peer"
)

// TestRequire shows who gets through a handshake that requires a certificate,
// and that nobody does by a session of better days.
func TestRequire(t *testing.T) {
	r := revocation(t)
	ca := pki.NewCA(t, "CA")
	auth := requiring(t, r, ca, nil)
	var err error
	if auth.Rules, err = peer.NewRules(peer.RuleSet{SANs: []string{"dns:*.in.test"}}); err != nil {
		t.Fatal(err)
	}
	s := newSet(t, nil, like("strict", func(p *Policy) { p.SNIs, p.ClientAuth = []string{"strict.test"}, auth }))
	named := func(name string) pki.Change {
		return func(c *x509.Certificate) { c.DNSNames = []string{name} }
	}
	good := ca.Client("good", named("a.in.test")).TLS()
	for _, tt := range []struct {
		name string
		pair *tls.Certificate
		ok   bool
		why  error
	}{
		{"a good certificate", &good, true, nil},
		{"none", nil, false, nil},
		{"one of another authority", new(pki.NewCA(t, "other").Client("x", named("a.in.test")).TLS()), false, &peer.Error{}},
		{"one that nobody vouches for", new(pki.SelfSigned(t, "a.in.test").TLS()), false, &peer.Error{}},
		{"one of somebody who is not let in", new(ca.Client("good", named("a.out.test")).TLS()), false, ErrNotAllowed},
		{"one whose time is over", new(ca.Client("old", named("a.in.test"), func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}).TLS()), false, &peer.Error{}},
	} {
		for _, v := range versions {
			t.Run(tt.name+" by "+tls.VersionName(v), func(t *testing.T) {
				cfg := &tls.Config{ServerName: "strict.test", MaxVersion: v, ClientSessionCache: &oneSession{}}
				if tt.pair != nil {
					cfg.Certificates = []tls.Certificate{*tt.pair}
				}
				res := shakeOver(t, s, cfg)
				if (res.clientErr == nil) != tt.ok || (res.serverErr == nil) != tt.ok {
					t.Fatalf("the client saw %v, the server %v", res.clientErr, res.serverErr)
				}
				if !tt.ok {
					if want, is := errors.AsType[*peer.Error](tt.why); is || want != nil {
						if _, got := errors.AsType[*peer.Error](res.serverErr); !got {
							t.Errorf("the server saw %v, which is no judgement", res.serverErr)
						}
					} else if tt.why != nil && !errors.Is(res.serverErr, tt.why) {
						t.Errorf("the server saw %v, want %v", res.serverErr, tt.why)
					}
					return
				}
				if id := res.of.Identity(); id == nil || id.Names.CommonName != "good" || len(res.of.Chain) != 1 {
					t.Errorf("the client is known as %+v", res.of.Identity())
				}
				if res = shakeOver(t, s, cfg).must(t); !res.server.DidResume || res.of.Identity() == nil {
					t.Errorf("resumed: %v, known as %+v", res.server.DidResume, res.of.Identity())
				}
			})
		}
	}
}

// TestRevokedOnResumption shows that a session of a client whose certificate was
// revoked since is not resumed, and that a connection that was kept does not go
// on.
func TestRevokedOnResumption(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	path := filepath.Join(t.TempDir(), "list.crl")
	write := func(revoked ...*x509.Certificate) {
		if err := os.WriteFile(path, ca.CRL(revoked), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	reading := func() *Set {
		auth := requiring(t, revocation(t), ca, func(o *peer.Options) {
			o.Revocation, o.CRLs = peer.Strict, []peer.CRL{{File: path}}
		})
		return newSet(t, nil, like("strict", func(p *Policy) { p.SNIs, p.ClientAuth = []string{"strict.test"}, auth }))
	}
	before := reading()
	pair := ca.Client("client")
	cfg := &tls.Config{ServerName: "strict.test", Certificates: []tls.Certificate{pair.TLS()}, ClientSessionCache: &oneSession{}}
	first := shakeOver(t, before, cfg).must(t)
	if again := shakeOver(t, before, cfg).must(t); !again.server.DidResume {
		t.Fatal("the session was not resumed while the certificate was good")
	}
	if a, err := before.Admit(first.of, "strict.test"); a != Admitted || err != nil {
		t.Fatalf("the connection is %v, %v", a, err)
	}
	write(pair.Cert)
	after := reading()
	for _, v := range versions {
		cfg := cfg.Clone()
		cfg.MaxVersion = v
		res := shakeOver(t, after, cfg)
		e, ok := errors.AsType[*peer.Error](res.serverErr)
		if !ok || e.Reason != peer.Revoked || res.clientErr == nil {
			t.Errorf("by %s the server saw %v, the client %v", tls.VersionName(v), res.serverErr, res.clientErr)
		}
	}
	first.of.verdict.Store(nil) // as a change of generation has it
	if a, err := after.Admit(first.of, "strict.test"); a != Ended || err == nil {
		t.Errorf("the kept connection is %v, %v; want its end", a, err)
	}
	if first.of.Identity() != nil {
		t.Error("the client is still known")
	}
}

// TestAdmit is the regression test for connections that were made for one host
// and ask for another (GHSA-gv8r-9rw9-9697), and for those that a reload has
// overtaken.
func TestAdmit(t *testing.T) {
	r := revocation(t)
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	pair := ca.Client("client").TLS()
	asks := func(a *pki.CA) *ClientAuth { return &ClientAuth{Mode: Request, CAs: []*x509.Certificate{a.Cert}} }
	plain := newSet(t, nil, like("named", func(p *Policy) { p.SNIs = []string{"named.test"} }))
	set := newSet(t, func(o *Options) {
		o.ClientAuth = map[string]*ClientAuth{
			"asks.test": asks(ca), "asks-too.test": asks(ca), "asks-other.test": asks(other),
			"requires.test": requiring(t, r, ca, nil), "requires-other.test": requiring(t, r, other, nil),
		}
	}, like("named", func(p *Policy) { p.SNIs = []string{"named.test"} }))
	for _, tt := range []struct {
		name      string
		shaken    *Set // nil: set
		sni, host string
		bare      bool // the client has no certificate
		want      Admission
	}{
		{"the same", nil, "open.test", "open.test", false, Admitted},
		{"another of the same policy", nil, "open.test", "open-too.test", false, Admitted},
		{"no server name", nil, "", "open.test", false, Admitted},
		{"no server name, and a host that asks", nil, "", "asks.test", false, Misdirected},
		{"no server name, and a host of another policy", nil, "", "named.test", false, Misdirected},
		{"open, then asks", nil, "open.test", "asks.test", false, Misdirected},
		{"asks, then open", nil, "asks.test", "open.test", false, Misdirected},
		{"asks, then the same", nil, "asks.test", "asks-too.test", false, Admitted},
		{"asks, then another", nil, "asks.test", "asks-other.test", false, Misdirected},
		{"asks, and nothing was shown", nil, "asks.test", "asks.test", true, Admitted},
		{"open, then requires", nil, "open.test", "requires.test", false, Misdirected},
		{"open, then requires, with a dot", nil, "open.test", "requires.test.", false, Misdirected},
		{"requires, then another", nil, "requires.test", "requires-other.test", false, Misdirected},
		{"requires, then an address", nil, "requires.test", "127.0.0.1", false, Misdirected},
		{"requires", nil, "requires.test", "requires.test", false, Admitted},
		{"another policy", nil, "named.test", "open.test", false, Misdirected},
		{"it asks since a reload", plain, "asks.test", "asks.test", false, Ended},
		{"it requires since a reload", plain, "requires.test", "requires.test", false, Ended},
		{"it is open still", plain, "open.test", "open.test", false, Admitted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := tt.shaken
			if first == nil {
				first = set
			}
			cfg := &tls.Config{ServerName: tt.sni}
			if !tt.bare {
				cfg.Certificates = []tls.Certificate{pair}
			}
			c := shake(t, first, cfg).must(t).of
			if got, err := set.Admit(c, tt.host); got != tt.want || err != nil {
				t.Errorf("a request for %q is %v (%v), want %v", tt.host, got, err, tt.want)
			}
		})
	}
	t.Run("the authority is another since a reload", func(t *testing.T) {
		c := shake(t, set, &tls.Config{ServerName: "requires.test", Certificates: []tls.Certificate{pair}}).must(t).of
		later := newSet(t, func(o *Options) {
			o.ClientAuth = map[string]*ClientAuth{"requires.test": requiring(t, r, other, nil)}
		})
		if got, err := later.Admit(c, "requires.test"); got != Ended || err == nil {
			t.Errorf("the connection is %v, %v; want its end", got, err)
		}
		wider := newSet(t, func(o *Options) {
			o.ClientAuth = map[string]*ClientAuth{"requires.test": requiring(t, r, ca, func(o *peer.Options) { o.Depth = 3 })}
		})
		if got, err := wider.Admit(c, "requires.test"); got != AdmittedLast || err != nil {
			t.Errorf("the connection is %v, %v; want a last request", got, err)
		}
		open := newSet(t, nil, like("named", func(p *Policy) { p.SNIs = []string{"named.test"} }))
		if got, err := open.Admit(c, "requires.test"); got != AdmittedLast || err != nil {
			t.Errorf("the connection is %v, %v; want a last request", got, err)
		}
	})
}
