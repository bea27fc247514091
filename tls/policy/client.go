package policy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/tls/peer"
)

// Client is what a Set knows of the client of a connection. Its fields are set
// by Settle and then only read.
type Client struct {
	ServerName string // in lower case, "" for none
	Policy     string // name of the policy of the handshake
	Key        string // ClientAuth.Key of the handshake
	Asked      bool   // for a certificate
	Chain      []*x509.Certificate

	verdict atomic.Pointer[verdict] // the last one of Require, nil for none
}

// verdict is what a chain was found to be.
type verdict struct {
	key        string // of the ClientAuth that found so
	generation uint64 // of its Verifier
	id         *peer.Identity
}

// Identity returns who the client is by the last verdict of a Verifier, nil if
// none was asked for.
func (c *Client) Identity() *peer.Identity {
	if v := c.verdict.Load(); v != nil {
		return v.id
	}
	return nil
}

// Server returns what a handshake goes by that begins now and takes at most as
// long as timeout, and the client whose handshake it is: nil, if nothing would
// be asked about it later. After the handshake it is to be settled.
func (s *Set) Server(timeout time.Duration) (*tls.Config, *Client) {
	switch {
	case s.requires:
		c := new(Client)
		return s.verifying(c, timeout), c
	case s.guards:
		return s.byServerName(), new(Client)
	}
	return s.byServerName(), nil
}

func (s *Set) byServerName() *tls.Config {
	if s.byName != nil {
		return s.byName
	}
	return s.current(s.choose(""))
}

// verifying returns a configuration for the connection of one client, which
// takes down what it was found to be. Chains are verified by VerifyConnection,
// which runs in resumed handshakes too, and not by crypto/tls, which would
// believe what was true when the session began.
func (s *Set) verifying(c *Client, timeout time.Duration) *tls.Config {
	began := time.Now()
	cfg := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if cfg := s.challenged(h); cfg != nil {
			return cfg, nil
		}
		e := s.choose(strings.ToLower(h.ServerName))
		if e.auth.mode() != Require {
			return s.current(e), nil
		}
		own := s.current(e).Clone()
		own.VerifyConnection = func(st tls.ConnectionState) error {
			ctx, cancel := context.WithDeadline(h.Context(), began.Add(timeout))
			defer cancel()
			return c.judge(ctx, e, st.PeerCertificates)
		}
		return own, nil
	}}
	s.ech.put(cfg)
	return cfg
}

// Settle takes down what a handshake has come to. c may be nil.
func (s *Set) Settle(c *Client, st *tls.ConnectionState) {
	if c == nil {
		return
	}
	c.ServerName = strings.ToLower(st.ServerName)
	e := s.choose(c.ServerName)
	c.Policy, c.Key, c.Asked = e.policy, e.key, e.auth.mode() != Off
	if c.Asked {
		c.Chain = st.PeerCertificates
	}
}

// ErrNotAllowed is why a client is refused whose certificate is good, but not
// that of somebody who is let in.
var ErrNotAllowed = errors.New("the certificate is not of a client that is let in")

// judge verifies a chain and takes down what it was found to be.
func (c *Client) judge(ctx context.Context, e *entry, chain []*x509.Certificate) error {
	generation := e.auth.Verifier.Generation() // before the verdict, so that a change meanwhile is seen
	id, err := e.auth.Verifier.Verify(ctx, chain)
	return c.take(e, generation, id, err)
}

// judgeKnown is judge by what is known already. It reports false, and has taken
// nothing down, if a server would have to be asked.
func (c *Client) judgeKnown(e *entry, chain []*x509.Certificate) (known bool, err error) {
	generation := e.auth.Verifier.Generation()
	id, known, err := e.auth.Verifier.Known(chain)
	if !known || errors.Is(err, peer.ErrNotAsked) {
		return false, nil
	}
	return true, c.take(e, generation, id, err)
}

// renew is judgeKnown after servers were asked as far as they had to be. Nothing is
// known if there was no room for that, or after the end of ctx.
func (c *Client) renew(ctx context.Context, e *entry, chain []*x509.Certificate) (known bool, err error) {
	generation := e.auth.Verifier.Generation()
	id, err := e.auth.Verifier.Verify(ctx, chain)
	if ctx.Err() != nil || errors.Is(err, peer.ErrNotAsked) {
		return false, nil
	}
	return true, c.take(e, generation, id, err)
}

