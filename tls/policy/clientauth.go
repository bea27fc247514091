package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/bulwark-edge/bulwark/tls/peer"
)

// Mode says what a handshake asks of the client.
type Mode uint8

// The modes. Off asks for nothing. Request asks for a certificate and takes any
// or none: whoever serves the connection judges it. Require ends the handshake
// unless the client shows a certificate that Verifier accepts.
const (
	Off Mode = iota
	Request
	Require
)

// ClientAuth is what handshakes for a server name ask of the client. It is
// immutable.
type ClientAuth struct {
	Mode Mode
	// CAs are the authorities that the client's certificate may come from.
	CAs []*x509.Certificate
	// SendCADN lets the client be told the names of CAs, so that it can choose
	// among its certificates.
	SendCADN bool
	// Verifier judges what the client shows, and Rules whom it lets in of those; with
	// Require, which must have a Verifier. Rules may be nil: all of them.
	Verifier *peer.Verifier
	Rules    *peer.Rules
	// Terms is whatever else makes two of them differ, as a text: how a chain is
	// verified, or who asks.
	Terms string
}

// Key returns a text that two have in common only if they ask for the same and
// verify in the same way. A nil or Off one has "". Session tickets and kept
// connections of one key are worth nothing under another.
func (a *ClientAuth) Key() string {
	if a == nil || a.Mode == Off {
		return ""
	}
	h := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	told := byte(0)
	if a.SendCADN {
		told = 1
	}
	part([]byte{byte(a.Mode), told})
	part([]byte(a.Terms))
	if a.Verifier != nil {
		part([]byte(a.Verifier.Key()))
	}
	for _, ca := range a.CAs {
		part(ca.Raw)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// mode returns Off for nil too.
func (a *ClientAuth) mode() Mode {
	if a == nil {
		return Off
	}
	return a.Mode
}

var errNoVerifier = errors.New("a certificate is required, and nobody would verify it")

// check finds what would let in whom nobody has named.
func (a *ClientAuth) check() error {
	if a.mode() == Require && a.Verifier == nil {
		return errNoVerifier
	}
	return nil
}

// with returns what asks for both a and b. Only one of them may have a Verifier:
// b's is left out if both have.
func (a *ClientAuth) with(b *ClientAuth) *ClientAuth {
	switch {
	case b.mode() == Off:
		return a
	case a.mode() == Off:
		return b
	}
	both := *a
	if a.Mode < b.Mode {
		both = *b
	}
	// Told of some authorities only, a client with a certificate of another shows
	// none at all.
	both.SendCADN, both.CAs = a.SendCADN && b.SendCADN, nil
	if both.SendCADN {
		both.CAs = slices.Concat(a.CAs, b.CAs)
	}
	both.Terms = a.Key() + " " + b.Key()
	return &both
}
