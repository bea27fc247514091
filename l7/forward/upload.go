package forward

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
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
	timeout time.Duration // of one write

	done     chan struct{}
	broken   atomic.Bool // the client's side has failed
	complete bool        // all was sent; valid after done
	err      *l7.Error   // the client's doing; valid after done
}

func startUpload(body l7.RequestBody, conn *upstream.Conn, length int64, timeout time.Duration) *upload {
	u := &upload{body: body, conn: conn, chunked: length < 0, timeout: timeout, done: make(chan struct{})}
	go u.run()
	return u
}

// stop ends the upload, wherever it is, and returns what the client did wrong.
func (u *upload) stop(conn *upstream.Conn) *l7.Error {
	select {
	case <-u.done:
		return u.err
	default:
	}
	u.body.Stop()
	conn.Close() // an upstream that got half a request is of no further use
	<-u.done
	return nil
}

// failed reports whether the client's side has failed.
func (u *upload) failed() bool { return u.broken.Load() }

func (u *upload) run() {
	defer close(u.done)
	err := u.copy()
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

// chunkFrame is the room in front of and behind a chunk's data: a size of up
// to eight digits and two line ends.
const chunkFrame = 10 + 2

func (u *upload) copy() error {
	b := buf.Get(uploadBlock)
	defer b.Put()
	data := b.B[10 : len(b.B)-2]
	for {
		n, err := u.body.Read(data)
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

// write sends the n bytes of content that stand at offset 10 of block, framed
// in place if the body is chunked.
func (u *upload) write(block []byte, n int) error {
	out := block[10 : 10+n]
	if u.chunked {
		var size [10]byte
		line := syntax.AppendChunkSize(size[:0], n)
		copy(block[10-len(line):], line)
		copy(block[10+n:], "\r\n")
		out = block[10-len(line) : 10+n+2]
	}
	u.conn.Socket().ArmWrite(sock.Now(), u.timeout)
	_, err := u.conn.Write(out)
	return err
}

// finish ends a chunked body, with the trailer the client sent.
func (u *upload) finish(block []byte) error {
	if !u.chunked {
		return nil
	}
	out := append(block[:0], "0\r\n"...)
	for _, f := range u.body.Trailer().Fields() {
		out = syntax.AppendField(out, f.Name, f.Value)
	}
	u.conn.Socket().ArmWrite(sock.Now(), u.timeout)
	_, err := u.conn.Write(append(out, "\r\n"...))
	return err
}
