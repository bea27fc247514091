package syntax

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// ParseRequest fills r from a complete head, as FindRequestHead bounds it:
// request line, fields and the final empty line. What r held before is gone;
// Body is left nil, and ContentLength tells whether there is one to read: 0
// none, -1 chunked.
//
// Of an Upgrade only one that can be acted on is kept: HTTP/1.1, nominated by
// Connection, a single protocol, not h2c. Expect100 is set only for a request
// with content.
//
// After an error r holds what came before the fault, for the log only.
func ParseRequest(head string, lim *Limits, r *l7.Request) error {
	if f := parseRequest(head, lim, r); f != faultNone {
		return requestErrors[f]
	}
	return nil
}

func parseRequest(head string, lim *Limits, r *l7.Request) fault {
	h := r.Header
	h.Reset()
	*r = l7.Request{Header: h, HeadSize: len(head)}
	if len(head) > lim.HeadBytes {
		return faultHeadTooLarge
	}
	if !strings.HasSuffix(head, "\r\n\r\n") {
		return faultHeadEnd
	}
	i, secure, f := parseRequestLine(head, lim, r)
	if f != faultNone {
		return f
	}
	m := message{interest: requestInterest, length: noLength}
	if f := m.parseFields(head[:len(head)-2], i, lim.Fields, &r.Header); f != faultNone {
		return f
	}
	if f := m.settleHost(secure, r); f != faultNone {
		return f
	}
	if f := m.checkFraming(r.Proto); f != faultNone {
		return f
	}
	switch {
	case m.chunked:
		r.ContentLength = -1
	case m.length > 0:
		r.ContentLength = m.length
	}
	r.Close = m.closes(r.Proto)
	if r.Proto == l7.HTTP10 {
		return faultNone
	}
	if m.otherExpect {
		return faultExpect
	}
	r.Expect100 = m.expect100 && r.ContentLength != 0
	r.TETrailers = m.trailers
	r.Upgrade = m.protocol()
	return faultNone
}

// parseRequestLine returns the index behind the line, and whether the target
// names the https scheme. head ends in an empty line, so that every loop over a
// class of bytes stops at its first CR at the latest.
func parseRequestLine(head string, lim *Limits, r *l7.Request) (next int, secure bool, f fault) {
	i := 0
	for classes[head[i]]&isToken != 0 {
		i++
	}
	if i == 0 || i > MaxMethodBytes || head[i] != ' ' {
		return 0, false, faultMethod
	}
	r.Method = head[:i]
	start := i + 1
	end, secure, f := parseTarget(head, start, r)
	if f != faultNone {
		if targetBytes(head, start) > lim.TargetBytes {
			f = faultTargetTooLong
		}
		return 0, false, f
	}
	if end-start > lim.TargetBytes {
		return 0, false, faultTargetTooLong
	}
	switch head[end] {
	case ' ':
	case '\r':
		return 0, false, faultNoVersion
	default:
		return 0, false, faultTarget
	}
	r.Target = head[start:end]
	r.Proto, f = parseVersion(head[end+1:])
	if f != faultNone {
		return 0, false, f
	}
	if r.Method == "CONNECT" {
		return 0, false, faultConnect
	}
	return end + 1 + len("HTTP/1.1\r\n"), secure, faultNone
}

// parseVersion reads the version and the line's end. Versions below 1.0 are no
// version that anybody serves, but malformed: lines of HTTP/0.9 tell none.
func parseVersion(s string) (l7.Proto, fault) {
	const form = "HTTP/d.d\r\n"
	if strings.HasPrefix(s, "HTTP/1.1\r\n") {
		return l7.HTTP11, faultNone
	}
	if strings.HasPrefix(s, "HTTP/1.0\r\n") {
		return l7.HTTP10, faultNone
	}
	if len(s) < len(form) || s[:5] != form[:5] || classes[s[5]]&isDigit == 0 ||
		s[5] == '0' || s[6] != '.' || classes[s[7]]&isDigit == 0 || s[8:10] != "\r\n" {
		return 0, faultVersion
	}
	return 0, faultVersionUnknown
}

// settleHost checks Host against version and target and fills Authority.
func (m *message) settleHost(secure bool, r *l7.Request) fault {
	if !m.hasHost {
		if r.Proto != l7.HTTP10 {
			return faultHostMissing
		}
		return faultNone
	}
	if !validAuthority(m.host) {
		return faultHost
	}
	if r.Authority == "" {
		r.Authority = m.host
		return faultNone
	}
	if !sameAuthority(r.Authority, m.host, secure) {
		return faultHostDiffers
	}
	return faultNone
}
