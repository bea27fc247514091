package upstream

import "math/bits"

// The primes of xxHash32.
const (
	prime1 uint32 = 2654435761
	prime2 uint32 = 2246822519
	prime3 uint32 = 3266489917
	prime4 uint32 = 668265263
	prime5 uint32 = 374761393
)

// Hash returns the hash that ConsistentHashing goes by: xxHash32 with seed 0,
// as in Kong.
func Hash[T string | []byte](text T) uint32 {
	n, at := len(text), 0
	h := prime5
	if n >= 16 {
		one, two := prime1, prime2
		lanes := [4]uint32{one + two, two, 0, -one}
		for ; at+16 <= n; at += 16 {
			for i := range lanes {
				lanes[i] = bits.RotateLeft32(lanes[i]+word(text, at+4*i)*prime2, 13) * prime1
			}
		}
		h = bits.RotateLeft32(lanes[0], 1) + bits.RotateLeft32(lanes[1], 7) +
			bits.RotateLeft32(lanes[2], 12) + bits.RotateLeft32(lanes[3], 18)
	}
	h += uint32(n)
	for ; at+4 <= n; at += 4 {
		h = bits.RotateLeft32(h+word(text, at)*prime3, 17) * prime4
	}
	for ; at < n; at++ {
		h = bits.RotateLeft32(h+uint32(text[at])*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}

// word returns the four bytes at an index, the lowest first.
func word[T string | []byte](text T, at int) uint32 {
	return uint32(text[at]) | uint32(text[at+1])<<8 | uint32(text[at+2])<<16 | uint32(text[at+3])<<24
}
