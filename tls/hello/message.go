package hello

import "slices"

// The types of the extensions that are looked into.
const (
	extServerName          = 0
	extSupportedGroups     = 10
	extSignatureAlgorithms = 13
	extALPN                = 16
	extPreSharedKey        = 41
	extEarlyData           = 42
	extSupportedVersions   = 43
	extTransportParameters = 57
	extECH                 = 0xfe0d
)

const (
	version13    = 0x0304
	randomBytes  = 32
	maxSessionID = 32
)

// faultCut is the fault of a message that ends too early, in one of its parts or
// as a whole.
const faultCut = fault("a part of it is cut off")

// message is a parsed ClientHello; its slices are parts of the bytes.
type message struct {
	legacyVersion uint16
	sessionID     []byte
	ciphers       []byte
	extensions    []byte // all of them, as they stand

	name           []byte
	protocols      []byte // each behind its length
	versions       []byte
	groups         []byte
	signatures     []byte
	ech            ECH
	earlyData      bool
	preSharedKey   bool
	extensionCount int
}

// parseMessage parses a whole message (RFC 8446 section 4.1.2, RFC 5246 section
// 7.4.1.2), its head included.
func parseMessage(b []byte) (*Info, error) {
	var m message
	in := input(b[messageHead:])
	var random, compression []byte
	if !in.number(&m.legacyVersion) || !in.take(&random, randomBytes) ||
		!in.vector8(&m.sessionID) || !in.vector16(&m.ciphers) || !in.vector8(&compression) {
		return nil, faultCut
	}
	switch {
	case m.legacyVersion>>8 != 3:
		return nil, fault("it is of no version of TLS")
	case len(m.sessionID) > maxSessionID:
		return nil, fault("the session id is too long")
	case !codes(m.ciphers):
		return nil, fault("the list of cipher suites is empty or cut")
	case !slices.Contains(compression, 0):
		return nil, fault("it cannot do without compression")
	}
	// Clients of old have no extensions at all.
	if len(in) > 0 {
		if !in.vector16(&m.extensions) {
			return nil, faultCut
		}
		if len(in) > 0 {
			return nil, fault("something follows the extensions")
		}
		if err := m.parseExtensions(); err != nil {
			return nil, err
		}
	}
	return newInfo(&m), nil
}

// parseExtensions parses all extensions (RFC 8446 section 4.2).
func (m *message) parseExtensions() error {
	var seen seen
	for in := input(m.extensions); len(in) > 0; {
		var kind uint16
		var data []byte
		if !in.number(&kind) || !in.vector16(&data) {
			return faultCut
		}
		if seen.before(kind) {
			return fault("an extension stands twice")
		}
		m.extensionCount++
		if err := m.parseExtension(kind, data); err != nil {
			return err
		}
		// RFC 8446 section 4.2.11.
		if kind == extPreSharedKey && len(in) > 0 {
			return fault("the pre-shared keys are not the last extension")
		}
	}
	return nil
}

func (m *message) parseExtension(kind uint16, in input) error {
	ok := true
	switch kind {
	case extServerName:
		return m.parseServerName(in)
	case extALPN:
		ok = in.vector16(&m.protocols) && len(in) == 0 && names(m.protocols)
	case extSupportedGroups:
		ok = in.vector16(&m.groups) && len(in) == 0 && codes(m.groups)
	case extSignatureAlgorithms:
		ok = in.vector16(&m.signatures) && len(in) == 0 && codes(m.signatures)
	case extSupportedVersions:
		ok = in.vector8(&m.versions) && len(in) == 0 && codes(m.versions)
	case extEarlyData:
		m.earlyData = true
		ok = len(in) == 0
	case extPreSharedKey:
		m.preSharedKey = true
		var identities, binders []byte
		ok = in.vector16(&identities) && in.vector16(&binders) && len(in) == 0 &&
			len(identities) > 0 && len(binders) > 0
	case extECH:
		return m.parseECH(in)
	}
	if !ok {
		return fault("an extension's list is empty or cut")
	}
	return nil
}

// parseServerName parses the list of names (RFC 6066 section 3), of which there
// is one for each type at most. There is only one type.
func (m *message) parseServerName(in input) error {
	var list []byte
	if !in.vector16(&list) || len(in) > 0 || len(list) == 0 {
		return fault("the list of server names is empty or cut")
	}
	for in = list; len(in) > 0; {
		var kind, name []byte
		if !in.take(&kind, 1) || !in.vector16(&name) {
			return fault("the list of server names is empty or cut")
		}
		if kind[0] != 0 {
			continue
		}
		if m.name != nil {
			return fault("there are two server names")
		}
		if !hostName(name) {
			return ErrServerName
		}
		m.name = name
	}
	return nil
}

// parseECH parses the extension of RFC 9849 section 5.
func (m *message) parseECH(in input) error {
	var kind, suite, id, enc, payload []byte
	switch {
	case !in.take(&kind, 1):
	case kind[0] == 1 && len(in) == 0:
		m.ech = ECHInner
		return nil
	case kind[0] == 0 && in.take(&suite, 4) && in.take(&id, 1) && in.vector16(&enc) &&
		in.vector16(&payload) && len(in) == 0 && len(payload) > 0:
		m.ech = ECHOuter
		return nil
	}
	return fault("what it says of the hidden hello is cut or unknown")
}

// codes reports whether b is a list of at least one number of two bytes.
func codes(b []byte) bool { return len(b) > 0 && len(b)%2 == 0 }

// names reports whether b is a list of at least one name, each behind its
// length and none empty (RFC 7301 section 3.1).
func names(b []byte) bool {
	for in := input(b); len(in) > 0; {
		var name []byte
		if !in.vector8(&name) || len(name) == 0 {
			return false
		}
	}
	return len(b) > 0
}

// seen is the set of the types of extensions so far.
type seen struct {
	low  uint64 // those below 64
	high [32]uint16
	n    int              // how many of high are used
	more *[1 << 10]uint64 // all from 64 on, once there are more than in high
}

// before reports whether kind is in the set, and puts it in.
func (s *seen) before(kind uint16) bool {
	switch {
	case kind < 64:
		return put(&s.low, kind)
	case s.more != nil:
		return put(&s.more[kind/64], kind)
	case slices.Contains(s.high[:s.n], kind):
		return true
	case s.n < len(s.high):
		s.high[s.n] = kind
		s.n++
		return false
	}
	s.more = new([1 << 10]uint64)
	for _, k := range s.high {
		put(&s.more[k/64], k)
	}
	return put(&s.more[kind/64], kind)
}

func put(word *uint64, kind uint16) (was bool) {
	bit := uint64(1) << (kind % 64)
	was = *word&bit != 0
	*word |= bit
	return was
}

// input is bytes that are read from the front. What cannot be read leaves it in
// a state that is of no use.
type input []byte

// take reads n bytes.
func (in *input) take(to *[]byte, n int) bool {
	if len(*in) < n {
		return false
	}
	*to, *in = (*in)[:n:n], (*in)[n:]
	return true
}

// number reads a number of two bytes.
func (in *input) number(to *uint16) bool {
	var b []byte
	if !in.take(&b, 2) {
		return false
	}
	*to = uint16(b[0])<<8 | uint16(b[1])
	return true
}

// vector8 reads bytes that stand behind their length of one byte.
func (in *input) vector8(to *[]byte) bool {
	var n []byte
	return in.take(&n, 1) && in.take(to, int(n[0]))
}

// vector16 reads bytes that stand behind their length of two bytes.
func (in *input) vector16(to *[]byte) bool {
	var n uint16
	return in.number(&n) && in.take(to, int(n))
}
