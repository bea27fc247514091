package l7

import "strings"

// UpstreamPath returns the path an upstream is sent, escaped. base is the
// service's path ("" means "/"), path the normalised path of the request, and
// matched the part of it that the route's path matched, "" if the route has
// none. strip and v1 are the route's strip_path and path_handling.
//
// With strip, matched is taken off the path (for a route without paths: the
// first slash), and so is a "./" or "../" that then stands in front: a prefix
// that ends within a segment cannot make a dot segment. v0 puts one slash
// between base and rest, and lets the request say whether the path ends with
// one; v1 joins them as they are.
//
// What is no path ("*") is returned as it is. Nothing is allocated when the
// result is the base or the end of path.
func UpstreamPath(base, path, matched string, strip, v1 bool) string {
	if path == "" || path[0] != '/' {
		return path
	}
	if base == "" {
		base = "/"
	}
	rest := path[1:]
	if strip {
		rest = stripMatched(path, matched)
	}
	var slash string
	switch {
	case !strip && (v1 || endsWithSlash(base)):
		// base and the path without its first slash.
	case !strip:
		if rest != "" {
			slash = "/"
		}
	case beginsWithSlash(rest) && endsWithSlash(base):
		base = base[:len(base)-1]
	case v1 || beginsWithSlash(rest):
		// As they are.
	case rest == "":
		base, slash = emptyRest(base, path)
	case !endsWithSlash(base):
		slash = "/"
	}
	return joinUpstreamPath(path, base, slash, rest)
}

// stripMatched takes the matched part off path.
func stripMatched(path, matched string) string {
	rest := path[max(len(matched), 1):]
	switch {
	case rest == "." || rest == "..":
		return ""
	case strings.HasPrefix(rest, "./"):
		return rest[2:]
	case strings.HasPrefix(rest, "../"):
		return rest[3:]
	}
	return rest
}

// emptyRest says, for v0, whether a base that nothing follows ends with a
// slash: as the request does, but the root always.
func emptyRest(base, path string) (head, slash string) {
	switch {
	case base == "/":
	case endsWithSlash(base) && !endsWithSlash(path):
		base = base[:len(base)-1]
	case !endsWithSlash(base) && endsWithSlash(path) && len(path) > 1:
		slash = "/"
	}
	return base, slash
}

// joinUpstreamPath joins and escapes the parts. rest is the end of path.
func joinUpstreamPath(path, base, slash, rest string) string {
	if before := len(path) - len(rest) - 1; base == "/" && slash == "" && before >= 0 && path[before] == '/' {
		base, rest = "", path[before:]
	}
	switch {
	case base == "" && slash == "":
		return EscapePath(rest)
	case slash == "" && rest == "":
		return EscapePath(base)
	}
	escapes := countEscapes(base) + countEscapes(rest)
	var b strings.Builder
	b.Grow(len(base) + len(slash) + len(rest) + 2*escapes)
	writeEscaped(&b, base)
	b.WriteString(slash)
	writeEscaped(&b, rest)
	return b.String()
}

// EscapePath returns a normalised path, or a part of one, in the form that may
// stand in a request target or a field value: bytes outside
// A-Z a-z 0-9 - . _ ~ % ! # $ & ' ( ) * + , / : ; = ? @ [ ] become %XX. A
// clean path is returned as it is, without allocation.
func EscapePath(path string) string {
	escapes := countEscapes(path)
	if escapes == 0 {
		return path
	}
	var b strings.Builder
	b.Grow(len(path) + 2*escapes)
	writeEscaped(&b, path)
	return b.String()
}

func countEscapes(s string) (n int) {
	for i := range len(s) {
		if pathBytes[s[i]]&pathLiteral == 0 {
			n++
		}
	}
	return n
}

func writeEscaped(b *strings.Builder, s string) {
	clean := 0 // where the bytes not yet written begin
	for i := range len(s) {
		c := s[i]
		if pathBytes[c]&pathLiteral != 0 {
			continue
		}
		b.WriteString(s[clean:i])
		b.WriteByte('%')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
		clean = i + 1
	}
	b.WriteString(s[clean:])
}

func beginsWithSlash(s string) bool { return s != "" && s[0] == '/' }

func endsWithSlash(s string) bool { return s != "" && s[len(s)-1] == '/' }
