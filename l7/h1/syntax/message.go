package syntax

import "github.com/bulwark-edge/bulwark/l7"

// noLength is the length of a message without Content-Length.
const noLength = -1

// The fields that decide about framing and connection, per kind of message, as
// bits of FieldID.
const (
	responseInterest = 1<<l7.FieldContentLength | 1<<l7.FieldTransferEncoding |
		1<<l7.FieldConnection | 1<<l7.FieldUpgrade
	requestInterest = responseInterest | 1<<l7.FieldHost | 1<<l7.FieldExpect | 1<<l7.FieldTE
)

// message is what the fields of one head say about its framing and connection.
type message struct {
	interest uint64 // the fields to be noted

	host        string
	upgrade     string // the first Upgrade
	length      int64  // Content-Length or noLength
	upgrades    int    // number of Upgrade fields
	hasHost     bool
	hasEncoding bool
	chunked     bool
	options     option
	expect100   bool
	otherExpect bool
	trailers    bool // TE holds "trailers"
	connections int  // elements of all Connection fields so far
}

// option is a set of connection options.
type option uint8

const (
	optionClose option = 1 << iota
	optionKeepAlive
	optionUpgrade
)

// parseFields reads the field lines of s from i on into h. s must end in CRLF,
// so that every loop over a class of bytes stops there at the latest.
func (m *message) parseFields(s string, i, most int, h *l7.Header) fault {
	for i < len(s) {
		start := i
		for classes[s[i]]&isToken != 0 {
			i++
		}
		if s[i] != ':' || i == start {
			return nameFault(s[i], i == start)
		}
		name := s[start:i]
		i++
		for s[i] == ' ' || s[i] == '\t' {
			i++
		}
		first := i
		i = valueEnd(s, i)
		if s[i] != '\r' || s[i+1] != '\n' {
			return byteFault(s[i])
		}
		end := i
		for end > first && (s[end-1] == ' ' || s[end-1] == '\t') {
			end--
		}
		i += 2
		if h.Len() == most {
			return faultTooManyFields
		}
		value := s[first:end]
		id := l7.LookupField(name)
		h.AddField(l7.Field{Name: name, Value: value, ID: id})
		if m.interest>>id&1 != 0 {
			if f := m.note(id, value); f != faultNone {
				return f
			}
		}
	}
	return faultNone
}

// note takes in one field that matters.
func (m *message) note(id l7.FieldID, value string) fault {
	switch id {
	case l7.FieldHost:
		if m.hasHost {
			return faultHostTwice
		}
		m.hasHost, m.host = true, value
	case l7.FieldContentLength:
		if m.length != noLength {
			return faultLengthTwice
		}
		n, ok := parseLength(value)
		if !ok {
			return faultLength
		}
		m.length = n
	case l7.FieldTransferEncoding:
		return m.noteEncoding(value)
	case l7.FieldConnection:
		return m.noteConnection(value)
	case l7.FieldUpgrade:
		if m.upgrades == 0 {
			m.upgrade = value
		}
		m.upgrades++
	case l7.FieldExpect:
		if equalFold(value, "100-continue") {
			m.expect100 = true
		} else {
			m.otherExpect = true
		}
	case l7.FieldTE:
		m.noteTE(value)
	}
	return faultNone
}

func (m *message) noteEncoding(value string) fault {
	if m.hasEncoding {
		return faultEncodingTwice
	}
	m.hasEncoding = true
	if equalFold(value, "chunked") {
		m.chunked = true
		return faultNone
	}
	if ValidFieldName(value) { // both are tokens
		return faultEncodingUnknown
	}
	return faultEncoding
}

func (m *message) noteConnection(value string) fault {
	for rest := value; rest != ""; {
		var name string
		name, rest = nextElement(rest)
		if m.connections++; m.connections > maxConnectionOptions {
			return faultConnectionOptions
		}
		switch {
		case name == "":
			// Empty elements are of no meaning (RFC 9110 section 5.6.1.2).
		case equalFold(name, "keep-alive"):
			m.options |= optionKeepAlive
		case equalFold(name, "close"):
			m.options |= optionClose
		case equalFold(name, "upgrade"):
			m.options |= optionUpgrade
		case !ValidFieldName(name):
			return faultConnection
		}
	}
	return faultNone
}

func (m *message) noteTE(value string) {
	for value != "" {
		var coding string
		coding, value = nextElement(value)
		if equalFold(coding, "trailers") {
			m.trailers = true
		}
	}
}

// checkFraming holds Content-Length, Transfer-Encoding and version against each
// other (RFC 9112 section 6.3).
func (m *message) checkFraming(p l7.Proto) fault {
	if !m.hasEncoding {
		return faultNone
	}
	if m.length != noLength {
		return faultLengthAndEncoding
	}
	if p == l7.HTTP10 {
		return faultEncodingHTTP10
	}
	return faultNone
}

// closes reports whether the connection ends with this message (RFC 9112
// section 9.3).
func (m *message) closes(p l7.Proto) bool {
	return m.options&optionClose != 0 || p == l7.HTTP10 && m.options&optionKeepAlive == 0
}

// protocol returns the protocol of an Upgrade that can be acted on, or "".
// HTTP/2 is not reached that way (RFC 9113 section 3.1).
func (m *message) protocol() string {
	if m.upgrades != 1 || m.options&optionUpgrade == 0 || equalFold(m.upgrade, "h2c") {
		return ""
	}
	for i := range len(m.upgrade) {
		// One protocol is a name, or a name and a version behind a slash.
		if c := m.upgrade[i]; classes[c]&isToken == 0 && c != '/' {
			return ""
		}
	}
	return m.upgrade
}

// parseLength reads a Content-Length: digits only, below 2^63.
func parseLength(s string) (n int64, ok bool) {
	const most = 1<<63 - 1
	for i := range len(s) {
		if classes[s[i]]&isDigit == 0 {
			return 0, false
		}
		d := int64(s[i] - '0')
		if n > (most-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, s != ""
}

// nextElement cuts the first element from a list of tokens (RFC 9110 section
// 5.6.1), without the white space around it. An element may be empty.
func nextElement(list string) (element, rest string) {
	end := 0
	for end < len(list) && list[end] != ',' {
		end++
	}
	element = list[:end]
	if end < len(list) {
		rest = list[end+1:]
	}
	for element != "" && (element[0] == ' ' || element[0] == '\t') {
		element = element[1:]
	}
	for element != "" && (element[len(element)-1] == ' ' || element[len(element)-1] == '\t') {
		element = element[:len(element)-1]
	}
	return element, rest
}

// nameFault names what is wrong with a field line whose name ends at c.
func nameFault(c byte, empty bool) fault {
	switch {
	case empty && (c == ' ' || c == '\t'):
		return faultFold
	case c == ' ' || c == '\t':
		return faultSpaceBeforeColon
	}
	return faultFieldName
}

// byteFault names what is wrong with a byte that ends a value and is not the
// line's end.
func byteFault(c byte) fault {
	switch c {
	case '\n':
		return faultBareLF
	case '\r':
		return faultBareCR
	}
	return faultControl
}
