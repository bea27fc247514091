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
	NoHTTP2       bool          // the preface of HTTP/2 is no request
}

// Site is what serves an exchange: a listener's part of a snapshot. It is held
// from the first byte of a head to the end of the exchange, and on while the
// next request follows within some seconds and the site stays current.
type Site interface {
	l7.Handler
	Settings() *Settings
	Current() bool // whether no newer snapshot serves
	Release()
}

// Server serves connections.
type Server struct {
	Acquire func(listener string) Site // never nil

	// HTTP2 serves a plaintext connection that began with HTTP/2's preface, and
	// closes it. input is what was read of it. If it is nil such a connection is
	// refused.
	HTTP2 func(c *l4.Conn, input []byte)

	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// ServeConn serves requests on c until either side ends it, and closes it.
func (s *Server) ServeConn(c *l4.Conn) {
	if b, n := s.serve(c); b != nil {
		input := b.B[:n]
		s.HTTP2(c, input)
		b.Put()
	}
}

// serve returns the input of a connection that speaks HTTP/2, and has then not
// closed it.
func (s *Server) serve(c *l4.Conn) (input *buf.Block, n int) {
	k := &conn{Conn: c, server: s, socket: c.Socket(), count: s.Metrics.Listener(c.Listener)}
	defer k.close()
	if k.serve(); k.err == errHTTP2 {
		input, n = k.block, k.to
		k.block = nil
	}
	return input, n
}

// errHTTP2 says that the client speaks HTTP/2.
var errHTTP2 = errors.New("the preface of HTTP/2")

// conn is a client's connection. The goroutine that serves it owns it, but for
// what the request body and Abort touch.
type conn struct {
	*l4.Conn
	server   *Server
	socket   *sock.Conn
	count    *telemetry.Listener
	settings *Settings
	site     Site         // held, see Site; nil: none is
	now      int64        // sock.Now when the last exchange ended
	x        *l7.Exchange // from the end of a head to the end of its exchange
	served   int          // requests so far
	stage    waitStage
	waiting  bool  // for a request
	ended    bool  // a turn has ended the connection
	lingers  bool  // input may be unread when it is closed
	err      error // what is wrong with the head
	seen     int   // bytes of an incomplete head that were searched for its end

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
	if c.x != nil {
		c.x.Release()
	}
	c.dropSite()
	if c.err == errHTTP2 {
		return // the connection is another one's
	}
	if c.aborted.Load() {
		if c.wire.started {
			_ = c.socket.SetLinger(0)
		}
		_ = c.Conn.Abort()
		return
	}
	if c.lingers {
		c.linger()
	}
	_ = c.Conn.Close()
}

// serve takes one request after the other. Those without content are served
// within turns of the socket's loop, which is cheapest; whatever has to read
// further leaves the loop and comes back to it.
func (c *conn) serve() {
	site := c.server.Acquire(c.Listener)
	c.settings = site.Settings()
	site.Release()
	c.socket.SetWriteTimeout(c.settings.WriteTimeout)
	c.socket.ArmRead(sock.Now(), c.settings.HeaderTimeout)
	turn := c.turn
	for {
		err := c.socket.Loop(turn)
		switch {
		case c.ended:
			return
		case err != nil:
			if !c.waitLonger(err) {
				return
			}
		case !c.serveBlocking():
			return
		}
	}
}

// turn serves what has arrived. It stops the loop when the connection ends or
// something must be waited for other than the next request.
func (c *conn) turn() (stop bool) {
	c.leaveIdle()
	for {
		if c.from == c.to {
			switch err := c.tryInput(); {
			case err == sock.ErrWouldBlock:
				return !c.enterIdle()
			case err != nil:
				c.ended = true
				return true
			}
		}
		if !c.tryHead() || c.x.Req.Body != nil || c.x.Req.Upgrade != "" {
			return true
		}
		if !c.exchange() {
			c.ended = true
			return true
		}
	}
}

// firstWait is how long a connection waits for its next request, at the least,
// before the socket is looked at again, and twice that at the most; see
// sock.Conn.Loop.
const firstWait = time.Second

// drainGrace is how long a connection still waits for a request that is on its
// way when a drain begins.
const drainGrace = 250 * time.Millisecond

// waitStage says which deadline a wait for a request has.
type waitStage uint8

const (
	waitFirst waitStage = iota // firstWait, or HeaderTimeout on a new connection
	waitIdle                   // what is left of IdleTimeout
	waitDrain                  // drainGrace
)

// enterIdle makes the connection one that waits for a request. It reports
// false if a drain does not let it wait.
//
// A busy connection must not pay for being idle: only one that waits for its
// first request, or for longer than firstWait, counts as waiting and is woken by
// a drain; the others look for themselves when that time is over.
func (c *conn) enterIdle() (wait bool) {
	c.dropInput()
	switch {
	case c.stage == waitDrain:
		return true
	case c.served > 0 && c.stage == waitFirst:
		if most := 2 * firstWait; most < c.settings.IdleTimeout {
			c.socket.ArmReadWithin(c.now, firstWait, most)
		} else {
			c.socket.ArmRead(c.now, c.settings.IdleTimeout)
		}
		return !c.Draining()
	}
	c.waiting = true
	c.count.Waiting.Inc()
	return c.Idle(true)
}

func (c *conn) leaveIdle() {
	if c.waiting {
		c.waiting = false
		c.count.Waiting.Dec()
		c.Idle(false)
	}
}

// waitLonger decides what the end of a wait means: a next stage, or the
// connection's end.
func (c *conn) waitLonger(err error) bool {
	c.leaveIdle()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if c.Draining() {
		return c.graceOnce()
	}
	left := c.settings.IdleTimeout - 2*firstWait
	if c.stage != waitFirst || c.served == 0 || left <= 0 {
		return false
	}
	c.stage = waitIdle
	c.dropSite()
	c.socket.ArmRead(sock.Now(), left)
	return true
}

func (c *conn) dropSite() {
	if c.site != nil {
		c.site.Release()
		c.site = nil
	}
}

// graceOnce starts the last wait of a connection that drains.
func (c *conn) graceOnce() bool {
	if c.stage == waitDrain {
		return false
	}
	c.stage = waitDrain
	_ = c.socket.SetReadDeadline(time.Now().Add(drainGrace))
	return true
}

// tryInput reads what has arrived, if anything has.
func (c *conn) tryInput() error {
	if c.block == nil {
		c.block = buf.Get(buf.Small)
	}
	n, err := c.Conn.Read(c.block.B)
	c.from, c.to = 0, n
	if n > 0 {
		return nil
	}
	c.dropInput()
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// tryHead begins the next exchange if its head is complete and right. Its first
// byte ends the connection's idle time; from then on the site is held.
func (c *conn) tryHead() bool {
	c.stage = waitFirst
	if c.site == nil || !c.site.Current() {
		c.dropSite()
		c.site = c.server.Acquire(c.Listener)
		c.settings = c.site.Settings()
		c.socket.SetWriteTimeout(c.settings.WriteTimeout)
	}
	if c.served == 0 && c.isHTTP2() {
		return false
	}
	start, end, err := syntax.FindRequestHead(c.block.B[c.from:c.to], c.seen, &c.settings.Limits)
	if end == 0 {
		c.seen, c.err = c.to-c.from, err
		return false
	}
	c.seen = 0
	c.err = c.begin(c.from+start, c.from+end)
	return c.err == nil
}

// isHTTP2 reports whether the input is HTTP/2's preface, as far as it has come.
// The first three bytes may still be those of a method.
func (c *conn) isHTTP2() bool {
	if c.server.HTTP2 == nil || c.settings.NoHTTP2 || c.TLS != nil || c.to-c.from < len("PRI") {
		return false
	}
	n := min(c.to-c.from, len(syntax.HTTP2Preface))
	if string(c.block.B[c.from:c.from+n]) != syntax.HTTP2Preface[:n] {
		return false
	}
	if n == len(syntax.HTTP2Preface) {
		c.err = errHTTP2
	}
	return true
}

// serveBlocking goes on where a turn could not, and reports whether the
// connection goes back to the loop.
func (c *conn) serveBlocking() bool {
	if c.x == nil && c.from == c.to { // a drain ended the loop
		c.leaveIdle()
		return c.graceOnce()
	}
	if c.x == nil && c.err == nil {
		c.err = c.readHead()
	}
	if c.err == errHTTP2 {
		return false
	}
	if c.err != nil {
		c.refuse(c.err)
		return false
	}
	return c.exchange()
}

var (
	errHeaderTimeout = &l7.Error{Status: http.StatusRequestTimeout, Message: "Request timeout", Reason: l7.ReasonHeaderTimeout, Side: l7.SideClient, Err: errors.New("the head did not arrive in time")}
	errHeadCut       = &l7.Error{Status: http.StatusBadRequest, Message: "Bad request", Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: errors.New("the connection ended within a head")}
)

// readHead waits for the rest of a head of which the beginning is here.
func (c *conn) readHead() error {
	c.count.Reading.Inc()
	defer c.count.Reading.Dec()
	deadline := sock.Now() + int64(c.settings.HeaderTimeout)
	for {
		now := sock.Now()
		if now >= deadline {
			return errHeaderTimeout
		}
		if err := c.readMore(now, time.Duration(deadline-now)); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errHeaderTimeout
			}
			return errHeadCut
		}
		if c.tryHead() || c.err != nil {
			return c.err
		}
	}
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
	if n == 0 && c.early(err, now, timeout) {
		_ = c.socket.SetReadDeadline(time.Now().Add(timeout))
		n, err = c.Conn.Read(c.block.B[c.to:])
	}
	c.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// early reports whether err is the end of a wait before its time: a drain has
// interrupted the connection just when it stopped being idle.
func (c *conn) early(err error, began int64, wait time.Duration) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.Draining() && time.Duration(sock.Now()-began) < wait*15/16
}

