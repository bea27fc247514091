package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/upstream"
)

// runner is one try of a request that may be hedged, up to its final head. It
// touches nothing of the exchange, so that two can be under way. The exchange's
// goroutine owns it but for the time between race.start and the end of the
// runner's own goroutine; stop may be called all the while.
type runner struct {
	endpoint *upstream.Endpoint
	pool     *upstream.Pool
	service  *l7.Service
	client   *Client
	method   string
	at       int        // the place in Exchange.Tries
	started  int64      // sock.Now
	request  []byte     // the head; nil: a hook has answered
	block    *buf.Block // what request lies in, for as long as it may be sent anew
	events   chan<- event
	ctx      context.Context // ends with stop; nil until there is a goroutine
	cancel   context.CancelFunc

	conn     *upstream.Conn // written under mu
	looked   bool           // the pool was asked for a kept connection
	asked    int64          // sock.Now since when the answer's next bytes are waited for; 0: nothing was sent on conn
	answer   answer         // of which interim heads are consumed and the final one is not
	seen     int            // bytes of answer that were searched for the head's end
	interims int
	latency  time.Duration // from started to the connection's being ready
	err      *l7.Error     // why it failed, not by stop; written under mu

	left bool // release was called

	mu      sync.Mutex
	stopped bool // nothing is opened any more
	ended   bool // the goroutine is about to end; stop comes too late
}

// ask makes the head that is sent.
func (a *runner) ask(appendHead func([]byte) []byte, size int) {
	a.block = buf.Get(size + headRoom)
	a.request = appendHead(a.block.B[:0])
}

// keptHead is the size of a head up to which it is sent on the exchange's
// goroutine: what the kernel takes at once, so that the wait is for the answer.
const keptHead = buf.Small

// askKept sends the request on a connection that is kept, if there is one, and
// waits for an answer for at most the given time. It reports whether a final
// head is here, or what can be none. It is called ahead of start, if at all.
func (a *runner) askKept(now int64, wait time.Duration) bool {
	if len(a.request) > keptHead {
		return false
	}
	a.looked = true
	conn := a.pool.Get(now)
	if conn == nil {
		return false
	}
	a.use(conn)
	conn.Socket().ArmRead(now, min(wait, a.service.ReadTimeout))
	switch _, err := a.send(now); {
	case err == nil:
		end, err := syntax.FindResponseHead(a.answer.view(), 0, &a.client.Limits)
		return err != nil || end > 0 && !isInterim(a.answer.view())
	case !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, sock.ErrUnsent):
		a.drop() // another one takes its place, as it would in leg.exchange
	}
	return false
}

// isInterim reports whether a complete head is that of a 1xx.
func isInterim(head []byte) bool { return len(head) > 9 && head[9] == '1' } // HTTP/1.1 1

// run brings the runner to its end and tells the race, also of a panic, which
// stops here.
func (a *runner) run() {
	defer a.tell(event{runner: a})
	defer func() {
		if recover() != nil {
			a.client.Metrics.Panics.Inc()
			a.end(&l7.Error{Status: http.StatusInternalServerError, Message: "An unexpected error occurred", Reason: l7.ReasonInternal, Side: l7.SideSelf})
		}
	}()
	if err := a.end(a.bring()); err != nil {
		reportError(a.endpoint, err, a.started)
	}
}

// end settles whether the runner has failed, or was stopped.
func (a *runner) end(err *l7.Error) *l7.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if !a.stopped {
		a.err = err
	}
	return a.err
}

