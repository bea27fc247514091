package policy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// resumes reports whether a client that has shaken hands with one set for a name
// resumes its session with another set for another name.
func resumes(t *testing.T, cfg *tls.Config, first, second *Set, name, then string) bool {
	t.Helper()
	cfg = cfg.Clone()
	cfg.ClientSessionCache = &oneSession{}
	cfg.ServerName = name
	if shakeOver(t, first, cfg).must(t).server.DidResume {
		t.Fatal("a new session was resumed")
	}
	cfg.ServerName = then
	r := shakeOver(t, second, cfg)
	return r.server.DidResume
}

// oneSession lets a client show the ticket of any name to any other.
type oneSession struct{ state *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.state, o.state != nil }

func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		o.state = s
	}
}

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func TestResumption(t *testing.T) {
	keys := NewKeys()
	with := func(tickets *Tickets) *Set { return newSet(t, func(o *Options) { o.Tickets = tickets }) }
	process := NewTickets(keys, "", 12*time.Hour)
	shared := func() *Tickets {
		return NewTickets(NewKeys(), "a secret that several nodes have in common", time.Hour)
	}
	tests := []struct {
		name          string
		first, second *Set
		want          bool
	}{
		{"with the same set", with(process), nil, true},
		{"after a reload", with(process), with(NewTickets(keys, "", 12*time.Hour)), true},
		{"with a node that has the same secret", with(shared()), with(shared()), true},
		{"with another process", with(process), with(NewTickets(NewKeys(), "", 12*time.Hour)), false},
		{"with another secret", with(shared()), with(NewTickets(NewKeys(), "a secret that another group of nodes has", time.Hour)), false},
		{"without tickets", with(nil), nil, false},
	}
	for _, tt := range tests {
		for _, v := range versions {
			t.Run(tt.name+" by "+tls.VersionName(v), func(t *testing.T) {
				second := tt.second
				if second == nil {
					second = tt.first
				}
				if got := resumes(t, &tls.Config{MaxVersion: v}, tt.first, second, "a.test", "a.test"); got != tt.want {
					t.Errorf("resumed: %v, want %v", got, tt.want)
				}
			})
		}
	}
}

// TestTicketsOfOnePolicyAreUselessUnderAnother is the regression test for
// sessions that pass from one policy for clients to another (CVE-2025-68121,
// CVE-2025-23419): a client that was let in to one server name, or was asked
// nothing at all there, shows that name's ticket to another.
func TestTicketsOfOnePolicyAreUselessUnderAnother(t *testing.T) {
	r := revocation(t)
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	asks := func(a *pki.CA) *ClientAuth { return &ClientAuth{Mode: Request, CAs: []*x509.Certificate{a.Cert}} }
	s := newSet(t, func(o *Options) {
		o.ClientAuth = map[string]*ClientAuth{
			"asks.test": asks(ca), "asks-too.test": asks(ca), "asks-other.test": asks(other),
			"requires.test": requiring(t, r, ca, nil), "requires-other.test": requiring(t, r, other, nil),
		}
	}, like("named", func(p *Policy) { p.SNIs = []string{"named.test"} }))
	pair := ca.Client("client").TLS()
	client := &tls.Config{Certificates: []tls.Certificate{pair}}
	for _, tt := range []struct {
		first, second string
		want          bool
	}{
		{"open.test", "open-too.test", true},
		{"asks.test", "asks-too.test", true},
		{"requires.test", "requires.test", true},
		{"open.test", "asks.test", false},
		{"asks.test", "open.test", false},
		{"asks.test", "asks-other.test", false},
		{"asks.test", "requires.test", false},
		{"requires.test", "requires-other.test", false},
		{"requires.test", "open.test", false},
		{"open.test", "named.test", false},
	} {
		for _, v := range versions {
			t.Run(tt.first+" then "+tt.second+" by "+tls.VersionName(v), func(t *testing.T) {
				cfg := client.Clone()
				cfg.MaxVersion = v
				if got := resumes(t, cfg, s, s, tt.first, tt.second); got != tt.want {
					t.Errorf("resumed: %v, want %v", got, tt.want)
				}
			})
		}
	}
	streams := newSet(t, func(o *Options) { o.Protocols = false })
	https := newSet(t, nil)
	if resumes(t, &tls.Config{}, https, streams, "a.test", "a.test") {
		t.Error("a session of HTTPS was resumed by a stream")
	}
}