// begin takes the head at block[start:end] into a new exchange.
func (c *conn) begin(start, end int) error {
	c.x = l7.NewExchange()
	c.x.Conn, c.x.Wire = &c.Info, c
	var head string
	head, c.x.ID = c.takeHead(start, end)
	c.from = end
	c.served++
	r := &c.x.Req
	if err := syntax.ParseRequest(head, &c.settings.Limits, r); err != nil {
		c.x.KeepRefused(head)
		return err
	}
	c.wire.begin(r, c.served < c.settings.Requests && !r.Close)
	c.expect = expectNothing
	if r.ContentLength != 0 {
		c.body.begin(c, r.ContentLength)
		r.Body = &c.body
		if r.Expect100 {
			c.expect = expectPending
		}
	} else if c.from == c.to {
		c.dropInput()
	}
	return nil
}

// takeHead returns the head at block[start:end] and a new request id. Both are
// cut from one string where the id can be written behind the head.
func (c *conn) takeHead(start, end int) (head, id string) {
	if end < c.to || end+l7.IDDigits > len(c.block.B) {
		return string(c.block.B[start:end]), l7.NewID()
	}
	l7.PutID(c.block.B[end:])
	s := string(c.block.B[start : end+l7.IDDigits])
	return s[:end-start], s[end-start:]
}

