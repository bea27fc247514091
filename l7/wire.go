package l7

import (
	"io"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Wire is what an engine gives the exchange to answer on. One goroutine
// answers; Abort may be called by any. The request body may be read by another
// goroutine at the same time.
//
// The engine owns the framing: it writes Content-Length, Transfer-Encoding,
// Connection and their like by itself and passes over such fields in h.
type Wire interface {
	// WriteHead writes any number of interim heads (1xx) and then one final
	// head. size is the content's length or -1; for an answer to HEAD it is
	// what a GET would have been answered with. A final head may be held back
	// until Write, Flush or Finish.
	WriteHead(status int, h *Header, size int64) error
	// Write sends content. It may be held back until Flush or Finish.
	Write(p []byte) (int, error)
	// Flush sends what was held back.
	Flush() error
	// Finish ends the answer. The trailer may be nil.
	Finish(trailer *Header) error
	// Abort breaks the answer off, so that the client cannot take it for
	// complete. It is idempotent.
	Abort(r Reason)
	// Tunnel hands over the byte stream after a 101 was sent. The engine does
	// not touch the connection any more, but still closes it.
	Tunnel() (Tunnel, error)
	// Departed reports whether the client has closed its side. It does not
	// wait.
	Departed() bool
}

// Splicer is a Wire that can move content from a socket to the client within
// the kernel. progress is called before every slice, to push deadlines out.
// CanSplice tells beforehand whether it will for this answer.
// Splice returns the number of bytes moved; an error is the upstream's if
// fromSource is set, else the client's.
type Splicer interface {
	CanSplice() bool
	Splice(src *sock.Conn, n int64, progress func()) (moved int64, fromSource bool, err error)
}

// Tunnel is the client's byte stream after a switch of protocols. A stream that
// can be closed in one direction also has CloseWrite.
type Tunnel interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}
