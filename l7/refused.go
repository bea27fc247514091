package l7

import "strings"

// RefusedHead is the head of a request that was refused before it was routed, as
// far as there was one. It is what a Log hook may look at, and nothing acts on it:
// a head that an engine has refused is read here without any rule of grammar, at
// the line ends that are there.
type RefusedHead struct {
	Method, Target string
	Proto          string // "HTTP/1.1", "HTTP/4.0", as sent; "HTTP/0.9" if the line has none
	Header         *Header

	whole bool // the empty line at its end was there
}

// maxRefusedFields bounds the fields that are read of a head that was refused.
const maxRefusedFields = 256

// KeepRefused keeps what an engine has read of a head that it refuses, for
// RefusedHead. It may hold more than the head.
func (x *Exchange) KeepRefused(input string) { x.refused = input }

// RefusedHead returns the head of a request that was refused before it was routed
// for what it was; nil if the exchange was not, or nothing of a request came. It
// is to be called in Log hooks.
func (x *Exchange) RefusedHead() *RefusedHead {
	if x.Route != nil || x.err == nil || x.err.Side != SideClient {
		return nil
	}
	if x.refused != "" {
		return readRefused(x.refused)
	}
	if x.Req.Method == "" {
		return nil
	}
	return &RefusedHead{Method: x.Req.Method, Target: x.Req.Target, Proto: x.Req.Proto.String(), Header: &x.Req.Header}
}

// rejectedHeader is the header of a request that err refuses, if all of it is here:
// of a part nobody knows what the fields behind it would have said of the client.
func (x *Exchange) rejectedHeader(err *Error) *Header {
	if x.refused != "" {
		if h := readRefused(x.refused); h.whole {
			return h.Header
		}
		return &noFields
	}
	if err.Reason == ReasonHeadTooLarge {
		return &noFields
	}
	return &x.Req.Header
}

// readRefused cuts a head in lines at line feeds, the first of them at its first
// and last space, all others at their colons. Empty lines in front are skipped,
// and the next one ends the head. What continues a line counts as another field
// of the same name.
func readRefused(s string) *RefusedHead {
	h := &RefusedHead{Header: new(Header)}
	s = strings.TrimLeft(s, "\r\n")
	line, rest, _ := strings.Cut(s, "\n")
	h.readLine(strings.TrimSuffix(line, "\r"))
	last := ""
	for rest != "" && h.Header.Len() < maxRefusedFields {
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			h.whole = true
			break
		}
		name, value, _ := strings.Cut(line, ":")
		if line[0] == ' ' || line[0] == '\t' {
			name, value = last, line
		}
		last = name
		h.Header.AddField(Field{Name: name, Value: strings.Trim(value, " \t"), ID: LookupField(name)})
	}
	return h
}

// readLine reads a request line. A target may hold anything, spaces too.
func (h *RefusedHead) readLine(line string) {
	h.Proto = "HTTP/0.9"
	h.Method, h.Target, _ = strings.Cut(line, " ")
	if at := strings.LastIndexByte(h.Target, ' '); at >= 0 && strings.HasPrefix(h.Target[at+1:], "HTTP/") {
		h.Target, h.Proto = h.Target[:at], h.Target[at+1:]
	}
}
