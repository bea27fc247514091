package h1

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Settings bound what a client may do. They are immutable.
type Settings struct {
	Limits        syntax.Limits
	BodyBytes     int64         // content of a request; 0: no bound
	HeaderTimeout time.Duration // from the first byte of a head, or from accept, to its end
	IdleTimeout   time.Duration // between two requests
	ReadTimeout   time.Duration // between two reads of a body
	WriteTimeout  time.Duration // of one write that makes no progress
	Requests      int           // requests on one connection
}

// Site is what serves one exchange: a listener's part of a snapshot. It is held
// from the first byte of a head to the end of the exchange.
type Site interface {
	l7.Handler
	Settings() *Settings
	Release()
}

// Server serves connections.
type Server struct {
	Acquire func(listener string) Site // never nil
	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// ServeConn serves requests on c until either side ends it, and closes it.
func (s *Server) ServeConn(c *l4.Conn) {
	k := &conn{Conn: c, server: s, socket: c.Socket(), count: s.Metrics.Listener(c.Listener)}
	defer k.close()
	k.serve()
}

// conn is a client's connection. The goroutine that serves it owns it, but for
// what the request body and Abort touch.
type conn struct {
	*l4.Conn
	server   *Server
	socket   *sock.Conn
	count    *telemetry.Listener
	settings *Settings
	site     Site // while an exchange is under way
	served   int

	// Input that is read and not yet taken: block.B[from:to].
	block    *buf.Block
	from, to int

	body    body
	wire    wire
	aborted atomic.Bool

	// expect orders a 100 (Continue), which the body's reader sends, before
	// the final head.
	expectMu sync.Mutex
	expect   expectation
}

type expectation uint8

const (
	expectNothing expectation = iota
	expectPending             // the client waits for 100
	expectSent                // it got it
	expectMoot                // it got the final head instead
)

// lingerTime and lingerBytes bound how long a connection that is closed with
// input unread is still read from, so that the answer is not lost in a reset.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

func (c *conn) close() {
	if v := recover(); v != nil {
		c.server.Metrics.Panics.Inc()
		c.server.Log.Error("recovering from a panic in a connection", "listener", c.Listener, "panic", v, "stack", string(debug.Stack()))
		c.aborted.Store(true)
	}
	c.dropInput()
	c.wire.drop()
	if c.site != nil {
		c.site.Release()
	}
	_ = c.Conn.Close()
}

// serve takes one request after the other.
func (c *conn) serve() {
	site := c.server.Acquire(c.Listener)
	c.settings = site.Settings()
	site.Release()
	for {
		start, end, err := c.readHead()
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.exchange(start, end) {
			return
		}
		c.site.Release()
		c.site = nil
	}
}

// errQuiet ends a connection that owes nobody an answer.
var errQuiet = errors.New("connection ended between requests")

var (
	errHeaderTimeout = &l7.Error{Status: http.StatusRequestTimeout, Message: "Request timeout", Reason: l7.ReasonHeaderTimeout, Side: l7.SideClient, Err: errors.New("the head did not arrive in time")}
	errHeadCut       = &l7.Error{Status: http.StatusBadRequest, Message: "Bad request", Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: errors.New("the connection ended within a head")}
)

// readHead waits for a complete head and returns where it lies in the block.
// From the first byte on it holds c.site.
func (c *conn) readHead() (start, end int, err error) {
	if c.from == c.to {
		if err := c.waitInput(); err != nil {
			return 0, 0, errQuiet
		}
	}
	c.site = c.server.Acquire(c.Listener)
	c.settings = c.site.Settings()
	var deadline int64
	for seen := 0; ; {
		start, end, err = syntax.FindRequestHead(c.block.B[c.from:c.to], seen, &c.settings.Limits)
		if end > 0 || err != nil {
			return c.from + start, c.from + end, err
		}
		seen = c.to - c.from
		now := sock.Now()
		if deadline == 0 {
			deadline = now + int64(c.settings.HeaderTimeout)
		}
		if now >= deadline {
			return 0, 0, errHeaderTimeout
		}
		if err := c.readMore(now, time.Duration(deadline-now)); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return 0, 0, errHeaderTimeout
			}
			return 0, 0, errHeadCut
		}
	}
}

// waitInput waits for the first bytes of a request.
func (c *conn) waitInput() (err error) {
	c.dropInput()
	timeout := c.settings.IdleTimeout
	if c.served == 0 {
		timeout = c.settings.HeaderTimeout
	}
	c.socket.ArmRead(sock.Now(), timeout)
	c.count.Waiting.Inc()
	c.block, c.to, err = c.WaitBlock(buf.Small)
	c.count.Waiting.Dec()
	return err
}

// readMore reads further bytes of a head behind those there are.
func (c *conn) readMore(now int64, timeout time.Duration) error {
	if c.from > 0 {
		c.to = copy(c.block.B, c.block.B[c.from:c.to])
		c.from = 0
	}
	if c.to == len(c.block.B) {
		c.block = c.block.Grow(c.to, 4*c.to)
	}
	c.socket.ArmRead(now, timeout)
	n, err := c.Conn.Read(c.block.B[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// exchange serves the request whose head lies at block[start:end] and reports
// whether the connection may carry another one.
func (c *conn) exchange(start, end int) (again bool) {
	x := l7.NewExchange()
	defer x.Release()
	x.Conn, x.Wire = &c.Info, c
	head := string(c.block.B[start:end])
	c.from = end
	c.served++
	if err := syntax.ParseRequest(head, &c.settings.Limits, &x.Req); err != nil {
		c.wire.begin(&x.Req, false)
		c.site.Reject(x, asError(err))
		c.linger()
		return false
	}
	c.wire.begin(&x.Req, c.served < c.settings.Requests && !x.Req.Close)
	c.expect = expectNothing
	if x.Req.ContentLength != 0 {
		c.body.begin(c, x.Req.ContentLength)
		x.Req.Body = &c.body
		if x.Req.Expect100 {
			c.expect = expectPending
		}
	} else if c.from == c.to {
		c.dropInput()
	}
	c.site.Serve(x)
	return c.finish(x.Req.Body != nil)
}

// finish settles what an exchange leaves behind on the connection.
func (c *conn) finish(hadBody bool) (again bool) {
	if c.aborted.Load() || c.wire.taken {
		return false
	}
	if hadBody && !c.body.settle() {
		c.linger()
		return false
	}
	if !c.wire.keep {
		if c.from < c.to {
			c.linger()
		}
		return false
	}
	return true
}

// refuse answers what never became a request.
func (c *conn) refuse(err error) {
	e, ok := errors.AsType[*l7.Error](err)
	if !ok {
		return
	}
	x := l7.NewExchange()
	defer x.Release()
	x.Conn, x.Wire = &c.Info, c
	x.Req.Proto = l7.HTTP11
	c.wire.begin(&x.Req, false)
	c.site.Reject(x, e)
	c.linger()
}

// linger ends our direction and reads the client's for a while.
func (c *conn) linger() {
	if c.aborted.Load() || c.CloseWrite() != nil {
		return
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(lingerTime))
	b := buf.Get(buf.Small)
	defer b.Put()
	for total := 0; total < lingerBytes; {
		n, err := c.Conn.Read(b.B)
		if err != nil {
			return
		}
		total += n
	}
}

func (c *conn) dropInput() {
	c.block.Put()
	c.block, c.from, c.to = nil, 0, 0
}

func asError(err error) *l7.Error {
	if e, ok := errors.AsType[*l7.Error](err); ok {
		return e
	}
	return &l7.Error{Status: http.StatusBadRequest, Message: "Bad request", Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: err}
}
