package forward

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// tunnel passes a 101 on and then bytes both ways, until both sides have
// closed or neither has spoken for the service's read_timeout. a holds what the
// upstream has sent already.
func (l *leg) tunnel(a *answer) *l7.Error {
	x := l.x
	l.framing.Close = true
	if x.Req.Upgrade == "" || l.framing.Upgrade == "" || l.upload != nil {
		// With content still arriving, two would read the client's bytes.
		return &l7.Error{Status: http.StatusBadGateway, Message: textInvalid, Reason: l7.ReasonUpstreamProtocol, Side: l7.SideUpstream, Err: errSurprise}
	}
	l.settle(x.Resp.Status)
	x.Proxied = true
	x.Resp.Size = -1
	if v, err := x.SendHead(); err != nil {
		return l.clientError(err)
	} else if v == l7.Done {
		return nil
	}
	client, err := x.Wire.Tunnel()
	if err != nil {
		return l.clientError(err)
	}
	if _, err := client.Write(a.view()); err != nil {
		return l.clientError(err)
	}
	x.Sent += int64(len(a.view()))
	l.conn.Socket().SetWriteTimeout(0) // the tunnel has deadlines of its own
	t := &tunnel{idle: l.service.ReadTimeout, client: client, upstream: l.conn, panics: &l.client.Metrics.Panics}
	t.lastActive.Store(sock.Now())
	unwatch, cut := x.Watch(t.cut)
	if cut != nil {
		return cut
	}
	defer unwatch() // again, if it panics
	x.Sent += t.run()
	unwatch()
	if t.why != nil {
		x.Uncertify(t.why)
		return l7.Decertified(t.why)
	}
	return nil
}

// tunnel relays bytes between a client and an upstream.
type tunnel struct {
	idle       time.Duration
	client     l7.Tunnel
	upstream   l7.Tunnel
	panics     *telemetry.Counter
	lastActive atomic.Int64 // sock.Now of the last byte in either direction

	mu    sync.Mutex // of all deadlines
	ended bool       // both sides are to end
	why   error      // of that; nil: they have ended by themselves
}

// run relays until both directions have ended and returns the bytes the client
// was sent. It owns a goroutine for the client's direction and joins it.
func (t *tunnel) run() (sent int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if recover() != nil {
				t.panics.Inc()
				t.end()
			}
		}()
		t.copy(t.upstream, t.client)
	}()
	whole := false
	defer func() {
		if !whole { // a panic, which the exchange recovers
			t.end()
		}
		<-done
	}()
	sent = t.copy(t.client, t.upstream)
	whole = true
	return sent
}

// copy moves bytes from src to dst until src ends, which is passed on as a half
// close. After an error it ends both sides, so that the other direction does
// not wait for bytes that cannot be delivered.
func (t *tunnel) copy(dst, src l7.Tunnel) (moved int64) {
	b := buf.Get(buf.Medium)
	defer b.Put()
	for {
		if !t.arm(src.SetReadDeadline) {
			return moved
		}
		n, err := src.Read(b.B)
		if n > 0 {
			t.lastActive.Store(sock.Now())
			if !t.arm(dst.SetWriteDeadline) {
				return moved
			}
			if _, werr := dst.Write(b.B[:n]); werr != nil {
				t.end()
				return moved
			}
			moved += int64(n)
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && t.quiet() < t.idle*15/16:
			// The other direction is alive.
		case errors.Is(err, io.EOF):
			if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				return moved
			}
			t.end()
			return moved
		default:
			t.end()
			return moved
		}
	}
}

func (t *tunnel) quiet() time.Duration { return time.Duration(sock.Now() - t.lastActive.Load()) }

// arm sets a deadline, unless both sides are to end: that of end stands then.
func (t *tunnel) arm(set func(time.Time) error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		_ = set(time.Now().Add(t.idle))
	}
	return !t.ended
}

// end lets reads and writes on both sides fail from now on.
func (t *tunnel) end() {
	t.endFor(nil)
}

// cut is end from outside.
func (t *tunnel) cut(why error) { t.endFor(why) }

func (t *tunnel) endFor(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended, t.why = true, why
	past := time.Unix(1, 0)
	for _, e := range []l7.Tunnel{t.client, t.upstream} {
		_ = e.SetReadDeadline(past)
		_ = e.SetWriteDeadline(past)
	}
}
