package initial

import (
	"encoding/binary"
	"errors"
)

// The versions whose packets are understood.
const (
	Version1 = 0x00000001
	Version2 = 0x6b3343cf
)

const (
	// maxID is the length of a connection id in versions 1 and 2. Other
	// versions may have ids of 255 bytes.
	maxID = 20

	tagBytes    = 16 // of AES-GCM, and of a Retry packet
	sampleBytes = 16 // of the header protection, RFC 9001 section 5.4.2
	maxNumber   = 4  // bytes of a packet number
)

// ErrMalformed is wrapped by what is wrong with a packet, or with what a client
// says in it.
var ErrMalformed = errors.New("malformed QUIC packet")

// fault is a broken rule.
type fault string

func (f fault) Error() string { return ErrMalformed.Error() + ": " + string(f) }

func (fault) Unwrap() error { return ErrMalformed }

const faultCut = fault("it is cut off")

// Type is a packet's type.
type Type uint8

const (
	TypeShort Type = iota // 1-RTT: the only one with a short header
	TypeInitial
	TypeZeroRTT
	TypeHandshake
	TypeRetry
	TypeVersionNegotiation
	TypeUnknown // long header of a version that is not understood
)

// Header is what a packet shows to everyone. Its slices are parts of the
// datagram.
type Header struct {
	Type Type
	// Fixed is the bit that tells QUIC from other protocols. It is set, unless
	// both sides agreed that it says nothing (RFC 9287); it is no error if it is
	// not, and says nothing in other versions.
	Fixed   bool
	Version uint32 // 0 in a short header
	DCID    []byte // connection id of who gets the packet; up to 20 bytes, up to 255 in unknown versions
	SCID    []byte // of who sent it; nil in a short header
	Token   []byte // of an Initial or a Retry packet
	// Size is how many bytes of the datagram the packet takes. Other packets
	// may follow it (RFC 9000 section 12.2), unless the type is TypeShort,
	// TypeRetry, TypeVersionNegotiation or TypeUnknown.
	Size int

	number int // where the packet number is, if there is one
}

// ParseHeader parses the header of the packet that b begins with: a datagram, or
// what is left of it behind other packets. A short header does not tell how long
// its connection id is; shortDCIDLen, 0 to 20, does. The error is ErrMalformed.
// It makes no allocation.
func ParseHeader(b []byte, shortDCIDLen int) (Header, error) {
	h := Header{Size: len(b)}
	in := input(b)
	var first []byte
	if !in.take(&first, 1) {
		return Header{}, faultCut
	}
	h.Fixed = first[0]&0x40 != 0
	if first[0]&0x80 == 0 {
		if shortDCIDLen < 0 || shortDCIDLen > maxID || !in.take(&h.DCID, shortDCIDLen) {
			return Header{}, faultCut
		}
		return h, nil
	}
	var version []byte
	if !in.take(&version, 4) || !in.vector(&h.DCID) || !in.vector(&h.SCID) {
		return Header{}, faultCut
	}
	h.Version = binary.BigEndian.Uint32(version)
	switch h.Version {
	case 0:
		h.Type = TypeVersionNegotiation
		if len(in) == 0 || len(in)%4 != 0 {
			return Header{}, fault("the list of versions is empty or cut")
		}
		return h, nil
	case Version1, Version2:
		if len(h.DCID) > maxID || len(h.SCID) > maxID {
			return Header{}, fault("a connection id is too long")
		}
		h.Type = longType(first[0], h.Version)
		if err := h.parseRest(b, in); err != nil {
			return Header{}, err
		}
		return h, nil
	}
	h.Type = TypeUnknown
	return h, nil
}

// longType returns the type that the first byte of a long header tells: RFC 9000
// section 17.2, and RFC 9369 section 3.2, where the numbers are moved by one.
func longType(first byte, version uint32) Type {
	n := first >> 4 & 3
	if version == Version2 {
		n = (n - 1) & 3
	}
	return TypeInitial + Type(n)
}

// parseRest parses what follows the connection ids in a long header of b (RFC
// 9000 section 17.2.2 to 17.2.5).
func (h *Header) parseRest(b []byte, in input) error {
	if h.Type == TypeRetry {
		if len(in) <= tagBytes {
			return fault("a Retry packet has no token")
		}
		h.Token = in[:len(in)-tagBytes]
		return nil
	}
	if h.Type == TypeInitial {
		var n uint64
		if !in.varint(&n) || n > uint64(len(in)) {
			return faultCut
		}
		in.take(&h.Token, int(n))
	}
	var length uint64
	if !in.varint(&length) || length > uint64(len(in)) {
		return faultCut
	}
	// Who takes protection off needs so much.
	if length < maxNumber+sampleBytes {
		return fault("it is too short to be protected")
	}
	h.number = len(b) - len(in)
	h.Size = h.number + int(length)
	return nil
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

// vector reads bytes that stand behind their length of one byte.
func (in *input) vector(to *[]byte) bool {
	var n []byte
	return in.take(&n, 1) && in.take(to, int(n[0]))
}

// varint reads a number of RFC 9000 section 16, below 2^62.
func (in *input) varint(to *uint64) bool {
	if len(*in) == 0 {
		return false
	}
	var b []byte
	if !in.take(&b, 1<<((*in)[0]>>6)) {
		return false
	}
	*to = uint64(b[0] & 0x3f)
	for _, c := range b[1:] {
		*to = *to<<8 | uint64(c)
	}
	return true
}
