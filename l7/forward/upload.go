package forward

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// uploadBlock is how much of a request body is in our hands at a time.
const uploadBlock = buf.Large

// upload copies a request body that is still arriving to the upstream. It owns
// one goroutine, which stop joins.
type upload struct {
	body    l7.RequestBody
	conn    *upstream.Conn
	chunked bool
	left    int64 // of an announced length
	bare    bool  // without the client's trailer

	panics   *telemetry.Counter
	done     chan struct{}
	over     atomic.Int64 // sock.Now when it ended; 0: it has not
	ending   atomic.Bool  // the client's side has ended, well or not
	broken   atomic.Bool  // the client's side has failed
	complete bool         // all was sent; valid after done
	err      *l7.Error    // the client's doing; valid after done
}

func startUpload(x *l7.Exchange, conn *upstream.Conn, panics *telemetry.Counter) *upload {
	length := x.Req.ContentLength
	u := &upload{
		body: x.Req.Body, conn: conn, chunked: length < 0, left: length, bare: x.Upstream.NoTrailer,
		panics: panics, done: make(chan struct{}),
	}
	go u.run()
	return u
}

// endGrace is how long an upload whose content has ended may take to say so.
const endGrace = 100 * time.Millisecond

// stop ends the upload, wherever it is, and returns what the client did wrong.
func (u *upload) stop(conn *upstream.Conn) *l7.Error {
	select {
	case <-u.done:
		return u.err
	default:
	}
	if u.ending.Load() {
		// The upstream may answer before our last write has even returned.
		t := time.NewTimer(endGrace)
		defer t.Stop()
		select {
		case <-u.done:
			return u.err
		case <-t.C:
		}
	}
	u.body.Stop()
	conn.Close() // an upstream that got half a request is of no further use
	<-u.done
	u.complete = false // whatever it says: conn is closed
	return u.err
}

// sentAt returns when the upload ended, or now while it has not: an answer is
// due once the request is sent. Until then the client's read_timeout and the
// service's write_timeout bound it.
func (u *upload) sentAt(now int64) int64 {
	if at := u.over.Load(); at != 0 {
		return at
	}
	return now
}

// failed reports whether the client's side has failed.
func (u *upload) failed() bool { return u.broken.Load() }

func (u *upload) run() {
	defer close(u.done)
	defer func() {
		if recover() != nil {
			u.panics.Inc()
			u.err = &l7.Error{Status: http.StatusInternalServerError, Message: "An unexpected error occurred", Reason: l7.ReasonInternal, Side: l7.SideSelf}
			u.broken.Store(true)
			u.conn.Socket().Interrupt()
		}
	}()
	err := u.copy()
	u.over.Store(sock.Now())
	var clientErr *l7.Error
	switch {
	case err == nil:
		u.complete = true
	case errors.As(err, &clientErr) && !errors.Is(err, l7.ErrStopped):
		u.err = clientErr
		u.broken.Store(true)
		u.conn.Socket().Interrupt() // the answer is not waited for any more
	}
}

// The room in front of and behind a chunk's data: a size of up to eight digits
// with a line end, and a line end.
const (
	chunkHead = 8 + 2
	chunkTail = 2
)

func (u *upload) copy() error {
	b := buf.Get(uploadBlock)
	defer b.Put()
	data := b.B[chunkHead : len(b.B)-chunkTail]
	for {
		n, err := u.body.Read(data)
		u.left -= int64(n)
		if err != nil || u.left == 0 {
			u.ending.Store(true)
		}
		if n > 0 {
			if werr := u.write(b.B, n); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return u.finish(b.B)
		}
		if err != nil {
			return err
		}
	}
}

// write sends the n bytes of content that stand behind chunkHead bytes of block,
// framed in place if the body is chunked.
func (u *upload) write(block []byte, n int) error {
	out := block[chunkHead : chunkHead+n]
	if u.chunked {
		var size [chunkHead]byte
		line := syntax.AppendChunkSize(size[:0], n)
		copy(block[chunkHead-len(line):], line)
		copy(block[chunkHead+n:], "\r\n")
		out = block[chunkHead-len(line) : chunkHead+n+chunkTail]
	}
	_, err := u.conn.Write(out)
	return err
}

// finish ends a chunked body, with the trailer the client sent.
func (u *upload) finish(block []byte) error {
	if !u.chunked {
		return nil
	}
	out := append(block[:0], "0\r\n"...)
	if !u.bare {
		for _, f := range u.body.Trailer().Fields() {
			out = syntax.AppendField(out, f.Name, f.Value)
		}
	}
	_, err := u.conn.Write(append(out, "\r\n"...))
	return err
}
