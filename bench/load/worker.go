package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// backOff is how long a worker of a closed loop waits after it could not
// connect, so that a dead server is not hammered.
const backOff = 10 * time.Millisecond

// worker drives one connection at a time. All but abort belongs to its own
// goroutine.
type worker struct {
	target  *target
	tls     *tls.Config // Nil for cleartext.
	timeout time.Duration
	single  bool // One exchange per connection.
	open    bool // The loop is open: due times are given, and no worker waits.
	pace    pacer
	out     *shard
	rd      reader

	mu      sync.Mutex
	conn    net.Conn
	aborted bool
}

// run sends requests until the pacer has none left or ctx ends.
func (w *worker) run(ctx context.Context) {
	defer w.drop()
	for {
		due, ok := w.pace.next()
		if !ok || ctx.Err() != nil {
			return
		}
		w.exchange(ctx, due)
	}
}

// exchange sends one request and records what came of it.
func (w *worker) exchange(ctx context.Context, due time.Time) {
	sent := due
	if w.open {
		sent = time.Now()
	}
	deadline := sent.Add(w.timeout)
	if w.conn == nil {
		if k, err := w.connect(ctx, deadline); err != nil {
			w.fail(ctx, k, err)
			if !w.open && ctx.Err() == nil {
				pause(ctx, backOff)
			}
			return
		}
	}
	before := w.rd.read
	status, keep, k, err := w.ask(deadline)
	done := time.Now()
	got := w.rd.read - before
	if err != nil {
		w.drop()
		w.out.moved(got, 0)
		w.fail(ctx, k, err)
		return
	}
	w.out.moved(got, int64(len(w.target.request)))
	w.out.answered(status, done.Sub(due), done.Sub(sent))
	if w.single || !keep {
		w.drop()
	}
}

func (w *worker) ask(deadline time.Time) (status int, keep bool, k kind, err error) {
	if err := w.conn.SetDeadline(deadline); err != nil {
		return 0, false, writeError, err
	}
	if _, err := w.conn.Write(w.target.request); err != nil {
		return 0, false, timeoutOr(writeError, err), fmt.Errorf("sending the request: %w", err)
	}
	before := w.rd.read
	status, keep, err = w.rd.answer(w.target.head)
	switch {
	case err == nil:
		return status, keep, 0, nil
	case errors.Is(err, errProtocol):
		k = protocolError
	case w.rd.read == before:
		k = timeoutOr(closedError, err)
	default:
		k = timeoutOr(readError, err)
	}
	return 0, false, k, fmt.Errorf("reading the answer: %w", err)
}

func timeoutOr(k kind, err error) kind {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return timeoutError
	}
	return k
}

// fail records err unless it is the run itself that was cut short.
func (w *worker) fail(ctx context.Context, k kind, err error) {
	if ctx.Err() == nil {
		w.out.failed(k, err)
	}
}

// connect opens the connection, with TLS if wanted.
func (w *worker) connect(ctx context.Context, deadline time.Time) (kind, error) {
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(ctx, "tcp", w.target.address)
	if err != nil {
		return timeoutOr(connectError, err), err
	}
	if w.tls != nil {
		tc := tls.Client(conn, w.tls)
		hctx, cancel := context.WithDeadline(ctx, deadline)
		err := tc.HandshakeContext(hctx)
		cancel()
		if err != nil {
			return timeoutOr(tlsError, err), errors.Join(fmt.Errorf("shaking hands with %q: %w", w.target.address, err), closeQuietly(conn))
		}
		conn = tc
	}
	if !w.adopt(conn) {
		return connectError, errors.Join(context.Canceled, closeQuietly(conn))
	}
	w.rd.src, w.rd.r, w.rd.w = conn, 0, 0
	w.out.connected()
	return 0, nil
}

// adopt makes conn the worker's own, unless the run was aborted meanwhile.
func (w *worker) adopt(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		return false
	}
	w.conn = conn
	return true
}

// drop closes the connection, if there is one.
func (w *worker) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		// Nothing is lost with a connection whose exchange has ended.
		_ = w.conn.Close()
		w.conn = nil
	}
}

// abort makes the exchange under way fail at once; any goroutine may call it.
func (w *worker) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	if w.conn != nil {
		// The owner sees its read or write fail and closes once more.
		_ = w.conn.Close()
	}
}

// closeQuietly closes c after an error that matters more than that of closing.
func closeQuietly(c io.Closer) error {
	_ = c.Close()
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
