package h2

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// entryBytes is what a field counts besides its name and value (RFC 9113 section
// 10.5.1).
const entryBytes = 32

// lineBytes is what a field takes in a head of HTTP/1 besides.
const lineBytes = 4

// pseudo is a set of pseudo-header fields.
type pseudo uint8

const (
	pseudoMethod pseudo = 1 << iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoProtocol
)

// message is a header list that is being decoded.
type message struct {
	limits  *syntax.Limits
	x       *l7.Exchange // whose request it becomes; nil: it becomes none
	header  *l7.Header   // that takes the fields; nil: they are not wanted
	trailer bool

	malformed bool   // RFC 9113 section 8.1.1
	odd       []byte // the fields from the first malformed one on, as lines of HTTP/1
	tooLarge  bool
	size      int
	head      int // bytes, as a head of HTTP/1

	pseudos                                   pseudo
	method, scheme, authority, path, protocol string
	regular                                   bool // a field that is no pseudo-header field came
	host                                      string
	hasHost                                   bool
	length                                    int64 // -1: not announced
	cookies                                   int
	expects, expects100                       bool
	connect                                   bool // with a protocol
	hasPriority                               bool
	urgency                                   uint8
	incremental                               bool
}

// begin makes m ready for a block.
func (m *message) begin(kind headKind, c *conn) {
	*m = message{limits: &c.settings.Limits, length: -1}
	switch kind {
	case headOpens:
		m.x = l7.NewExchange()
		m.header = &m.x.Req.Header
	case headTrails:
		c.head.trailer.Reset()
		m.header, m.trailer = &c.head.trailer, true
	}
}

// wanted reports whether further fields can change anything. Those of a malformed
// request are wanted for what is told of it.
func (m *message) wanted() bool {
	return m.header != nil && !m.tooLarge && (!m.malformed || m.x != nil)
}

// add takes the next field.
func (m *message) add(name, value string) {
	m.size += len(name) + len(value) + entryBytes
	m.head += len(name) + len(value) + lineBytes
	most := m.limits.HeadBytes
	if m.trailer {
		most = m.limits.TrailerBytes
	}
	switch {
	case m.size > most:
		m.tooLarge = true
		return
	case m.malformed:
	case name != "" && name[0] == ':':
		m.malformed = m.trailer || m.regular || !m.addPseudo(name, value)
	default:
		m.addRegular(name, value)
	}
	if m.malformed && m.x != nil {
		m.keep(name, value)
	}
}

func (m *message) addPseudo(name, value string) bool {
	var kind pseudo
	var to *string
	switch name {
	case ":method":
		kind, to = pseudoMethod, &m.method
	case ":scheme":
		kind, to = pseudoScheme, &m.scheme
	case ":authority":
		kind, to = pseudoAuthority, &m.authority
	case ":path":
		kind, to = pseudoPath, &m.path
	case ":protocol":
		kind, to = pseudoProtocol, &m.protocol
	default:
		return false
	}
	if m.pseudos&kind != 0 || value == "" {
		return false
	}
	m.pseudos |= kind
	*to = value
	return true
}

// addRegular takes a field that is no pseudo-header field.
func (m *message) addRegular(name, value string) {
	if !m.regular {
		m.regular = true
		m.putHost()
	}
	if !validName(name) || !validValue(value) {
		m.malformed = true
		return
	}
	f := l7.Field{Name: name, Value: value, ID: l7.LookupField(name)}
	switch {
	case m.trailer:
		m.malformed = !syntax.TrailerAllowed(name, f.ID)
	case f.ID == l7.FieldOther:
		if name == "priority" {
			m.hasPriority = true
			m.urgency, m.incremental = parsePriority(value)
		}
	case f.ID == l7.FieldHost && m.pseudos&pseudoAuthority != 0:
		m.malformed = m.hasHost
		m.hasHost, m.host = true, value
		return // it stands there already
	default:
		m.malformed = !m.note(f.ID, value)
	}
	if m.malformed {
		return
	}
	if m.header.Len() >= m.limits.Fields {
		m.tooLarge = true
		return
	}
	m.header.AddField(f)
}

// putHost puts the authority where a request of HTTP/1 has it.
func (m *message) putHost() {
	if m.pseudos&pseudoAuthority != 0 && !m.trailer {
		m.header.AddField(l7.Field{Name: "host", Value: m.authority, ID: l7.FieldHost})
	}
}

// note takes in a field that matters, and reports false if it may not stand
// there.
func (m *message) note(id l7.FieldID, value string) bool {
	switch id {
	case l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxyConnection, l7.FieldTransferEncoding, l7.FieldUpgrade:
		return false
	case l7.FieldTE:
		m.x.Req.TETrailers = true
		return value == "trailers"
	case l7.FieldHost:
		if m.hasHost {
			return false
		}
		m.hasHost, m.host = true, value
	case l7.FieldContentLength:
		n, ok := syntax.ParseLength(value)
		if !ok || m.length >= 0 {
			return false
		}
		m.length = n
	case l7.FieldExpect:
		m.expects = true
		m.expects100 = equalFold(value, "100-continue")
	case l7.FieldCookie:
		m.cookies++
	}
	return true
}

