package l7

import "errors"

// Proto is an HTTP version, major times ten plus minor.
type Proto uint8

// The versions an engine may speak.
const (
	HTTP10 Proto = 10
	HTTP11 Proto = 11
	HTTP2  Proto = 20
	HTTP3  Proto = 30
)

// String returns the version as it stands in a log entry.
func (p Proto) String() string {
	switch p {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP11:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2.0"
	case HTTP3:
		return "HTTP/3.0"
	}
	return "HTTP/?"
}

// Request is the head as sent by the client and its body. Nothing in the data
// path rewrites it; what the upstream is sent stands apart in the exchange.
type Request struct {
	Method    string
	Target    string // the request-target as sent (RFC 9112 section 3.2)
	Path      string // the target's path, undecoded; "*" for OPTIONS *
	Query     string // the bytes behind "?", without it
	HasQuery  bool   // there was a "?", even if nothing follows it
	Authority string // host[:port] of the absolute target or else of Host, as sent
	Proto     Proto
	Header    Header
	HeadSize  int // bytes of the head on the wire

	Body          RequestBody // nil when the request has none
	ContentLength int64       // the body's length; -1 when only its end will tell
	Connect       bool        // any success would pass for the switch to Upgrade (RFC 8441)
	Upgrade       string      // the wanted protocol if Connection nominates Upgrade, else ""
	Close         bool        // the client wants the connection closed after the answer
	Expect100     bool        // the client waits for 100 (Continue) before it sends the body
	TETrailers    bool        // TE holds "trailers"
}

// RequestBody is the content of a request. It is read by one goroutine at a
// time. Read returns an *Error for a client that breaks its framing, stalls or
// leaves. The first Read sends 100 (Continue) if the client waits for it.
// Trailer is valid after io.EOF and may be empty. Stop, which any goroutine may
// call, lets a Read under way and all later ones fail with ErrStopped.
type RequestBody interface {
	Read(p []byte) (int, error)
	Trailer() *Header
	Stop()
}

// WholeBody is a RequestBody that may be all here already. Whole then returns
// it, as if it had been read to its end; the bytes are valid until the
// exchange is released. A body with trailers is never whole.
type WholeBody interface {
	Whole() ([]byte, bool)
}

// ErrStopped is what reading a stopped body returns.
var ErrStopped = errors.New("body stopped")

// reset empties the request and keeps the header's storage.
func (r *Request) reset() {
	h := r.Header
	h.Reset()
	*r = Request{Header: h}
}

// Response is the final answer's head before it goes on the wire.
type Response struct {
	Status  int
	Proto   Proto // the upstream's version, as received; 0 of an answer of our own
	Header  Header
	Size    int64 // content length; -1 when unknown
	Trailer Header

	// NoTrailer, set by a Response hook, lets the upstream's trailer fields be
	// dropped; see Upstream.NoTrailer.
	NoTrailer bool
}

func (r *Response) reset() {
	h, t := r.Header, r.Trailer
	h.Reset()
	t.Reset()
	*r = Response{Header: h, Trailer: t}
}
