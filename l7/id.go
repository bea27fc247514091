package l7

import "math/rand/v2"

// IDDigits is the length of a request id in hex digits.
const IDDigits = 32

// hexPairs holds the two digits of every byte.
var hexPairs = func() (t [256][2]byte) {
	const digits = "0123456789abcdef"
	for i := range t {
		t[i] = [2]byte{digits[i>>4], digits[i&15]}
	}
	return t
}()

// PutID writes a new request id, 128 random bits in hex, to the first IDDigits
// bytes of b. Ids tell requests apart; they are no secrets.
func PutID(b []byte) {
	b = b[:IDDigits]
	for len(b) > 0 {
		r := rand.Uint64()
		for range 8 {
			copy(b, hexPairs[byte(r)][:])
			b, r = b[2:], r>>8
		}
	}
}

// NewID returns a new request id in a string of its own.
func NewID() string {
	var b [IDDigits]byte
	PutID(b[:])
	return string(b[:])
}
