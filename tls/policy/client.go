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
	v := e.auth.Verifier
	generation := v.Generation() // before the verdict, so that a change meanwhile is seen
	id, err := v.Verify(ctx, chain)
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
	e := s.choose(c.ServerName)
	if host = strings.TrimSuffix(host, "."); host != c.ServerName {
		if h := s.choose(host); h.key != e.key || h.policy != e.policy {
			return Misdirected, nil
		}
	}
	same := c.Key == e.key && c.Policy == e.policy
	if !same && c.Key != e.key && e.auth.mode() != Off && len(c.Chain) == 0 {
		return Ended, nil // it is asked on its next connection
	}
	if e.auth.mode() == Require && !c.holds(e) {
		ctx, cancel := context.WithTimeout(context.Background(), judgeTime)
		defer cancel()
		if err := c.judge(ctx, e, c.Chain); err != nil {
			return Ended, err
		}
	}
	if !same {
		return AdmittedLast, nil
	}
	return Admitted, nil
}
