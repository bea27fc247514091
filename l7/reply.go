package l7

import (
	"net/http"
)

// Reply is an answer of our own. It is built once, when a configuration is
// compiled, and may be given to any number of exchanges.
type Reply struct {
	Status int
	Header []Field // beside the ones that every answer of ours carries
	Body   []byte
	Reason Reason

	// In an error's body the request id stands between Body and tail. That is
	// its JSON; a client that prefers another shape gets message in that.
	tail    []byte
	message string

	bare bool // it is a head alone, and tells no length
}

// NewReply returns a reply with a body of the given type. An empty body has no
// Content-Type.
func NewReply(status int, contentType string, body []byte) *Reply {
	r := &Reply{Status: status, Body: body, Reason: ReasonPlugin}
	if len(body) > 0 {
		r.SetHeader("Content-Type", contentType)
	}
	return r
}

// Problem returns a reply in Kong's error shape: the message and the request id
// as JSON, HTML, XML or plain text, by the client's Accept field.
func Problem(status int, message string) *Reply {
	r := NewReply(status, shapeTypes[shapeJSON], appendJSON([]byte(`{"message":`), message))
	r.Body = append(r.Body, `,"request_id":"`...)
	r.tail = []byte(`"}`)
	r.message = message
	return r
}

// shaped returns the reply as the client of x wants it: r itself, unless it is
// an error that the client prefers in another shape than JSON.
func (r *Reply) shaped(x *Exchange) *Reply {
	if r.Status >= http.StatusBadRequest && x.callsGRPC() {
		return r.toGRPC()
	}
	if r.tail == nil {
		return r
	}
	s := errorShape(&x.Req.Header, x.pipeline.ErrorType)
	if s == shapeJSON {
		return r
	}
	other := &Reply{Status: r.Status, Body: s.body(r.message, x.ID), Reason: r.Reason, Header: make([]Field, len(r.Header))}
	copy(other.Header, r.Header)
	for i := range other.Header {
		if other.Header[i].ID == FieldContentType {
			other.Header[i].Value = shapeTypes[s]
		}
	}
	return other
}

// SetHeader adds a field to a reply under construction and returns the reply. A
// field that Header.Add would refuse is left out.
func (r *Reply) SetHeader(name, value string) *Reply {
	if !ValidField(name, value) {
		return r
	}
	r.Header = append(r.Header, Field{Name: name, Value: value, ID: LookupField(name)})
	return r
}

// WithReason sets the code of a reply under construction and returns the reply.
func (r *Reply) WithReason(reason Reason) *Reply {
	r.Reason = reason
	return r
}

// size returns the length of the body.
func (r *Reply) size() int64 {
	if r.bare {
		return -1
	}
	n := len(r.Body)
	if r.tail != nil {
		n += IDDigits + len(r.tail)
	}
	return int64(n)
}

// bodiless reports whether an answer of this status has no content
// (RFC 9110 section 6.4.1).
func bodiless(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}
