package pattern

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bytes reports whether Coraza takes an expression for one over bytes: whether
// its escapes \xNN and \x{NN}, written out as bytes, make it something else than
// UTF-8. Other escapes count as their backslash and what follows.
func Bytes(expr string) bool {
	if !strings.Contains(expr, `\x`) {
		return !utf8.ValidString(expr)
	}
	b := make([]byte, 0, len(expr))
	for i := 0; i < len(expr); i++ {
		if expr[i] != '\\' {
			b = append(b, expr[i])
			continue
		}
		if i+3 >= len(expr) { // too short for an escape
			b = append(b, expr[i:]...)
			break
		}
		digits, last := expr[i+1:i+4], i+3
		if expr[i+1] == 'x' && expr[i+2] == '{' && i+5 < len(expr) {
			if end := strings.IndexByte(expr[i:], '}'); end >= 0 {
				digits, last = "x"+expr[i+3:i+end], i+end
			}
		}
		if digits[0] != 'x' || len(digits) < 3 {
			b = append(b, '\\')
			continue
		}
		v, err := strconv.ParseUint(digits[1:3], 16, 8)
		if err != nil {
			b = append(b, '\\')
			continue
		}
		b = append(b, byte(v))
		i = last
	}
	return !utf8.Valid(b)
}
