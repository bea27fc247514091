package l7

import (
	"errors"
	"time"

	"github.com/bulwark-edge/bulwark/upstream"
)

// Calls asks upstreams on connections that many requests share, as HTTP/2 has
// them. It outlives snapshots and is safe for concurrent use.
type Calls interface {
	// Open begins a call on a connection for which p's connections stand in. If
	// none has room for it there is a Dialing in place of the call, and others that
	// ask meanwhile wait for what becomes of that, for the given time at the most.
	Open(p *upstream.Pool, wait time.Duration) (Call, Dialing, error)
	// HasRoom reports whether Open would find a connection with room.
	HasRoom(p *upstream.Pool) bool
}

// Dialing is a connection that the caller of Open opens for all. One of its
// methods is called, once.
type Dialing interface {
	// Use takes conn over and begins a call on it.
	Use(conn *upstream.Conn) (Call, error)
	// Fail tells those who wait why there is none.
	Fail(err error)
}

// Call is one request and its answer. One goroutine reads the answer; one, which
// may be another, sends. Stop may be called by any. What a call ends with is
// ErrUnprocessed if the upstream has not acted on the request, an *Error for an
// answer that breaks the rules, os.ErrDeadlineExceeded, ErrStopped, or what has
// become of the connection.
type Call interface {
	// Send sends the head, and content that is all here. end tells that nothing
	// follows.
	Send(h *CallHead, content []byte, end bool) error
	// Write sends content as the upstream takes it. A write that makes no progress
	// for the given time fails.
	Write(p []byte, end bool, stall time.Duration) error
	// Finish ends the request with a trailer, which may be nil.
	Finish(trailer *Header) error

	// Head waits for the next head, interim ones included.
	Head(resp *Response, wait time.Duration) error
	// Content waits for content and returns what there is: io.EOF at its end. It is
	// valid until Took.
	Content(wait time.Duration) ([]byte, error)
	// Took tells that n bytes of content are done with, so that more may come.
	Took(n int)
	// Trailer returns the answer's trailer, once Content has returned io.EOF.
	Trailer() *Header

	// Stop lets all waits fail from now on.
	Stop()
	// Close ends the call, which is reset if it is not complete. late tells that
	// the upstream kept silent for too long: the connection is suspected then.
	Close(late bool)
}

// CallHead is the head of a request, as a Call sends it. The fields are valid
// lines of HTTP/1, each with its end.
type CallHead struct {
	Method, Scheme, Authority, Path string

	Fields  []byte
	Timeout time.Duration // that the head may take to be sent
}

// ErrUnprocessed says that an upstream has not acted on a request, which may be
// sent again whatever it is.
var ErrUnprocessed = errors.New("the upstream has not processed the request")
