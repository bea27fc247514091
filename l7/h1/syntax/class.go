package syntax

import "math/bits"

// The classes a byte may belong to, as bits of classes.
const (
	isToken  = 1 << iota // tchar, RFC 9110 section 5.6.2
	isPath               // a path's byte, but "%"
	isQuery              // a query's byte
	isHost               // a registered name's byte, but "%"
	isValue              // a field value's byte: HTAB, SP, VCHAR, obs-text
	isQuoted             // qdtext, RFC 9110 section 5.6.4
	isHex                // HEXDIG
	isDigit              // DIGIT
)

// classes holds the class bits of every byte. Built once, never written again.
var classes = classify()

func classify() (t [256]uint8) {
	const symbols = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		b := byte(c)
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		digit := '0' <= b && b <= '9'
		visible := 0x21 <= b && b <= 0x7e
		if letter || digit || contains(symbols, b) {
			t[c] |= isToken
		}
		if visible && !contains(`#?%\`, b) {
			t[c] |= isPath
		}
		if visible && b != '#' {
			t[c] |= isQuery
		}
		if letter || digit || contains("-._~!$&'()*+,;=", b) {
			t[c] |= isHost
		}
		if visible || b == ' ' || b == '\t' || b >= 0x80 {
			t[c] |= isValue
			if b != '"' && b != '\\' {
				t[c] |= isQuoted
			}
		}
		if digit {
			t[c] |= isDigit | isHex
		}
		if letter && b|0x20 <= 'f' {
			t[c] |= isHex
		}
	}
	return t
}

func contains(set string, b byte) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

// valueEnd returns the index of the first byte at or behind i that cannot stand
// in a field value, or len(s). It looks at eight bytes at a time; see
// BenchmarkParseRequest.
func valueEnd(s string, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for i+8 <= len(s) {
		p := s[i : i+8]
		w := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		// A byte below 0x20, or equal to 0x7f, sets its high bit. A borrow can
		// set bits above the first such byte only, so that the lowest is exact.
		d := w ^ 0x7f*ones
		stop := ((w-0x20*ones)&^w | (d-ones)&^d) & highs
		if stop == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(stop) >> 3
		if s[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(s) && classes[s[i]]&isValue != 0 {
		i++
	}
	return i
}

// ValidFieldName reports whether s can stand as a field name.
func ValidFieldName(s string) bool {
	for i := range len(s) {
		if classes[s[i]]&isToken == 0 {
			return false
		}
	}
	return s != ""
}

// ValidFieldValue reports whether s can stand as a field value without changing
// the message around it. Surrounding white space is valid, if of no meaning.
func ValidFieldValue(s string) bool { return valueEnd(s, 0) == len(s) }

// equalFold reports whether s, with ASCII letters in lower case, is lower.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if toLower(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func hasPrefixFold(s, lower string) bool {
	return len(s) >= len(lower) && equalFold(s[:len(lower)], lower)
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
