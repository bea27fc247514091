package relay

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Stream is a side of Copy as its bytes are read and written: a socket, or TLS
// on it. Within Read there must be nothing that waits but the socket's Read.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Party is a side of Copy.
type Party struct {
	Stream Stream
	Socket *sock.Conn // that the stream lies on, perhaps the stream itself
	Secure bool       // the stream is TLS
}

// truncated reports whether the end that was read is none that the peer's TLS has
// told by close_notify (RFC 8446 section 6.1): somebody else may have made it.
func (p *Party) truncated() bool { return p.Secure && p.Socket.Ended() }

// closeWrite passes an end on. Behind one without close_notify there is none
// either, so that whoever depends on it is not told that all has come.
func (p *Party) closeWrite(truncated bool) error {
	if truncated && p.Secure {
		return p.Socket.CloseWrite()
	}
	return p.Stream.CloseWrite()
}

// Copy relays as a Link does where a side speaks TLS. It returns when both
// sides are closed, which it does. It takes the calling goroutine and one more,
// and lends a buffer only while bytes move. First goes to the upstream before
// anything else. The end of ctx aborts, with its cause as the error. idle is as
// in Pair; an end by it may come up to a sixteenth of it late or, when a
// receiver stalls, early. A side of TLS that closes its socket between two records
// has ended as if it had said so; one that does within a record has broken off.
func Copy(ctx context.Context, client, upstream Party, first []byte, idle time.Duration) Result {
	c := &copying{idle: bounded(idle), parties: [2]Party{client, upstream}, result: Result{Side: NoSide}}
	c.moved.Store(sock.Now())
	for i := range c.parties {
		s := c.parties[i].Socket
		_ = s.SetDeadline(time.Time{})
		s.SetWriteTimeout(idle)
		s.SetNoWait(true)
	}
	stop := context.AfterFunc(ctx, func() { c.fail(EndAborted, NoSide, context.Cause(ctx)) })
	var joined sync.WaitGroup
	joined.Go(func() { c.run(Upstream, nil) })
	c.run(Client, first)
	joined.Wait()
	stop()
	c.over.Lock() // nobody changes the result any more
	defer c.over.Unlock()
	c.failed = true
	for i := range c.parties {
		_ = c.parties[i].Stream.Close() // what it says does not matter any more
	}
	r := c.result
	r.Counts = Counts{
		FromClient: c.read[Client].Load(), ToUpstream: c.wrote[Client].Load(),
		FromUpstream: c.read[Upstream].Load(), ToClient: c.wrote[Upstream].Load(),
	}
	r.Ended = sock.Now()
	return r
}

// copying is a Copy under way.
type copying struct {
	parties     [2]Party // by Side
	idle        int64    // in nanoseconds; 0: none
	moved       atomic.Int64
	read, wrote [2]atomic.Int64 // by the Side that the bytes come from

	over   sync.Mutex
	failed bool // the sockets are closed
	result Result
}

// run is one direction.
func (c *copying) run(which Side, first []byte) {
	from, to := &c.parties[which], &c.parties[which.other()]
	if len(first) > 0 && !c.write(which, first) {
		return
	}
	for {
		b := buf.Get(copyBlock)
		n, err := from.Stream.Read(b.B)
		if n > 0 {
			c.read[which].Add(int64(n))
			c.moved.Store(sock.Now())
			if !c.write(which, b.B[:n]) {
				b.Put()
				return
			}
		}
		b.Put()
		switch {
		case err == nil:
			continue
		case errors.Is(err, sock.ErrWouldBlock), errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline is that of an earlier wait, which bytes have ended.
			if c.await(which) {
				continue
			}
		case err == io.EOF:
			c.closed(which)
			if err := to.closeWrite(from.truncated()); err != nil {
				c.fail(EndReset, which.other(), err)
			}
		default:
			c.fail(EndReset, which, err)
		}
		return
	}
}

// copyBlock is what is read at a time: a record of TLS.
const copyBlock = buf.Medium

// write passes bytes on. It reports false if that has ended the copying.
func (c *copying) write(which Side, p []byte) bool {
	n, err := c.parties[which.other()].Stream.Write(p)
	c.wrote[which].Add(int64(max(n, 0)))
	switch {
	case err == nil:
		c.moved.Store(sock.Now())
		return true
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.fail(EndIdle, NoSide, nil)
	default:
		c.fail(EndReset, which.other(), err)
	}
	return false
}

// await waits until there is something to read, or the time without any byte is
// over. It reports false if that has ended the copying.
func (c *copying) await(which Side) bool {
	s := c.parties[which].Socket
	for {
		if c.idle > 0 {
			now := sock.Now()
			left := time.Duration(c.moved.Load() + c.idle - now)
			if left <= 0 {
				c.fail(EndIdle, NoSide, nil)
				return false
			}
			s.ArmReadWithin(now, left, left+time.Duration(c.idle/16))
		}
		switch err := s.AwaitRead(); {
		case err == nil:
			return true
		case errors.Is(err, os.ErrDeadlineExceeded):
			// It may not be what was armed here, but an interruption that came late.
			_ = s.SetReadDeadline(time.Time{})
		default:
			c.fail(EndReset, which, err)
			return false
		}
	}
}

// closed notes who has closed first.
func (c *copying) closed(which Side) {
	c.over.Lock()
	defer c.over.Unlock()
	if c.result.Side == NoSide {
		c.result.Side = which
	}
}

// fail ends both directions. Only the first failure counts.
func (c *copying) fail(end End, which Side, err error) {
	c.over.Lock()
	defer c.over.Unlock()
	if c.failed {
		return
	}
	c.failed = true
	c.result = Result{End: end, Side: which, Err: err}
	if end == EndReset {
		_ = c.parties[which.other()].Socket.SetLinger(0)
	}
	for i := range c.parties {
		_ = c.parties[i].Socket.Close()
	}
}
