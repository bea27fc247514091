package l7

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

func appendJSONOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendJSON(b, s)
}

// appendLowerJSON appends s as a JSON string with ASCII letters in lower case,
// which those of escapes are anyway.
func appendLowerJSON(b []byte, s string) []byte {
	from := len(b)
	b = appendJSON(b, s)
	lower(b[from:])
	return b
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	return append(appendJSONText(append(b, '"'), s), '"')
}

// appendJSONText appends s as a part of a JSON string. Bytes that are not UTF-8
// become U+FFFD, so that a line is always valid JSON.
func appendJSONText(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	return appendEscaped(b, s)
}

// Eight bytes at once, each in its own eight bits.
const (
	each  = 0x0101010101010101
	highs = 0x80 * each
)

// plain reports whether s stands in a JSON string as it is: it has no control
// byte, quote, backslash, DEL, nor any byte beyond ASCII.
func plain(s string) bool {
	if len(s) < 8 {
		for i := 0; i < len(s); i++ {
			if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
				return false
			}
		}
		return true
	}
	odd := oddBytes(word(s[len(s)-8:])) // overlaps what the loop has seen
	for ; len(s) > 8; s = s[8:] {
		odd |= oddBytes(word(s))
	}
	return odd&highs == 0
}

// oddBytes sets the highest bit of some byte if any byte of w cannot stand in a
// JSON string as it is. A carry or a borrow reaches the next byte only from one
// that has its bit set.
func oddBytes(w uint64) uint64 {
	quote, backslash := w^'"'*each, w^'\\'*each
	return w | (w - ' '*each) | (w + each) | (quote - each) | (backslash - each)
}

// word reads the first eight bytes of s, which has as many. The compiler makes
// one load of it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// appendNumber is strconv.AppendInt in base 10, quicker for most of what a log
// entry tells.
func appendNumber(b []byte, n int64) []byte {
	switch u := uint64(n); {
	case u < 10:
		return append(b, byte('0'+u))
	case u < 100:
		return append(b, byte('0'+u/10), byte('0'+u%10))
	case u < 1000:
		return append(b, byte('0'+u/100), byte('0'+u/10%10), byte('0'+u%10))
	}
	return strconv.AppendInt(b, n, 10)
}

// lower makes the ASCII letters of b lower case.
func lower(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		low := w &^ highs
		capital := (low + (0x80-'A')*each) &^ (low + (0x80-'Z'-1)*each) &^ w & highs
		binary.LittleEndian.PutUint64(b, w|capital>>2)
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

const hexDigits = "0123456789abcdef"

// appendEscaped is appendJSONText for any s.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(b, s[start:]...)
}
