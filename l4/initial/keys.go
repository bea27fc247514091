package initial

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
)

var (
	// ErrVersion is the error about packets of a version that is not
	// understood.
	ErrVersion = errors.New("unknown QUIC version")
	// ErrDecrypt is the error about a packet that the keys do not open: they
	// stem from another connection id, or someone has changed or made it up.
	ErrDecrypt = errors.New("the Initial packet cannot be decrypted")
)

// derivation is what a version derives the keys of its Initial packets by.
type derivation struct{ salt, key, iv, protection string }

// The labels are those of HKDF-Expand-Label (RFC 8446 section 7.1) in the form
// in which HKDF takes them: the length that is wanted, "tls13 " and the label,
// and an empty context.
const labelClient = "\x00\x20\x0ftls13 client in\x00"

// RFC 9001 section 5.2.
var version1 = derivation{
	salt:       "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
	key:        "\x00\x10\x0etls13 quic key\x00",
	iv:         "\x00\x0c\x0dtls13 quic iv\x00",
	protection: "\x00\x10\x0dtls13 quic hp\x00",
}

// RFC 9369 section 3.3.
var version2 = derivation{
	salt:       "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
	key:        "\x00\x10\x10tls13 quicv2 key\x00",
	iv:         "\x00\x0c\x0ftls13 quicv2 iv\x00",
	protection: "\x00\x10\x0ftls13 quicv2 hp\x00",
}

// secrets is what protects the Initial packets of a client.
type secrets struct {
	key, protection [16]byte
	iv              [12]byte
}

// derive returns the secrets that follow from a connection id.
func derive(version uint32, dcid []byte) (s secrets, err error) {
	var d *derivation
	switch version {
	case Version1:
		d = &version1
	case Version2:
		d = &version2
	default:
		return s, fmt.Errorf("%w %#08x", ErrVersion, version)
	}
	common := mac([]byte(d.salt), dcid)
	client := expand(&common, labelClient)
	for _, part := range [...]struct {
		to    []byte
		label string
	}{{s.key[:], d.key}, {s.iv[:], d.iv}, {s.protection[:], d.protection}} {
		out := expand(&client, part.label)
		copy(part.to, out[:])
	}
	return s, nil
}

// expand is HKDF-Expand (RFC 5869 section 2.3) for up to 32 bytes, of which the
// label tells how many are of use.
func expand(secret *[sha256.Size]byte, label string) [sha256.Size]byte {
	var info [32]byte
	n := copy(info[:], label)
	info[n] = 1
	return mac(secret[:], info[:n+1])
}

// mac is HMAC with SHA-256 (RFC 2104), and so HKDF-Extract too, for keys and
// texts of up to 64 bytes. Every Initial packet of a flood costs five of them,
// for which crypto/hkdf makes 48 allocations; these make none (BenchmarkDerive).
func mac(key, text []byte) [sha256.Size]byte {
	const block = sha256.BlockSize
	var inner [2 * block]byte
	var outer [block + sha256.Size]byte
	copy(inner[:block], key)
	copy(outer[:block], key)
	for i := range block {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[block:], text)
	sum := sha256.Sum256(inner[:block+n])
	copy(outer[block:], sum[:])
	return sha256.Sum256(outer[:])
}

// opener takes the protection off a client's Initial packets. One goroutine uses
// it at a time.
type opener struct {
	aead       cipher.AEAD
	protection cipher.Block
	iv         [12]byte
	largest    int64 // packet number so far; -1 for none

	mask  [aes.BlockSize]byte
	nonce [12]byte
	room  []byte // the last packet, opened
}

func newOpener(version uint32, dcid []byte) (o opener, err error) {
	s, err := derive(version, dcid)
	if err != nil {
		return o, err
	}
	o.iv, o.largest = s.iv, -1
	if o.protection, err = aes.NewCipher(s.protection[:]); err != nil {
		return o, fmt.Errorf("preparing keys: %w", err)
	}
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		return o, fmt.Errorf("preparing keys: %w", err)
	}
	if o.aead, err = cipher.NewGCM(block); err != nil {
		return o, fmt.Errorf("preparing keys: %w", err)
	}
	return o, nil
}

// open returns the frames of an Initial packet whose header was parsed (RFC 9001
// section 5.3 and 5.4). They are good until the next call. The packet stays as
// it is.
func (o *opener) open(packet []byte, h *Header) ([]byte, error) {
	o.room = append(o.room[:0], packet[:h.Size]...)
	packet = o.room
	sample := packet[h.number+maxNumber:][:sampleBytes]
	o.protection.Encrypt(o.mask[:], sample)
	packet[0] ^= o.mask[0] & 0x0f
	n := int(packet[0]&3) + 1
	var truncated int64
	for i := range n {
		packet[h.number+i] ^= o.mask[1+i]
		truncated = truncated<<8 | int64(packet[h.number+i])
	}
	number := fullNumber(truncated, n, o.largest)

	o.nonce = o.iv
	for i := range 8 {
		o.nonce[11-i] ^= byte(number >> (8 * i))
	}
	header, sealed := packet[:h.number+n], packet[h.number+n:]
	frames, err := o.aead.Open(sealed[:0], o.nonce[:], sealed, header)
	switch {
	case err != nil:
		return nil, ErrDecrypt
	case packet[0]&0x0c != 0: // RFC 9000 section 17.2
		return nil, fault("the reserved bits are not 0")
	}
	o.largest = max(o.largest, number)
	return frames, nil
}

// fullNumber returns the packet number of which n bytes were sent, the one that
// lies nearest to the next after the largest so far (RFC 9000 appendix A.3).
func fullNumber(truncated int64, n int, largest int64) int64 {
	const limit = 1 << 62
	window := int64(1) << (8 * n)
	expected := largest + 1
	number := expected&^(window-1) | truncated
	switch {
	case number <= expected-window/2 && number < limit-window:
		return number + window
	case number > expected+window/2 && number >= window:
		return number - window
	}
	return number
}
