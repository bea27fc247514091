package syntax

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// BodyKind says how an answer's content ends.
type BodyKind uint8

// The kinds of content.
const (
	BodyNone       BodyKind = iota // none: HEAD, 1xx, 204, 304
	BodyLength                     // Framing.ContentLength bytes, perhaps 0
	BodyChunked                    // the chunked coding
	BodyUntilClose                 // all that comes until the server closes
)

// Framing is how an answer lies on its connection.
type Framing struct {
	Proto         l7.Proto
	Body          BodyKind
	ContentLength int64  // bytes of content that follow, for BodyLength
	Close         bool   // the connection cannot carry another exchange
	Upgrade       string // the protocol a 101 switches to, else ""; "" in a 101 means it is not valid
	HeadSize      int    // bytes of the head on the wire
}

// ParseResponse fills resp and f from a complete head, as FindResponseHead
// bounds it. requestMethod is the method the answer is for. resp.Size is the
// announced length of the content, which for HEAD and 304 does not follow, or -1
// if there is none.
//
// The space behind the status code may be missing if the reason phrase is, as
// some servers send it; the phrase is checked and dropped.
func ParseResponse(head, requestMethod string, lim *Limits, resp *l7.Response, f *Framing) error {
	if x := parseResponse(head, requestMethod, lim, resp, f); x != faultNone {
		return responseErrors[x]
	}
	return nil
}

func parseResponse(head, requestMethod string, lim *Limits, resp *l7.Response, f *Framing) fault {
	h, t := resp.Header, resp.Trailer
	h.Reset()
	t.Reset()
	*resp = l7.Response{Header: h, Trailer: t}
	*f = Framing{HeadSize: len(head)}
	if len(head) > lim.HeadBytes {
		return faultHeadTooLarge
	}
	if !strings.HasSuffix(head, "\r\n\r\n") {
		return faultHeadEnd
	}
	i, x := parseStatusLine(head, resp, f)
	if x != faultNone {
		return x
	}
	m := message{interest: responseInterest, length: noLength}
	if x := m.parseFields(head[:len(head)-2], i, lim.Fields, &resp.Header); x != faultNone {
		return x
	}
	if x := m.checkFraming(f.Proto); x != faultNone {
		return x
	}
	resp.Proto, resp.Size = f.Proto, m.length
	f.Close = m.closes(f.Proto)
	return m.settleBody(requestMethod, resp, f)
}

// parseStatusLine returns the index behind the line.
func parseStatusLine(head string, resp *l7.Response, f *Framing) (next int, x fault) {
	const form = "HTTP/1.1 200"
	switch {
	case strings.HasPrefix(head, "HTTP/1.1 "):
		f.Proto = l7.HTTP11
	case strings.HasPrefix(head, "HTTP/1.0 "):
		f.Proto = l7.HTTP10
	default:
		return 0, faultVersion
	}
	if len(head) < len(form)+len("\r\n\r\n") {
		return 0, faultStatus
	}
	for i := len("HTTP/1.1 "); i < len(form); i++ {
		if classes[head[i]]&isDigit == 0 {
			return 0, faultStatus
		}
		resp.Status = resp.Status*10 + int(head[i]-'0')
	}
	if resp.Status < 100 || resp.Status > 599 {
		return 0, faultStatus
	}
	i := len(form)
	if head[i] != ' ' && head[i] != '\r' {
		return 0, faultStatus
	}
	i = valueEnd(head, i)
	if head[i] != '\r' || head[i+1] != '\n' {
		return 0, faultReasonPhrase
	}
	return i + 2, faultNone
}

// settleBody decides how the content ends (RFC 9112 section 6.3).
func (m *message) settleBody(requestMethod string, resp *l7.Response, f *Framing) fault {
	announced := m.hasEncoding || m.length > 0
	switch {
	case resp.Status < 200:
		if announced {
			return faultInterimBody
		}
		if resp.Status == 101 && f.Proto == l7.HTTP11 {
			f.Upgrade = m.protocol()
		}
	case resp.Status == 204:
		// The server may send what it announced, against the rule. Nothing
		// behind this head can be trusted to be the next answer.
		f.Close = f.Close || announced
		resp.Size = -1
	case requestMethod == "HEAD", resp.Status == 304:
	case m.chunked:
		f.Body = BodyChunked
	case m.length != noLength:
		f.Body, f.ContentLength = BodyLength, m.length
	default:
		f.Body, f.Close = BodyUntilClose, true
	}
	return faultNone
}