var (
	errBadHead     = &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: errors.New("a malformed request")}
	errHeadLarge   = &l7.Error{Status: http.StatusRequestHeaderFieldsTooLarge, Message: "Request header or cookie too large", Reason: l7.ReasonHeadTooLarge, Side: l7.SideClient}
	errTargetLarge = &l7.Error{Status: http.StatusRequestURITooLong, Message: "URI too long", Reason: l7.ReasonHeadTooLarge, Side: l7.SideClient}
	errConnect     = &l7.Error{Status: http.StatusMethodNotAllowed, Message: "Method not allowed", Reason: l7.ReasonConnectRefused, Side: l7.SideClient}
	errExpect      = &l7.Error{Status: http.StatusExpectationFailed, Message: "Expectation failed", Reason: l7.ReasonExpectation, Side: l7.SideClient}
	errProtocol    = &l7.Error{Status: http.StatusNotImplemented, Message: "Not implemented", Reason: l7.ReasonUnsupported, Side: l7.SideClient}
)

// request settles what the list says as a whole, and returns why it is not
// served; nil: it is. A malformed one is answered by a reset alone.
func (m *message) request(end bool) *l7.Error {
	r := &m.x.Req
	if !m.regular {
		m.putHost()
	}
	r.Method, r.Target, r.Authority = m.method, m.path, m.authority
	r.HeadSize = m.head
	switch {
	case m.malformed:
		m.x.KeepRefused(m.text())
		return errBadHead
	case m.tooLarge:
		return errHeadLarge
	case len(m.method) > syntax.MaxMethodBytes || !syntax.ValidFieldName(m.method):
		return errBadHead
	case end && m.length > 0:
		return errBadHead
	}
	if err := m.settleTarget(r); err != nil {
		return err
	}
	if m.cookies > 1 {
		joinCookies(&r.Header)
	}
	if !end && !m.connect {
		r.ContentLength = m.length
	}
	if m.expects && !m.expects100 {
		return errExpect
	}
	r.Expect100 = m.expects100 && r.ContentLength != 0
	return nil
}

// settleTarget holds the pseudo-header fields against each other (RFC 9113
// section 8.3.1, RFC 8441 section 4).
func (m *message) settleTarget(r *l7.Request) *l7.Error {
	const all = pseudoMethod | pseudoScheme | pseudoPath
	if m.pseudos&pseudoAuthority == 0 {
		r.Authority = m.host
	}
	secure := m.scheme == "https"
	switch {
	case !syntax.ValidAuthority(r.Authority):
		return errBadHead
	case m.hasHost && (!syntax.ValidAuthority(m.host) || !syntax.SameAuthority(r.Authority, m.host, secure)):
		return errBadHead
	case r.Method == http.MethodConnect && m.pseudos == pseudoMethod|pseudoAuthority:
		return errConnect
	case m.pseudos&all != all, !secure && m.scheme != "http":
		return errBadHead
	case (r.Method == http.MethodConnect) != (m.protocol != ""):
		return errBadHead
	case len(m.path) > m.limits.TargetBytes:
		return errTargetLarge
	case !syntax.ParsePath(m.path, r):
		return errBadHead
	case r.Method == http.MethodConnect:
		return m.settleProtocol(r)
	}
	return nil
}

// settleProtocol makes the wish for WebSocket what it is in HTTP/1, which is
// what upstreams speak.
func (m *message) settleProtocol(r *l7.Request) *l7.Error {
	if m.pseudos&pseudoAuthority == 0 || m.length > 0 {
		return errBadHead
	}
	if m.protocol != "websocket" {
		return errProtocol
	}
	m.connect, r.Connect = true, true
	r.Method, r.Upgrade, r.ContentLength = http.MethodGet, m.protocol, 0
	var key [16]byte
	_, _ = rand.Read(key[:]) // it does not fail
	r.Header.Del("sec-websocket-key")
	r.Header.AddField(l7.Field{Name: "sec-websocket-key", Value: base64.StdEncoding.EncodeToString(key[:])})
	return nil
}

// joinCookies makes one field of several, which HTTP/1 does not know (RFC 9113
// section 8.2.3).
func joinCookies(h *l7.Header) {
	var all strings.Builder
	for _, f := range h.Fields() {
		if f.ID != l7.FieldCookie {
			continue
		}
		if all.Len() > 0 {
			all.WriteString("; ")
		}
		all.WriteString(f.Value)
	}
	first := true
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID == l7.FieldCookie {
			fields[i].Value = all.String()
			break
		}
	}
	h.DelFunc(func(f *l7.Field) bool {
		again := f.ID == l7.FieldCookie && !first
		first = first && f.ID != l7.FieldCookie
		return again
	})
}

// nameBytes are those of a field's name (RFC 9113 section 8.2.1): tchar without
// upper case. It is built once and never written again.
var nameBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = l7.ValidField(string(rune(c)), "") && c < 0x80 && (c < 'A' || c > 'Z')
	}
	return t
}()

func validName(s string) bool {
	for i := range len(s) {
		if !nameBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// validValue reports whether s is a field's value, without white space around it
// (RFC 9113 section 8.2.1).
func validValue(s string) bool {
	if s == "" {
		return true
	}
	return !isSpace(s[0]) && !isSpace(s[len(s)-1]) && syntax.ValidFieldValue(s)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// equalFold reports whether s, with ASCII letters in lower case, is lower.
func equalFold(s, lower string) bool {
	return len(s) == len(lower) && strings.EqualFold(s, lower)
}
