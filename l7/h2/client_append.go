package h2

import (
	"bytes"

	"github.com/bulwark-edge/bulwark/l7"
)

// appendRequest appends the header block of a request, in literals that no table
// takes up.
func appendRequest(b []byte, h *l7.CallHead) []byte {
	switch h.Method {
	case "GET":
		b = append(b, 0x80|2)
	case "POST":
		b = append(b, 0x80|3)
	default:
		b = appendText(append(b, 2), h.Method)
	}
	if h.Scheme == "https" {
		b = append(b, 0x80|7)
	} else {
		b = append(b, 0x80|6)
	}
	b = appendText(append(b, 1), h.Authority)
	b = appendText(append(b, 4), h.Path)
	for rest := h.Fields; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		name, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\r")), []byte(": "))
		if ok {
			b = appendLine(b, name, value)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte { return append(appendInteger(b, 0x7f, len(s)), s...) }

// appendLine appends a field, its name in lower case. What tells who the client
// is is marked as a field that no table may take up (RFC 7541 section 7.1.3).
func appendLine(b, name, value []byte) []byte {
	kind := byte(0)
	if bytes.EqualFold(name, []byte("authorization")) || bytes.EqualFold(name, []byte("cookie")) {
		kind = 0x10
	}
	b = appendInteger(append(b, kind), 0x7f, len(name))
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return append(appendInteger(b, 0x7f, len(value)), value...)
}
