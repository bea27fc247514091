package h2

import (
	"errors"
	"net/http"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// badAnswer is an answer that breaks the rules.
func badAnswer(err error) *l7.Error {
	return &l7.Error{Status: http.StatusBadGateway, Message: "An invalid response was received from the upstream server", Reason: l7.ReasonUpstreamProtocol, Side: l7.SideUpstream, Err: err}
}

// answerHead is a header block of an answer that is being decoded. The reader
// owns it.
type answerHead struct {
	open   bool // a block is under way
	id     uint32
	end    bool // END_STREAM
	bytes  int  // on the wire
	pieces int

	trailer bool           // it can only be one
	resp    *l7.Response   // that it fills; nil: it is decoded for the table's sake
	limits  *syntax.Limits // of it
	size    int
	regular bool // a field that is no pseudo-header field came
	length  int64
	fault   string // why it is malformed (RFC 9113 section 8.1.1), or too large
}

func (c *clientConn) takeHeaders(f *http2.HeadersFrame) error {
	h := &c.head
	*h = answerHead{open: true, id: f.StreamID, end: f.StreamEnded(), length: -1, limits: &c.settings.Limits}
	c.mu.Lock()
	call, idle, settled := c.calls[h.id], c.idle(h.id), c.settled
	over := call != nil && call.ended
	if call != nil && call.wanted() {
		h.resp, h.trailer = new(l7.Response), call.answered
	}
	c.mu.Unlock()
	switch {
	case !settled:
		return faulty(http2.ErrCodeProtocol, "the first frame is not SETTINGS")
	case idle:
		return faulty(http2.ErrCodeProtocol, "HEADERS of a call that there is not")
	case over:
		return errOver
	}
	c.decoder.SetEmitEnabled(h.resp != nil)
	return c.addBlock(f.HeaderBlockFragment(), f.HeadersEnded())
}

func (c *clientConn) takeContinuation(f *http2.ContinuationFrame) error {
	return c.addBlock(f.HeaderBlockFragment(), f.HeadersEnded())
}

// addBlock decodes a part of the block, and acts on the block at its end.
func (c *clientConn) addBlock(fragment []byte, last bool) error {
	h := &c.head
	h.bytes += len(fragment)
	if h.pieces++; h.pieces > maxPieces || h.bytes > blockShare*c.settings.Limits.HeadBytes {
		return faulty(http2.ErrCodeEnhanceYourCalm, "a header block is too large")
	}
	_, err := c.decoder.Write(fragment)
	if err == nil && last {
		err = c.decoder.Close()
	}
	if err != nil {
		return faulty(http2.ErrCodeCompression, err.Error())
	}
	if last {
		h.open = false
		c.mu.Lock()
		defer c.mu.Unlock()
		c.takeHead()
	}
	return nil
}

// takeField takes one field that was decoded.
func (c *clientConn) takeField(f hpack.HeaderField) {
	if h := &c.head; h.fault == "" {
		h.add(f.Name, f.Value)
		if h.fault != "" {
			c.decoder.SetEmitEnabled(false)
		}
	}
}

// The faults of a head.
const (
	faultPseudo  = "a pseudo-header field that an answer does not have, or not there"
	faultStatus  = "a status that is none"
	faultField   = "a field that is none"
	faultConn    = "a field of the connection"
	faultLength  = "a content-length that is none, or a second one"
	faultTrailer = "a field that no trailer may have"
	faultLarge   = "a head that is too large"
)

func (h *answerHead) add(name, value string) {
	h.size += len(name) + len(value) + lineBytes
	most := h.limits.HeadBytes
	if h.trailer {
		most = h.limits.TrailerBytes
	}
	id := l7.LookupField(name)
	switch {
	case h.size > most:
		h.fault = faultLarge
	case name != "" && name[0] == ':':
		h.addStatus(name, value)
	case !validName(name) || !validValue(value):
		h.fault = faultField
	case h.resp.Header.Len() >= h.limits.Fields:
		h.fault = faultLarge
	case ofConnection(id):
		h.fault = faultConn
	case h.trailer && !syntax.TrailerAllowed(name, id):
		h.fault = faultTrailer
	case id == l7.FieldContentLength:
		n, ok := syntax.ParseLength(value)
		if !ok || h.length >= 0 {
			h.fault = faultLength
			return
		}
		h.length = n
		fallthrough
	default:
		h.regular = true
		h.resp.Header.AddField(l7.Field{Name: name, Value: value, ID: id})
	}
}

// addStatus takes the one pseudo-header field of an answer (RFC 9113 section
// 8.3.2).
func (h *answerHead) addStatus(name, value string) {
	switch {
	case name != ":status" || h.trailer || h.regular || h.resp.Status != 0:
		h.fault = faultPseudo
	case len(value) != 3 || value[0] < '1' || value[0] > '5' || !digit(value[1]) || !digit(value[2]):
		h.fault = faultStatus
	default:
		h.resp.Status = int(value[0]-'0')*100 + int(value[1]-'0')*10 + int(value[2]-'0')
		if h.resp.Status == http.StatusSwitchingProtocols { // RFC 9113 section 8.6
			h.fault = faultStatus
		}
	}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// ofConnection reports whether a message of HTTP/2 must not have the field
// (RFC 9113 section 8.2.2).
func ofConnection(id l7.FieldID) bool {
	switch id {
	case l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxyConnection, l7.FieldTransferEncoding, l7.FieldUpgrade, l7.FieldTE:
		return true
	}
	return false
}

var (
	errNoStatus  = errors.New("an answer without a status")
	errOddEnd    = errors.New("an interim answer that ends the stream, or a trailer that does not")
	errShort     = errors.New("less content than was announced")
	errLong      = errors.New("more content than was announced, or than the answer has")
	errInterims  = errors.New("too many interim answers")
	errEarlyData = errors.New("content ahead of the head")
)

// takeHead gives the block that has come to its call. c.mu is held.
func (c *clientConn) takeHead() {
	h := &c.head
	call := c.calls[h.id]
	if call == nil || h.resp == nil || !call.wanted() {
		return // it has been reset
	}
	resp := h.resp
	h.resp = nil
	switch {
	case h.fault != "":
		c.refuse(call, http2.ErrCodeProtocol, h.fault)
	case h.trailer:
		if !h.end {
			c.refuse(call, http2.ErrCodeProtocol, errOddEnd.Error())
			return
		}
		call.trailer = resp.Header
		call.complete()
	case resp.Status == 0:
		c.refuse(call, http2.ErrCodeProtocol, errNoStatus.Error())
	case resp.Status < 200:
		switch {
		case h.end:
			c.refuse(call, http2.ErrCodeProtocol, errOddEnd.Error())
		case len(call.heads) >= mostInterims || call.interimBytes+h.size > h.limits.HeadBytes:
			c.refuse(call, http2.ErrCodeEnhanceYourCalm, errInterims.Error())
		default:
			call.interimBytes += h.size
			call.heads = append(call.heads, resp)
			call.wake()
		}
	default:
		call.takeFinal(resp, h.length, h.end)
	}
}

// mostInterims bounds the interim heads of an answer that wait to be taken, which
// together are no larger than one head may be.
const mostInterims = 32
