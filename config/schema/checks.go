package schema

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// namedCheck returns the check that a check or keys tag names, or nil. The
// messages are Kong's (kong/db/schema/typedefs.lua).
func namedCheck(name string) func(string) *Problem {
	switch name {
	case "name":
		return checkName
	case "utf8_name":
		return checkUTF8Name
	case "tag":
		return checkTag
	case "method":
		return checkMethod
	case "header_name":
		return checkHeaderName
	case "route_header":
		return checkRouteHeader
	case "header_value":
		return checkHeaderValue
	case "field_value":
		return checkFieldValue
	case "path":
		return checkPath
	case "route_path":
		return checkRoutePath
	case "host":
		return checkHost
	case "host_port":
		return checkHostPort
	case "route_host":
		return checkRouteHost
	case "wildcard_host":
		return checkWildcardHost
	case "sni":
		return checkSNI
	case "upstream_name":
		return checkUpstreamName
	case "target":
		return checkTarget
	case "url":
		return checkURL
	}
	return nil
}

// every reports whether all bytes of s satisfy ok.
func every(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isNameByte(c byte) bool { return isAlnum(c) || strings.IndexByte(".-_~", c) >= 0 }

func checkName(s string) *Problem {
	if every(s, isNameByte) {
		return nil
	}
	return &Problem{Reason: "invalid value '" + s + "': it must only contain alphanumeric and '., -, _, ~' characters"}
}

func checkUTF8Name(s string) *Problem {
	if !utf8.ValidString(s) {
		return &Problem{Reason: "invalid utf-8 character sequence"}
	}
	if every(s, func(c byte) bool { return isNameByte(c) || c >= 0x80 }) {
		return nil
	}
	return &Problem{Reason: "invalid value '" + s + "': the only accepted ascii characters are alphanumerics or ., -, _, and ~"}
}

func checkTag(s string) *Problem {
	printable := func(c byte) bool { return c >= ' ' && c != ',' && c != '/' && c != 0x7f }
	if utf8.ValidString(s) && every(s, printable) {
		return nil
	}
	return &Problem{Reason: "invalid tag '" + s + "': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"}
}

func checkMethod(s string) *Problem {
	if every(s, func(c byte) bool { return 'A' <= c && c <= 'Z' }) {
		return nil
	}
	return &Problem{Reason: "invalid value: " + s, Expected: "a method in upper-case letters, such as GET"}
}

func checkHeaderName(s string) *Problem {
	if every(s, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }) {
		return nil
	}
	return &Problem{Reason: "bad header name '" + s + "', allowed characters are A-Z, a-z, 0-9, '_', and '-'"}
}

func checkRouteHeader(s string) *Problem {
	if strings.EqualFold(s, "host") {
		return &Problem{Reason: "cannot contain 'host' header, which must be specified in the 'hosts' attribute"}
	}
	return checkHeaderName(s)
}

func checkHeaderValue(s string) *Problem {
	if expr, ok := strings.CutPrefix(s, "~*"); ok {
		return checkRegex(expr)
	}
	return nil
}

// checkFieldValue holds a value that is sent against RFC 9110 section 5.5.
func checkFieldValue(s string) *Problem {
	visible := func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }
	if every(s, visible) && strings.Trim(s, " \t") == s {
		return nil
	}
	return &Problem{Reason: "invalid header value " + Quote(s), Expected: "text without control characters and without space at its ends"}
}

func checkRegex(s string) *Problem {
	if _, err := regexp.Compile(s); err != nil {
		return regexProblem(s, err)
	}
	return nil
}

func regexProblem(s string, err error) *Problem {
	detail := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	return &Problem{
		Reason:   "invalid regex: '" + s + "' (RE2 returned: " + detail + ")",
		Expected: "an expression in RE2 syntax, which has no look-around and no back-references",
	}
}

func checkURL(s string) *Problem {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return &Problem{Reason: "could not parse url. " + strings.TrimPrefix(err.Error(), "parse ")}
	case u.Host == "":
		return &Problem{Reason: "missing host in url"}
	case u.Scheme == "":
		return &Problem{Reason: "missing scheme in url"}
	}
	return nil
}

// isPathByte reports whether RFC 3986 allows c in a path.
func isPathByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte(".-_~/%:@!$&'()*+,;=", c) >= 0
}

// badEscape returns the first incomplete percent escape of s.
func badEscape(s string) (string, bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return s[i:min(i+3, len(s))], true
		}
		i += 2
	}
	return "", false
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func checkPath(s string) *Problem {
	switch {
	case s[0] != '/':
		return &Problem{Reason: "should start with: /"}
	case strings.Contains(s, "//"):
		return &Problem{Reason: "must not have empty segments"}
	case !every(s, isPathByte):
		return &Problem{Reason: "invalid path: '" + s + "' (characters outside of the reserved list of RFC 3986 found)"}
	}
	if bad, ok := badEscape(s); ok {
		return &Problem{Reason: "invalid url-encoded value: '" + bad + "'"}
	}
	return nil
}

func checkRoutePath(s string) *Problem {
	expr, isRegex := strings.CutPrefix(s, "~")
	switch {
	case !strings.HasPrefix(expr, "/"):
		return &Problem{Reason: "should start with: / (fixed path) or ~/ (regex path)"}
	case strings.Contains(s, "//"):
		return &Problem{Reason: "must not have empty segments"}
	case isRegex:
		return checkRegex(expr)
	}
	if bad, ok := badEscape(s); ok {
		return &Problem{Reason: "invalid url-encoded value: '" + bad + "'"}
	}
	if norm := NormalPath(s); norm != s {
		return &Problem{Reason: "non-normalized path, consider use '" + norm + "' instead"}
	}
	return nil
}

// reserved are the characters whose percent escapes mean something else than
// the characters themselves.
const reserved = "!*'();:@&=+$,/?%#[]"

// NormalPath returns the form of a path that routes are matched in: escapes
// are decoded unless they stand for reserved characters, dot segments are
// resolved and repeated slashes merged. A path must begin with a slash.
func NormalPath(s string) string {
	if strings.IndexByte(s, '%') >= 0 {
		s = decodeUnreserved(s)
	}
	if !strings.Contains(s, "/.") && !strings.Contains(s, "//") {
		return s
	}
	segments := strings.Split(s, "/")[1:]
	out := make([]string, 0, len(segments))
	for i, seg := range segments {
		last := i == len(segments)-1
		switch seg {
		case "", ".":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, seg)
			continue
		}
		if last {
			out = append(out, "") // keeps the trailing slash
		}
	}
	return "/" + strings.Join(out, "/")
}

func decodeUnreserved(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			b.WriteByte(s[i])
			continue
		}
		c := byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
		if strings.IndexByte(reserved, c) >= 0 {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		} else {
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String()
}