// tell reports false if the race does not listen any more.
func (a *runner) tell(e event) bool {
	select {
	case a.events <- e:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// stop ends the runner's waits. A failure that it has had already stands.
func (a *runner) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.cancel != nil {
		a.cancel()
	}
	if a.conn != nil && !a.ended {
		a.conn.Close()
	}
}

// hand gives the connection and the answer away, and what the request lies in
// back.
func (a *runner) hand() (*upstream.Conn, answer) {
	conn, rest := a.conn, a.answer
	a.conn, a.answer = nil, answer{}
	a.block.Put()
	a.block = nil
	return conn, rest
}

// release gives back whatever the runner holds. Its goroutine has ended.
func (a *runner) release() {
	a.left = true
	if a.cancel != nil {
		a.cancel()
	}
	a.drop()
	a.block.Put()
	a.block = nil
	a.endpoint.End()
}

// bring gets a connection, sends, and waits for the final head. As in
// leg.exchange a kept connection that turns out to be dead is replaced.
func (a *runner) bring() *l7.Error {
	for {
		if a.conn == nil {
			if err := a.connect(); err != nil {
				return err
			}
		}
		reused := a.conn.Reused()
		err := a.await()
		if err == nil || !reused || !errors.Is(err.Err, sock.ErrStale) {
			return err
		}
		a.drop()
	}
}

// connect takes a kept connection, if none was taken before, or opens one.
func (a *runner) connect() *l7.Error {
	if !a.looked {
		a.looked = true
		if conn := a.pool.Get(sock.Now()); conn != nil {
			a.use(conn)
			return nil
		}
	}
	if !a.endpoint.BeginDial() {
		return pendingLimit()
	}
	defer a.endpoint.EndDial()
	conn, err := a.pool.DialContext(a.ctx, a.service.ConnectTimeout)
	if err != nil {
		return dialError(err)
	}
	a.client.Metrics.UpstreamConnects.Inc()
	a.latency = time.Duration(sock.Now() - a.started)
	a.use(conn)
	return nil
}

// use makes conn the runner's; after stop it is of no use.
func (a *runner) use(conn *upstream.Conn) {
	conn.Socket().SetWriteTimeout(a.service.WriteTimeout)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn = conn; a.stopped {
		conn.Close()
	}
}

// drop closes the connection, if there is one, and forgets what came on it.
func (a *runner) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
	}
	a.conn, a.asked, a.seen = nil, 0, 0
	a.answer.release()
}

// send sends the request and reads the first bytes of the answer.
func (a *runner) send(now int64) (wrote bool, err error) {
	a.answer.block, a.answer.to, wrote, err = a.conn.SendReadBlock(a.request, nil, answerSize, true)
	if wrote {
		a.asked = now
	}
	return wrote, err
}

// await gathers bytes until they begin with a final head, and passes the
// interim ones before it to the race.
func (a *runner) await() *l7.Error {
	if a.asked == 0 {
		now := sock.Now()
		a.conn.Socket().ArmRead(now, a.service.ReadTimeout)
		if wrote, err := a.send(now); err != nil {
			return noAnswer(err, wrote, a.conn.Reused(), true)
		}
	}
	for {
		final, err := a.look()
		if final || err != nil {
			return err
		}
		if err := a.more(); err != nil {
			if errors.Is(err, io.EOF) && !a.answer.empty() {
				err = errTruncated
			}
			return noAnswer(err, true, a.conn.Reused(), true)
		}
	}
}

// look takes the interim heads off what has come, and reports whether a final
// head stands in front of the rest.
func (a *runner) look() (final bool, _ *l7.Error) {
	for !a.answer.empty() {
		end, err := syntax.FindResponseHead(a.answer.view(), a.seen, &a.client.Limits)
		if err != nil {
			return false, protocolError(err)
		}
		if a.seen = a.answer.to - a.answer.from; end == 0 {
			return false, nil
		}
		var framing syntax.Framing
		resp := new(l7.Response)
		if err := syntax.ParseResponse(string(a.answer.view()[:end]), a.method, &a.client.Limits, resp, &framing); err != nil {
			return false, protocolError(err)
		}
		switch {
		case resp.Status >= 200:
			return true, nil
		case resp.Status == http.StatusSwitchingProtocols:
			return false, protocolError(errSurprise)
		}
		if a.interims++; a.interims > maxInterims {
			return false, protocolError(errInterims)
		}
		a.answer.consume(end)
		a.seen = 0
		resp.Header.DropNominated()
		if !a.tell(event{a, resp}) {
			return false, protocolError(net.ErrClosed) // nobody is told
		}
	}
	return false, nil
}

// more waits for further bytes, for the service's read_timeout at the most.
func (a *runner) more() error {
	now := sock.Now()
	left := a.service.ReadTimeout
	if a.answer.empty() && a.interims == 0 {
		left -= time.Duration(now - a.asked) // the wait goes on that askKept began
	}
	if left <= a.service.ReadTimeout/16 {
		return os.ErrDeadlineExceeded
	}
	a.conn.Socket().ArmRead(now, left)
	block, n, err := a.conn.ReadBlock(answerSize)
	if err == nil {
		a.answer.add(answer{block: block, to: n})
	}
	return err
}
