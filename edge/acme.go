package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

// records are where certificates are kept that are ordered.
type records struct {
	*file.Records
	path string
}

// openRecords works out what is ordered, and opens where it is kept. What is open
// already stays so.
func (c *compiler) openRecords() error {
	c.snap.terms = nodeTerms(&c.cfg.Node.ACME)
	for _, e := range c.cfg.Plugins.All() { // in their order, which decides between two for one name
		if in := c.snap.plugins[e.ID]; in != nil {
			c.snap.terms = appendTerms(c.snap.terms, in.plugin)
		}
	}
	path := c.cfg.Node.ACME.Storage
	switch old := c.prev.records; {
	case len(c.snap.terms) == 0 || c.env.checking:
	case old != nil && old.path == path:
		c.snap.records = old
	default:
		r, err := file.OpenRecords(path)
		if err != nil {
			return fmt.Errorf("opening node.acme.storage: %w", err)
		}
		c.snap.records = &records{r, path}
	}
	return nil
}

// orders reports whether certificates are ordered.
func (s *Snapshot) orders() bool { return s.records != nil }

// ordered returns where handshakes find certificates that are no entities.
func (c *compiler) ordered() certs.Source {
	if !c.snap.orders() {
		return nil
	}
	return c.env.Issuer
}

// order lets a snapshot that is about to serve say what is ordered.
func (e *Edge) order(ctx context.Context, s *Snapshot) {
	old := e.current.Load()
	switch {
	case old != nil && old.records == s.records && reflect.DeepEqual(old.terms, s.terms):
	case s.orders():
		e.env.Issuer.Use(ctx, s.records, s.terms)
	default:
		e.env.Issuer.Use(ctx, nil, nil)
	}
}

// challenge answers handshakes by which an authority looks for a proof.
func (e Env) challenge(hello *tls.ClientHelloInfo) *tls.Config {
	return e.Issuer.ChallengeConfig(hello.ServerName, hello.SupportedProtos)
}

// proven reports whether a handshake was all that the client wanted.
func proven(c *l4.Conn) bool { return c.TLS.Protocol == issuer.ProtocolTLSALPN }

// asksForProof reports whether the hello of a connection is an authority's that
// looks for a proof of ours: streams of its server name have no say in that.
func (e *Edge) asksForProof(s *site, c *l4.Conn) bool {
	return s.snapshot.orders() && e.env.Issuer.ChallengeConfig(c.Hello.ServerName, c.Hello.ALPN) != nil
}

// Terms returns the terms on which a configuration has certificates ordered, for
// commands that serve nothing: those of node.acme, then those of plugins.
func Terms(cfg *config.Config, kinds []plugins.Kind) ([]issuer.Terms, error) {
	terms := nodeTerms(&cfg.Node.ACME)
	for _, e := range cfg.Plugins.All() {
		i := kindIndex(kinds, e.Name)
		if !e.Enabled || e.Name != acmePlugin || i < 0 {
			continue
		}
		p, err := kinds[i].Build(e.Config, plugins.Env{})
		if err != nil {
			return nil, fmt.Errorf("building plugin %q (%s): %w", e.Name, e.ID, err)
		}
		terms = appendTerms(terms, p)
	}
	return terms, nil
}

// acmePlugin is the kind that is built by itself: others might open something.
const acmePlugin = "acme"

func appendTerms(terms []issuer.Terms, plugin any) []issuer.Terms {
	if o, ok := plugin.(plugins.Orderer); ok {
		return append(terms, o.Terms())
	}
	return terms
}

// nodeTerms returns the terms that node.acme stands for: one for the domains
// without an override and those on demand, and one for each override.
func nodeTerms(a *config.ACME) (terms []issuer.Terms) {
	if !a.On() {
		return nil
	}
	base := issuer.Terms{
		Email: a.Email, Challenges: challenges(a.Challenges), DNS: acmeDNS(&a.DNS),
		Key: issuer.KeyType(a.KeyType), Profile: a.Profile, Window: float64(a.Window) / 100, ARI: a.ARI,
		Timeout: a.Timeout.Std(), Backoff: a.Backoff.Std(),
	}
	for _, ca := range a.CAs {
		base.CAs = append(base.CAs, issuer.CA{
			Directory: ca.Directory, EABKeyID: ca.EABKeyID, EABKey: strings.TrimRight(ca.EABKey.Reveal(), "="), Roots: ca.RootCA, Chain: ca.PreferredChain,
		})
	}
	for i := range a.Overrides {
		terms = append(terms, overridden(base, &a.Overrides[i]))
	}
	for _, name := range a.Domains {
		if a.Override(name) == nil {
			base.Names = append(base.Names, name)
		}
	}
	if o := &a.OnDemand; o.On() {
		base.Demand = &issuer.Demand{Allow: o.Allow, Ask: o.Ask, PerMinute: o.PerMinute, Most: o.Names}
	}
	return append(terms, base)
}

func overridden(t issuer.Terms, o *config.ACMEOverride) issuer.Terms {
	t.Names = slices.Clone(o.Domains)
	if len(o.Challenges) > 0 {
		t.Challenges = challenges(o.Challenges)
	}
	if o.KeyType != nil {
		t.Key = issuer.KeyType(*o.KeyType)
	}
	if o.Profile != nil {
		t.Profile = *o.Profile
	}
	return t
}

func challenges(all []config.ACMEChallenge) (list []issuer.Challenge) {
	for _, c := range all {
		list = append(list, issuer.Challenge(c))
	}
	return list
}

// acmeDNS returns how records are set, nil if there is no way.
func acmeDNS(d *config.ACMEDNS) *issuer.DNS {
	if !d.Set() {
		return nil
	}
	dns := &issuer.DNS{
		Hook: d.Exec, Resolvers: addrPorts(d.Resolvers), Delay: d.Delay.Std(), Timeout: d.Timeout.Std(), Follow: addrPorts(d.Follow), Alias: d.Alias,
	}
	if u := &d.RFC2136; u.Server != "" {
		dns.Update = &issuer.Update{
			Server: u.Server, Zone: u.Zone, KeyName: u.KeyName, Key: u.Key.Reveal(), Algorithm: u.Algorithm,
			TTL: uint32(u.TTL.Std().Seconds()),
		}
	}
	return dns
}

// acmeStatus is what /status tells of the names that are ordered.
func acmeStatus(all []issuer.Status) *telemetry.ACMEStatus {
	s := &telemetry.ACMEStatus{Names: make(map[string]int), Problems: []telemetry.ACMEProblem{}}
	for i := range all {
		n := &all[i]
		s.Names[string(n.State)]++
		if n.State != issuer.Failing || len(s.Problems) >= telemetry.MaxACMEProblems {
			continue
		}
		s.Problems = append(s.Problems, telemetry.ACMEProblem{
			Name: n.Name, Error: n.Error, ErrorAt: timeOrNil(n.ErrorAt), Again: timeOrNil(n.Renew), Until: timeOrNil(n.Until),
		})
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