// exchange serves the exchange that has begun and reports whether the
// connection may carry another one.
func (c *conn) exchange() (again bool) {
	c.site.Serve(c.x)
	again = c.finish(c.x.Req.Body != nil)
	c.now = c.x.Ended()
	c.x.Release()
	c.x = nil
	return again
}

// finish settles what an exchange leaves behind on the connection.
func (c *conn) finish(hadBody bool) (again bool) {
	if c.aborted.Load() || c.wire.taken {
		return false
	}
	settled := !hadBody || c.body.settle()
	if settled && c.wire.keep {
		return true
	}
	c.lingers = !settled || c.from < c.to
	return false
}

// refuse answers a head that is no request.
func (c *conn) refuse(err error) {
	if c.x == nil {
		c.x = l7.NewExchange()
		c.x.Conn, c.x.Wire, c.x.ID = &c.Info, c, l7.NewID()
		if err != errHeaderTimeout && err != errHeadCut { // it can never become one
			c.x.KeepRefused(string(c.block.B[c.from:c.to]))
		}
	}
	if c.x.Req.Proto == 0 {
		c.x.Req.Proto = l7.HTTP11
	}
	c.wire.begin(&c.x.Req, false)
	c.site.Reject(c.x, asError(err))
	c.lingers = true
}

// linger ends our direction and reads the client's for a while.
func (c *conn) linger() {
	if c.CloseWrite() != nil {
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