// TestRotation shows for how long a ticket is good.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := NewTickets(NewKeys(), "", time.Hour)
		p := tickets.period(time.Now())
		at := func(n int64) [][secretBytes]byte { return tickets.keys(n, "policy", "key") }
		now := at(p)
		if slices.Contains(now[1:], now[0]) {
			t.Error("two periods have one key")
		}
		for n, want := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
			if slices.Contains(at(p+n), now[0]) != want {
				t.Errorf("%d periods on, a ticket of now is good: %v, want %v", n, !want, want)
			}
		}
		time.Sleep(time.Hour)
		if tickets.period(time.Now()) != p+1 {
			t.Error("an hour on, the period is the same")
		}
		for _, owner := range [][]string{{"policy", "other"}, {"other", "key"}, {"policyk", "ey"}, {"policy", "key", ""}, {"policy"}} {
			if tickets.keys(p, owner...)[0] == now[0] {
				t.Errorf("tickets of %q have the key of others", owner)
			}
		}
	})
}

// TestSetRotates shows that a set takes the keys of the time, by itself.
func TestSetRotates(t *testing.T) {
	s := newSet(t, nil)
	e := s.choose("a.test")
	s.current(e)
	e.period.Add(-3) // as if it were three periods ago
	old := s.tickets.keys(e.period.Load(), e.owner...)
	e.config.SetSessionTicketKeys(old)
	cfg := &tls.Config{ServerName: "a.test", ClientSessionCache: &oneSession{}}
	e.period.Store(s.tickets.period(time.Now())) // keeps the keys for the first handshake
	shakeOver(t, s, cfg).must(t)
	e.period.Store(0)
	if shakeOver(t, s, cfg).must(t).server.DidResume {
		t.Error("a ticket of three periods ago was good")
	}
	if !shakeOver(t, s, cfg).must(t).server.DidResume {
		t.Error("a ticket of now was not")
	}
}

// A client with many certificates gets no ticket, so that its next hello is no
// longer than its first one, and shakes hands anew.
func TestTicketsOfLargeChains(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	names := func(n int) pki.Change {
		return func(c *x509.Certificate) {
			for i := range n {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("%04d.%s.test", i, strings.Repeat("x", 50)))
			}
		}
	}
	small, large := ca.Client("small", names(100)).TLS(), ca.Client("large", names(225)).TLS()
	if size := len(large.Leaf.Raw); size < 13<<10 {
		t.Fatalf("the large certificate has %d bytes", size)
	}
	r := revocation(t)
	for _, mode := range []Mode{Request, Require} {
		auth := requiring(t, r, ca, nil)
		auth.Mode = mode
		with := func(bytes int) *Set {
			return newSet(t, func(o *Options) { o.TicketBytes = bytes }, like("strict", func(p *Policy) { p.SNIs, p.ClientAuth = []string{"strict.test"}, auth }))
		}
		for _, tt := range []struct {
			name  string
			bytes int
			pair  tls.Certificate
			want  bool
		}{
			{"a small chain", 0, small, true},
			{"a large chain", 0, large, false},
			{"a large chain where that is let be", 32 << 10, large, true},
			{"a small chain where little is let be", 1 << 10, small, false},
		} {
			for _, v := range versions {
				t.Run(fmt.Sprintf("%s, mode %d, %s", tt.name, mode, tls.VersionName(v)), func(t *testing.T) {
					s := with(tt.bytes)
					kept := new(oneSession)
					cfg := &tls.Config{ServerName: "strict.test", MaxVersion: v, Certificates: []tls.Certificate{tt.pair}, ClientSessionCache: kept}
					shakeOver(t, s, cfg).must(t)
					if kept.state != nil {
						ticket, _, err := kept.state.ResumptionState()
						if small := len(ticket) < 512; err != nil || small == tt.want {
							t.Errorf("a ticket of %d bytes, %v", len(ticket), err)
						}
					}
					if got := shakeOver(t, s, cfg).must(t).server.DidResume; got != tt.want {
						t.Errorf("resumed: %v, want %v", got, tt.want)
					}
				})
			}
		}
	}
}
