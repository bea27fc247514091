package l7

import "errors"

// Why a path is refused. The pipeline answers all of them with 400.
var (
	errPathForm    = errors.New("path does not begin with a slash")
	errPathEscape  = errors.New("path holds a percent sign without two hex digits")
	errPathNUL     = errors.New("path holds a NUL byte")
	errPathForeign = errors.New("path holds an unescaped question mark or hash")
)

// NormalizePath returns the path that routes are matched on and that the
// upstream path is built from, so that what is routed is what is forwarded:
//
//   - every %XX is decoded, save those that stand for one of
//     ! * ' ( ) ; : @ & = + $ , / ? % # [ ] which stay escaped, with upper-case
//     digits;
//   - dot segments, encoded ones too, are resolved; those that climb above the
//     root end at the root;
//   - repeated slashes are merged, before dot segments are resolved.
//
// A backslash is an ordinary byte, never a separator: "%5C" is matched as "\"
// and goes upstream as "%5C", as does a backslash that came unescaped.
//
// An empty path is "/", and "*" (RFC 9112 section 3.2.4) stays as it is. Paths
// of any other form, broken escapes, NUL in any spelling, and bytes that
// belong to a query or a fragment are errors.
//
// A path that is normal already is returned as it is, without allocation.
func NormalizePath(raw string) (string, error) {
	if raw == "" {
		return "/", nil
	}
	if raw[0] != '/' {
		if raw == "*" {
			return raw, nil
		}
		return "", errPathForm
	}
	for i := 1; i < len(raw); i++ {
		switch pathBytes[raw[i]] & pathScan {
		case pathOrdinary:
		case pathSlash:
			if raw[i-1] == '/' {
				return rewritePath(raw)
			}
		case pathDot:
			if raw[i-1] == '/' && isDotSegment(raw[i:]) {
				return rewritePath(raw)
			}
		case pathPercent:
			if !isKeptEscape(raw[i:]) {
				return rewritePath(raw)
			}
		default:
			return rewritePath(raw)
		}
	}
	return raw, nil
}

// rewritePath is NormalizePath for a path with a leading slash that is not
// normal, or must be refused.
func rewritePath(raw string) (string, error) {
	out := make([]byte, 1, len(raw))
	out[0] = '/'
	segment := 1 // where the segment being written begins in out
	for i := 1; i < len(raw); i++ {
		c := raw[i]
		switch pathBytes[c] & pathScan {
		case pathSlash:
			if out = endSegment(out, segment); out[len(out)-1] != '/' {
				out = append(out, '/')
			}
			segment = len(out)
			continue
		case pathPercent:
			if i+2 >= len(raw) {
				return "", errPathEscape
			}
			high, low := hexValue(raw[i+1]), hexValue(raw[i+2])
			if high > 15 || low > 15 {
				return "", errPathEscape
			}
			i += 2
			if c = high<<4 | low; pathBytes[c]&pathReserved != 0 {
				out = append(out, '%', upperHex[high], upperHex[low])
				continue
			}
		case pathForeign:
			return "", errPathForeign
		}
		if c == 0 {
			return "", errPathNUL
		}
		out = append(out, c)
	}
	return string(endSegment(out, segment)), nil
}

// endSegment resolves the segment that begins at the given place and reaches
// to the end of out, if it is a dot segment.
func endSegment(out []byte, segment int) []byte {
	switch string(out[segment:]) {
	case ".":
		return out[:segment]
	case "..":
		// Back to behind the slash before the last; the root has none.
		end := segment - 1
		for end > 0 && out[end-1] != '/' {
			end--
		}
		return out[:max(end, 1)]
	}
	return out
}

// isDotSegment reports whether s, which begins with a dot, begins with a whole
// segment "." or "..".
func isDotSegment(s string) bool {
	if len(s) > 1 && s[1] == '.' {
		s = s[1:]
	}
	return len(s) == 1 || s[1] == '/'
}

// isKeptEscape reports whether s begins with an escape that normalisation
// keeps as it is.
func isKeptEscape(s string) bool {
	if len(s) < 3 {
		return false
	}
	high, low := hexValue(s[1]), hexValue(s[2])
	return high <= 15 && low <= 15 && pathBytes[high<<4|low]&pathReserved != 0 &&
		upperHex[high] == s[1] && upperHex[low] == s[2]
}

// hexValue returns the value of a hex digit, and 255 for any other byte.
func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

const upperHex = "0123456789ABCDEF"

// What a byte means in a path. The low bits say what the scan for a normal
// path does with it; the others are flags.
const (
	pathOrdinary uint8 = iota
	pathSlash
	pathDot
	pathPercent
	pathNUL
	pathForeign // ends the path in a request target (RFC 3986 section 3.3)

	pathScan     uint8 = 0x0f
	pathReserved uint8 = 0x10 // its escape is kept by normalisation
	pathLiteral  uint8 = 0x20 // goes upstream as it is
)

// pathBytes says of each byte what it means in a path. It is built once and
// never written again.
var pathBytes = classifyPathBytes()

func classifyPathBytes() (t [256]uint8) {
	const (
		reserved   = "!*'();:@&=+$,/?%#[]"
		unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	)
	t['/'], t['.'], t['%'], t[0] = pathSlash, pathDot, pathPercent, pathNUL
	t['?'], t['#'] = pathForeign, pathForeign
	for i := range len(reserved) {
		t[reserved[i]] |= pathReserved | pathLiteral
	}
	for i := range len(unreserved) {
		t[unreserved[i]] |= pathLiteral
	}
	return t
}
