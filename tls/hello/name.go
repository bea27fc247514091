package hello

const (
	maxName  = 253 // bytes of a host name, RFC 1035 section 2.3.4 less the root
	maxLabel = 63
)

// hostName reports whether b is a host name as RFC 6066 section 3 wants it: the
// labels of RFC 1123 section 2.1, besides which the underscore is tolerated,
// without a dot at the end, and no address. No label is all digits at the
// name's end, which keeps IPv4 addresses in all of their spellings away.
func hostName(b []byte) bool {
	if len(b) > maxName {
		return false
	}
	start, digits := 0, true // of the label
	for i, c := range b {
		switch {
		case c == '.':
			if !label(b[start:i]) {
				return false
			}
			start, digits = i+1, true
		case '0' <= c && c <= '9':
		case 'a' <= lower(c) && lower(c) <= 'z', c == '-', c == '_':
			digits = false
		default:
			return false
		}
	}
	return label(b[start:]) && !digits
}

// label reports whether b, which has none but a label's characters, is one.
func label(b []byte) bool {
	return len(b) > 0 && len(b) <= maxLabel && b[0] != '-' && b[len(b)-1] != '-'
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
