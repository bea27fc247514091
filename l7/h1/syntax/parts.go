package syntax

import "github.com/bulwark-edge/bulwark/l7"

// HTTP2Preface is what a client of HTTP/2 says first (RFC 9113 section 3.4). It
// begins as a request of a method that nobody has.
const HTTP2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ParsePath fills Path and Query of r from the path and query that stand apart
// from a request line, by the line's grammar. "*" is for OPTIONS. It reports
// false if s is none.
func ParsePath(s string, r *l7.Request) bool {
	if s == "*" {
		r.Path = s
		return r.Method == "OPTIONS"
	}
	if s == "" || s[0] != '/' {
		return false
	}
	i := 0
	for i < len(s) {
		c := s[i]
		switch {
		case c == '?':
			r.Path, r.Query, r.HasQuery = s[:i], s[i+1:], true
			return validQuery(r.Query)
		case c == '%':
			if i+2 >= len(s) || classes[s[i+1]]&classes[s[i+2]]&isHex == 0 {
				return false
			}
			i += 3
		case classes[c]&isPath == 0:
			return false
		default:
			i++
		}
	}
	r.Path = s
	return true
}

func validQuery(s string) bool {
	for i := range len(s) {
		if classes[s[i]]&isQuery == 0 {
			return false
		}
	}
	return true
}

// ValidAuthority reports whether a is host or host:port with a host that is not
// empty.
func ValidAuthority(a string) bool { return validAuthority(a) }

// SameAuthority compares two valid authorities: hosts without case, ports by
// number with the scheme's default.
func SameAuthority(a, b string, secure bool) bool { return sameAuthority(a, b, secure) }

// ParseLength reads the value of a Content-Length: digits only, below 2^63.
func ParseLength(s string) (n int64, ok bool) { return parseLength(s) }
