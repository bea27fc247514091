package policy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Set is made of.
type Options struct {
	Policies []*Policy // each with a name of its own
	Default  string    // name of the one for server names that have none of their own

	// ClientAuth says what is asked besides of clients of server names, by pattern;
	// see Patterns. Here "*" stands for handshakes without a server name too.
	ClientAuth map[string]*ClientAuth

	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Challenge returns what a handshake goes by that is none of a client's, such as
	// an authority's that looks for a proof, and nil for all others. It may be nil.
	Challenge func(*tls.ClientHelloInfo) *tls.Config

	Protocols bool     // ALPN is spoken, by the policies
	Tickets   *Tickets // nil: there are none
	// TicketBytes is the most that a client's certificates may take in a ticket; a
	// client with more gets none. 0: 8 KiB.
	TicketBytes int
	ECH         *ECH // nil: hellos are not encrypted
}

// Set chooses, by the server name, what a handshake with a client goes by. It is
// safe for concurrent use.
type Set struct {
	policies []*Policy
	auths    []*ClientAuth           // what is asked besides, each once; auths[0] is nil
	names    Patterns[int]           // of policies
	asked    Patterns[int]           // of auths
	chosen   int                     // the policy for names without one of their own
	entries  []atomic.Pointer[entry] // by policy, then auth; made when first asked for

	getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	challenge      func(*tls.ClientHelloInfo) *tls.Config // nil: there are none
	protocols      bool
	tickets        *Tickets
	ticketBytes    int
	ech            *ECH
	byName         *tls.Config // asks by the server name; nil: all names have the same entry
	requires       bool        // some entry's mode may be Require
	guards         bool        // two server names may differ in what is asked, or in the policy
}

// entry is what handshakes of some server names go by.
type entry struct {
	policy string
	key    string
	auth   *ClientAuth
	config *tls.Config
	owner  []string // of its tickets

	mu     sync.Mutex
	period atomic.Int64 // of the ticket keys that config has
}

// New returns a Set. The errors are of what names something that is not there.
func New(o Options) (*Set, error) {
	s := &Set{
		policies: o.Policies, auths: []*ClientAuth{nil}, chosen: -1,
		getCertificate: o.GetCertificate, challenge: o.Challenge, protocols: o.Protocols, tickets: o.Tickets, ech: o.ECH,
		ticketBytes: cmp.Or(o.TicketBytes, ticketBytes),
	}
	for i, p := range o.Policies {
		if p.Name == o.Default {
			s.chosen = i
		}
		for _, sni := range p.SNIs {
			s.names.Set(sni, i)
		}
		if err := p.ClientAuth.check(); err != nil {
			return nil, fmt.Errorf("policy %q: %w", p.Name, err)
		}
		s.requires = s.requires || p.ClientAuth.mode() == Require
	}
	if s.chosen < 0 {
		return nil, fmt.Errorf("there is no TLS policy %q", o.Default)
	}
	if err := s.ask(o.ClientAuth); err != nil {
		return nil, err
	}
	s.entries = make([]atomic.Pointer[entry], len(s.policies)*len(s.auths))
	s.guards = !s.names.Empty() || len(s.auths) > 1 || s.policies[s.chosen].ClientAuth.mode() != Off
	if !s.names.Empty() || len(s.auths) > 1 || s.requires || s.challenge != nil {
		s.byName = &tls.Config{GetConfigForClient: s.GetConfigForClient}
		s.ech.put(s.byName)
	}
	return s, nil
}

// ask takes over what is asked besides, one of each key.
func (s *Set) ask(asked map[string]*ClientAuth) error {
	seen := make(map[string]int)
	for pattern, a := range asked {
		if err := a.check(); err != nil {
			return fmt.Errorf("what is asked of clients of %q: %w", pattern, err)
		}
		if a.mode() == Off {
			continue
		}
		s.requires = s.requires || a.Mode == Require
		key := a.Key()
		i, ok := seen[key]
		if !ok {
			i = len(s.auths)
			seen[key] = i
			s.auths = append(s.auths, a)
		}
		s.asked.Set(pattern, i)
	}
	return nil
}

// choose returns the entry of a server name, "" for none.
func (s *Set) choose(name string) *entry {
	policy, auth := s.chosen, 0
	if i, ok := s.names.Find(name); ok && name != "" {
		policy = i
	}
	if i, ok := s.asked.Find(name); ok {
		auth = i
	}
	slot := &s.entries[policy*len(s.auths)+auth]
	if e := slot.Load(); e != nil {
		return e
	}
	slot.CompareAndSwap(nil, s.build(s.policies[policy], s.auths[auth]))
	return slot.Load()
}

// build makes an entry.
func (s *Set) build(p *Policy, auth *ClientAuth) *entry {
	auth = p.ClientAuth.with(auth)
	e := &entry{policy: p.Name, auth: auth, key: auth.Key(), config: p.config()}
	e.owner = []string{p.Name, e.key}
	e.config.GetCertificate = s.getCertificate
	if s.protocols {
		e.config.NextProtos = p.Protocols
	} else {
		e.owner = append(e.owner, "streams")
	}
	s.ech.put(e.config)
	e.config.SessionTicketsDisabled = s.tickets == nil
	e.period.Store(-1)
	// Nothing is verified by crypto/tls itself: it would not on resumption. An empty
	// pool, in place of none, keeps the system's from ever being one for clients.
	e.config.ClientCAs = x509.NewCertPool()
	switch auth.mode() {
	case Request:
		e.config.ClientAuth = tls.RequestClientCert
	case Require:
		e.config.ClientAuth = tls.RequireAnyClientCert
		e.config.VerifyConnection = refuseAll
	}
	if auth.mode() != Off && s.tickets != nil {
		e.config.WrapSession = wrapSmall(e.config, s.ticketBytes)
	}
	if auth.mode() != Off && auth.SendCADN {
		for _, ca := range auth.CAs {
			e.config.ClientCAs.AddCert(ca)
		}
	}
	return e
}

// refuseAll stands where Server has not put what verifies.
func refuseAll(tls.ConnectionState) error { return errNoVerifier }

// current returns the entry's configuration, with the ticket keys of now.
func (s *Set) current(e *entry) *tls.Config {
	if s.tickets == nil {
		return e.config
	}
	if now := s.tickets.period(time.Now()); e.period.Load() != now {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.period.Load() != now {
			e.config.SetSessionTicketKeys(s.tickets.keys(now, e.owner...))
			e.period.Store(now)
		}
	}
	return e.config
}

// GetConfigForClient is a tls.Config's: it returns what the server name of the
// hello asks for. Only Server serves names whose clients are verified.
func (s *Set) GetConfigForClient(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if cfg := s.challenged(h); cfg != nil {
		return cfg, nil
	}
	return s.current(s.choose(strings.ToLower(h.ServerName))), nil
}

func (s *Set) challenged(h *tls.ClientHelloInfo) *tls.Config {
	if s.challenge == nil {
		return nil
	}
	return s.challenge(h)
}

// PolicyName returns the name of the policy for a server name in lower case.
func (s *Set) PolicyName(serverName string) string { return s.choose(serverName).policy }

// ClientAuthKey returns the ClientAuth.Key of what is asked of clients for a
// server name in lower case.
func (s *Set) ClientAuthKey(serverName string) string { return s.choose(serverName).key }

// Guards reports whether server names may differ in policy or in what is asked,
// so that a connection for one may not serve another.
func (s *Set) Guards() bool { return s.guards }
