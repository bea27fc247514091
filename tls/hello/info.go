package hello

import (
	"iter"
	"strings"
	"sync"
)

// Info is what a ClientHello says. It does not change once it is parsed, any
// number of goroutines may use it, and it shares no memory with the bytes it was
// parsed from. It must not be copied.
type Info struct {
	// ServerName is the host that the client wants (RFC 6066 section 3), in
	// lower case; "" if it does not say. It is a valid host name, never an
	// address.
	ServerName string
	// ALPN are the application protocols that the client speaks (RFC 7301), in
	// its order. None is empty.
	ALPN []string

	// QUIC tells that the hello came by QUIC, not by TCP.
	QUIC bool
	// LegacyVersion is the message's own field, which no version after TLS 1.2
	// uses.
	LegacyVersion uint16
	// Version is the highest version that is offered, numbers that only guard
	// against ossification (RFC 8701) left out. Without the extension
	// supported_versions it is LegacyVersion; 0 if nothing is offered.
	Version uint16
	// SessionIDLen is how long the session's id is, 0 to 32 bytes.
	SessionIDLen int
	// ECH tells whether the hello hides another one.
	ECH ECH
	// EarlyData tells that data follow before the handshake is done (0-RTT).
	EarlyData bool
	// PreSharedKey tells that the client wants to resume a session of TLS 1.3,
	// or shares a key with the server.
	PreSharedKey bool

	CipherSuites        Codes
	Extensions          Codes // their types, in the client's order; each once
	Versions            Codes // supported_versions; empty if not sent
	Groups              Codes // supported_groups; empty if not sent
	SignatureAlgorithms Codes // empty if not sent

	protocols [4]string // room for ALPN, so that it costs no allocation

	ja4Once sync.Once
	ja4     string
}

// ECH is what a hello has of Encrypted Client Hello (RFC 9849 section 5).
type ECH uint8

const (
	ECHNone  ECH = iota
	ECHOuter     // another hello is hidden in it, or it pretends so
	ECHInner     // it is one that was hidden, as a server in front passes it on
)

// Codes is a list of numbers of two bytes, as they stand in the message: what
// TLS identifies nearly everything by.
type Codes string

// Len returns how many there are.
func (c Codes) Len() int { return len(c) / 2 }

// At returns one of them, counted from 0.
func (c Codes) At(i int) uint16 { return uint16(c[2*i])<<8 | uint16(c[2*i+1]) }

// All yields them in order.
func (c Codes) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i := range c.Len() {
			if !yield(c.At(i)) {
				return
			}
		}
	}
}

// Has reports whether v is among them.
func (c Codes) Has(v uint16) bool {
	for i := range c.Len() {
		if c.At(i) == v {
			return true
		}
	}
	return false
}

// grease reports whether v is one of the numbers that mean nothing and are sent
// to keep servers used to unknown ones (RFC 8701 section 2).
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// newInfo copies what is of use in a parsed message into one string, of which
// all of the Info is cut.
func newInfo(m *message) *Info {
	info := &Info{
		LegacyVersion: m.legacyVersion,
		Version:       m.legacyVersion,
		SessionIDLen:  len(m.sessionID),
		ECH:           m.ech,
		EarlyData:     m.earlyData,
		PreSharedKey:  m.preSharedKey,
	}
	var text strings.Builder
	text.Grow(len(m.name) + len(m.protocols) + len(m.ciphers) + 2*m.extensionCount +
		len(m.versions) + len(m.groups) + len(m.signatures))
	for _, c := range m.name {
		text.WriteByte(lower(c))
	}
	text.Write(m.protocols)
	text.Write(m.ciphers)
	for rest := m.extensions; len(rest) > 0; {
		text.Write(rest[:2])
		rest = rest[4+int(rest[2])<<8+int(rest[3]):]
	}
	text.Write(m.versions)
	text.Write(m.groups)
	text.Write(m.signatures)

	rest := text.String()
	cut := func(n int) string {
		part := rest[:n]
		rest = rest[n:]
		return part
	}
	info.ServerName = cut(len(m.name))
	info.ALPN = info.protocols[:0]
	for list := cut(len(m.protocols)); list != ""; {
		n := 1 + int(list[0])
		info.ALPN = append(info.ALPN, list[1:n])
		list = list[n:]
	}
	info.CipherSuites = Codes(cut(len(m.ciphers)))
	info.Extensions = Codes(cut(2 * m.extensionCount))
	info.Versions = Codes(cut(len(m.versions)))
	info.Groups = Codes(cut(len(m.groups)))
	info.SignatureAlgorithms = Codes(cut(len(m.signatures)))
	if info.Extensions.Has(extSupportedVersions) {
		info.Version = 0
		for v := range info.Versions.All() {
			if !grease(v) {
				info.Version = max(info.Version, v)
			}
		}
	}
	return info
}