func (c *Client) take(e *entry, generation uint64, id *peer.Identity, err error) error {
	if err == nil && e.auth.Rules != nil && !e.auth.Rules.Allows(id) {
		err = ErrNotAllowed
	}
	if err != nil {
		c.verdict.Store(nil)
		return err
	}
	c.verdict.Store(&verdict{key: e.key, generation: generation, id: id})
	return nil
}

// holds reports whether the last verdict still counts under e.
func (c *Client) holds(e *entry) bool {
	v := c.verdict.Load()
	return v != nil && v.key == e.key && v.generation == e.auth.Verifier.Generation() && time.Now().Before(v.id.Until)
}

// Admission says what becomes of a request on a connection.
type Admission uint8

// The admissions. Misdirected is for a request that another connection may serve
// (RFC 9110 section 15.5.20): it is for a host whose clients are asked something
// else, or the client was never asked.
const (
	Admitted     Admission = iota
	AdmittedLast           // and the connection is to end with it: it is not what it would be today
	Misdirected            // it is refused, and the connection goes on
	Ended                  // it is refused as misdirected, and the connection is to end
)

// judgeTime bounds how long a client on a kept connection is verified anew.
const judgeTime = 10 * time.Second

// Admit says what becomes of a request for a host, in lower case and without a
// port, from a client whose handshake an earlier Set may have served. The error
// is why a certificate was refused that was good before.
func (s *Set) Admit(c *Client, host string) (Admission, error) {
	e, admission := s.admit(c, host)
	if admission != Admitted && admission != AdmittedLast {
		return admission, nil
	}
	if e.auth.mode() == Require && !c.holds(e) {
		ctx, cancel := context.WithTimeout(context.Background(), judgeTime)
		defer cancel()
		if err := c.judge(ctx, e, c.Chain); err != nil {
			return Ended, err
		}
	}
	return admission, nil
}

// admit is Admit but for what the client's certificate is found to be, which the
// entry says how to find out.
func (s *Set) admit(c *Client, host string) (*entry, Admission) {
	e := s.choose(c.ServerName)
	if host = strings.TrimSuffix(host, "."); host != c.ServerName {
		if h := s.choose(host); h.key != e.key || h.policy != e.policy {
			return nil, Misdirected
		}
	}
	switch {
	case c.Key == e.key && c.Policy == e.policy:
		return e, Admitted
	case c.Key != e.key && e.auth.mode() != Off && len(c.Chain) == 0:
		return nil, Ended // it is asked on its next connection
	}
	return e, AdmittedLast
}

// ErrAskedElse is why what goes on for a host is to end though no certificate was
// refused: its clients are asked something else today than this one was.
var ErrAskedElse = errors.New("the client was asked something else than it would be today")

// Standing is what has become of a verdict on which something goes on.
type Standing struct {
	Known bool      // false: servers would have to be asked, and nothing else is told
	Until time.Time // when it is to be looked at again at the latest; zero: when anything changes
}

// standsWithout is Stands for a client that has shown no certificate. It goes on
// until one is required: for another one, or none, nothing would be found out.
func (s *Set) standsWithout(c *Client, host string) error {
	for _, name := range [...]string{c.ServerName, strings.TrimSuffix(host, ".")} {
		if s.choose(name).auth.mode() == Require {
			return &peer.Error{Reason: peer.NoCertificate}
		}
	}
	return nil
}

// Stands says what has become of what Admit once let in for a host, or a handshake
// for its own server name, and what goes on since. The error is why it is to end.
// With wait servers may be asked for as long as the policy says, or ctx, after whose
// end nothing is known; nor is it where too many are being asked.
func (s *Set) Stands(ctx context.Context, c *Client, host string, wait bool) (Standing, error) {
	if len(c.Chain) == 0 {
		return Standing{Known: true}, s.standsWithout(c, host)
	}
	e, admission := s.admit(c, host)
	if admission != Admitted && admission != AdmittedLast {
		return Standing{Known: true}, ErrAskedElse
	}
	if e.auth.mode() != Require {
		return Standing{Known: true}, nil
	}
	if !c.holds(e) {
		known, err := c.judgeKnown(e, c.Chain)
		if !known && wait {
			known, err = c.renew(ctx, e, c.Chain)
		}
		if err != nil || !known {
			return Standing{Known: known}, err
		}
	}
	v := c.verdict.Load()
	if v == nil { // a request on the same connection was refused meanwhile
		return Standing{}, nil
	}
	return Standing{Known: true, Until: v.id.Until}, nil
}
