package issuer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/store"
)

// Bounds on the search for what another node is asked to prove.
const (
	proofLife    = time.Hour        // of a proof in the records
	cleanTimeout = 30 * time.Second // to take one back
	maxToken     = 128              // bytes
	searches     = 16               // at a time; a client's request counts as none of ours above
	searchTime   = 2 * time.Second
)

// ProtocolTLSALPN is what a client of TLS-ALPN-01 offers, and nothing else (RFC
// 8737 section 6.2).
const ProtocolTLSALPN = acmez.ACMETLS1Protocol

// proofs is what authorities may ask for at the moment. Safe for concurrent use.
type proofs struct {
	searching chan struct{}

	mu   sync.RWMutex
	http map[string]string      // key authorizations by token
	tls  map[string]*tls.Config // by server name
}

func newProofs() *proofs {
	return &proofs{searching: make(chan struct{}, searches), http: make(map[string]string), tls: make(map[string]*tls.Config)}
}

// proofKind is where a proof is looked for.
type proofKind uint8

const (
	proveHTTP proofKind = iota
	proveTLS
)

// key returns the key of a challenge's record.
func (k proofKind) key(id string) string {
	if k == proveTLS {
		return prefixChallenges + "tls/" + id
	}
	return prefixChallenges + "http/" + id
}

// proof solves challenges that are answered by serving something. What is served
// goes into the records too, because the authority may come to another node.
type proof struct {
	*proofs
	records store.Records
	kind    proofKind
}

var _ acmez.Solver = (*proof)(nil)

func (p *proof) id(c acme.Challenge) string {
	if p.kind == proveTLS {
		return serverName(c.Identifier.Value)
	}
	return c.Token
}

// Present makes ready what the authority will look at.
func (p *proof) Present(ctx context.Context, c acme.Challenge) error {
	if !goodToken(c.Token) {
		return fmt.Errorf("%w: its token cannot be one", errBadChain)
	}
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a challenge: %w", err)
	}
	rec := store.Record{Key: p.kind.key(p.id(c)), Value: value, Expires: time.Now().Add(proofLife)}
	if _, err := replace(ctx, p.records, rec); err != nil {
		return fmt.Errorf("storing a challenge: %w", err)
	}
	var cfg *tls.Config
	if p.kind == proveTLS {
		if cfg, err = challengeConfig(c); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cfg != nil {
		p.tls[p.id(c)] = cfg
	} else {
		p.http[c.Token] = c.KeyAuthorization
	}
	return nil
}

// CleanUp takes it back.
func (p *proof) CleanUp(ctx context.Context, c acme.Challenge) error {
	p.mu.Lock()
	if p.kind == proveTLS {
		delete(p.tls, p.id(c))
	} else {
		delete(p.http, c.Token)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	return remove(ctx, p.records, p.kind.key(p.id(c)))
}

// challengeConfig answers a handshake of TLS-ALPN-01 (RFC 8737 section 3).
func challengeConfig(c acme.Challenge) (*tls.Config, error) {
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of a challenge: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{ProtocolTLSALPN}, Certificates: []tls.Certificate{*cert},
		SessionTicketsDisabled: true,
	}, nil
}

// goodToken reports whether a token is one of RFC 8555 section 8.1: base64url.
func goodToken(token string) bool {
	return token != "" && len(token) <= maxToken && !strings.ContainsFunc(token, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// search looks for what another node has to prove.
func (p *proofs) search(ctx context.Context, records store.Records, key string) (c acme.Challenge, ok bool) {
	if records == nil {
		return c, false
	}
	select {
	case p.searching <- struct{}{}:
		defer func() { <-p.searching }()
	default:
		return c, false
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	rec, err := records.Get(ctx, key)
	if err != nil || json.Unmarshal(rec.Value, &c) != nil {
		return acme.Challenge{}, false
	}
	return c, true
}

// HTTPChallenge returns what is answered to GET
// /.well-known/acme-challenge/{token} (RFC 8555 section 8.3), if it is ours to
// answer.
func (i *Issuer) HTTPChallenge(token string) (answer string, ok bool) {
	if !goodToken(token) {
		return "", false
	}
	i.proofs.mu.RLock()
	answer, ok = i.proofs.http[token]
	i.proofs.mu.RUnlock()
	if ok {
		return answer, true
	}
	c, ok := i.proofs.search(context.Background(), i.place(), proveHTTP.key(token))
	return c.KeyAuthorization, ok && c.Token == token
}

// ChallengeConfig returns the configuration for a handshake that asks for the
// proof of TLS-ALPN-01, nil if it asks for none of ours. After such a handshake
// the connection is to be closed.
func (i *Issuer) ChallengeConfig(server string, protocols []string) *tls.Config {
	if !slices.Equal(protocols, []string{ProtocolTLSALPN}) {
		return nil
	}
	id := strings.ToLower(server)
	if !wellFormed(id) {
		return nil
	}
	i.proofs.mu.RLock()
	cfg := i.proofs.tls[id]
	i.proofs.mu.RUnlock()
	if cfg != nil {
		return cfg
	}
	c, ok := i.proofs.search(context.Background(), i.place(), proveTLS.key(id))
	if !ok {
		return nil
	}
	cfg, err := challengeConfig(c)
	if err != nil {
		return nil
	}
	return cfg
}

// serverName returns the name under which a handshake asks for the proof of an
// identifier: of an address, its name for reverse look-ups (RFC 8738 section 6).
func serverName(identifier string) string {
	a, err := netip.ParseAddr(identifier)
	if err != nil {
		return strings.ToLower(identifier)
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	if a = a.Unmap(); a.Is4() {
		for _, octet := range slices.Backward(a.AsSlice()) {
			fmt.Fprintf(&b, "%d.", octet)
		}
		return b.String() + "in-addr.arpa"
	}
	for _, octet := range slices.Backward(a.AsSlice()) {
		b.Write([]byte{hex[octet&15], '.', hex[octet>>4], '.'})
	}
	return b.String() + "ip6.arpa"
}
