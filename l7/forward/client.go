package forward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Client forwards exchanges. It is immutable and safe for concurrent use.
type Client struct {
	Limits  syntax.Limits // bounds of the upstream's heads and trailers
	Policy  *l7.HeaderPolicy
	Metrics *telemetry.Metrics
	Calls   l7.Calls // for services that speak HTTP/2
}

var _ l7.Forwarder = (*Client)(nil)

// silence is how long the upstream may be silent, at the least, before the
// client is looked at, and again after each such while; twice that at the most.
const silence = time.Second

// flushDelay is how long content may be gathered for a client, but for a quarter
// of it, before the client gets it.
const flushDelay = 20 * time.Millisecond

// Kong's words for what an upstream can do wrong.
const (
	textInvalid     = "An invalid response was received from the upstream server"
	textTimeout     = "The upstream server is timing out"
	textUnavailable = "The upstream server is currently unavailable"
	textNoPeer      = "failure to get a peer from the ring-balancer"
	textNoName      = "name resolution failed"
)

var (
	errDeparted  = errors.New("the client closed its side while the upstream was silent")
	errTruncated = errors.New("the upstream closed the connection within its answer")
	errSurprise  = errors.New("the upstream switched protocols unasked")
	errNoSwitch  = errors.New("the upstream did not switch protocols")
	errInterims  = errors.New("the upstream sent too many interim answers")
)

// Forward sends the exchange to an endpoint of its route's service and streams
// the answer. An endpoint that fails before it may have acted on the request
// is followed by another, up to the service's retries.
func (c *Client) Forward(x *l7.Exchange) error {
	leg := leg{client: c, x: x, service: x.Route.Service, method: x.UpstreamMethod()}
	if hash := leg.service.Hash; hash != nil {
		leg.choice.Hash, leg.choice.Hashed, leg.cookie = hash.Hash(x)
	}
	defer leg.drop()
	if d := leg.service.Balancer.HedgeDelay(); d > 0 && !leg.service.HTTP2 && leg.hedgeable() {
		leg.hedgeAfter = d
	}
	for {
		err := leg.try()
		if err == nil {
			return nil
		}
		c.count(err)
		if !err.Retryable || leg.asked(err) >= leg.service.Tries {
			return err
		}
		if err.Reason == l7.ReasonPending {
			continue // nobody was asked; each endpoint says so once at the most
		}
		now := sock.Now()
		if time.Duration(now-x.Tries[leg.at].Started) >= silence && x.Wire.Departed() {
			return noAnswer(errDeparted, true, false, false) // opening a connection does not look
		}
		if !leg.service.Balancer.MayRetry(now) {
			c.Metrics.UpstreamRetriesRefused.Inc()
			return err
		}
		c.Metrics.UpstreamRetries.Inc()
	}
}

// drop ends what a request that is not retried, or a panic, has left behind.
func (l *leg) drop() {
	if l.sender != nil {
		_ = l.sender.stop()
	}
}

// asked counts the tries so far: those that asked somebody, and the last one,
// whose error err is.
func (l *leg) asked(err *l7.Error) (n int) {
	for i := range l.x.Tries {
		if e := l.x.Tries[i].Err; e == nil || e.Reason != l7.ReasonPending || e == err {
			n++
		}
	}
	return n
}

func (c *Client) count(err *l7.Error) {
	if err.Side == l7.SideUpstream {
		c.Metrics.UpstreamErrors.Inc(int(err.Reason))
	}
}

// leg is the upstream side of one exchange. It lives on Forward's stack.
type leg struct {
	client    *Client
	x         *l7.Exchange
	service   *l7.Service
	choice    upstream.Choice // but for Tried
	cookie    string          // the Set-Cookie value that the answer gets, or ""
	endpoint  *upstream.Endpoint
	at        int  // the try's place in Exchange.Tries
	reported  bool // the endpoint knows how the try went
	conn      *upstream.Conn
	framing   syntax.Framing
	method    string     // that the upstream is sent
	waited    bool       // now is older than the last byte of content
	gathering int64      // sock.Now since when the client is without content that is here; 0: it is not
	now       int64      // sock.Now when the try, or its last wait, began
	request   []byte     // what is to be sent: head, and content if all of it is here
	held      *buf.Block // the block request lies in; nil once it is sent
	whole     []byte     // the request's content, if all of it is here
	upload    *upload    // the request's content on its way, or nil
	sender    *sender    // the same for calls; it outlives a try

	hedgeAfter time.Duration // without a head; 0: the request is not hedged, or was
}

// try sends the request to one endpoint and brings its answer back.
func (l *leg) try() *l7.Error {
	if err := l.pick(); err != nil {
		return err
	}
	if l.hedgeAfter > 0 && l.asked(nil)+1 < l.service.Tries {
		return l.hedged()
	}
	defer l.endpoint.End()
	record := l.begin()
	if l.x.RunUpstreamHooks() == l7.Done {
		return l.x.Err() // nil: a hook has replied
	}
	err := l.exchange(record)
	if record.Err = err; err != nil {
		l.reportError(err)
	}
	return err
}

// begin records the start of a try at l.endpoint.
func (l *leg) begin() *l7.Try {
	if l.now == 0 {
		l.now = l.x.Forwarded()
	} else {
		l.now = sock.Now()
	}
	l.at, l.reported = len(l.x.Tries), false
	return l.x.AddTry(l.endpoint.Addr, l.now)
}

// report tells the endpoint of a head, the first of which says how the try went.
func (l *leg) report(status int) {
	if l.reported = true; !l.endpoint.Watched() {
		return
	}
	now := sock.Now()
	latency := time.Duration(now - l.x.Tries[l.at].Started)
	l.endpoint.Report(upstream.Outcome{Kind: upstream.OutcomeStatus, Status: status, Latency: latency}, now)
}

// reportError tells the endpoint of a try that ended without a head, unless
// that was not its doing.
func (l *leg) reportError(err *l7.Error) {
	if !l.reported {
		reportError(l.endpoint, err, l.x.Tries[l.at].Started)
	}
}

// reportError tells an endpoint of a try that began at the given time.
func reportError(e *upstream.Endpoint, err *l7.Error, started int64) {
	if err.Side != l7.SideUpstream || isOurs(err) {
		return
	}
	o := upstream.Outcome{Kind: upstream.OutcomeConnect}
	if err.Reason == l7.ReasonUpstreamTimeout {
		o.Kind = upstream.OutcomeTimeout
	}
	now := sock.Now()
	o.Latency = time.Duration(now - started)
	e.Report(o, now)
}

// isOurs reports whether a connection did not come about by our own doing: we
// are out of sockets, or at the end of a drain.
func isOurs(err error) bool {
	return isOutOfSockets(err) || errors.Is(err, os.ErrPermission) || errors.Is(err, context.Canceled)
}

// pick chooses an endpoint that this exchange has not tried, if there is one.
func (l *leg) pick() *l7.Error {
	choice := l.choice
	if len(l.x.Tries) > 0 {
		choice.Tried = l.tried // not in l itself, which would move to the heap
	}
	e, err := l.service.Balancer.Pick(&choice)
	switch {
	case err == nil:
		l.endpoint = e
		return nil
	case errors.Is(err, upstream.ErrName):
		return &l7.Error{Status: http.StatusServiceUnavailable, Message: textNoName, Reason: l7.ReasonNameResolution, Side: l7.SideUpstream, Err: err}
	case errors.Is(err, upstream.ErrOverLimit):
		return overLimit(err)
	}
	return &l7.Error{Status: http.StatusServiceUnavailable, Message: textNoPeer, Reason: l7.ReasonNoEndpoint, Side: l7.SideUpstream, Err: err}
}

// overLimit is an endpoint, or all of them, at the bounds of
// node.resilience.breaker.
func overLimit(err error) *l7.Error {
	return &l7.Error{Status: http.StatusServiceUnavailable, Message: textUnavailable, Reason: l7.ReasonOverLimit, Err: err}
}

func (l *leg) tried(addr netip.AddrPort) bool {
	for i := range l.x.Tries {
		if l.x.Tries[i].Addr == addr {
			return true
		}
	}
	return false
}

// exchange gets a connection, sends, and receives. A kept-alive connection that
// turns out to be dead is replaced by a new one within the same try.
func (l *leg) exchange(record *l7.Try) *l7.Error {
	if l.service.HTTP2 {
		return l.exchangeByCall(record)
	}
	pool := l.pool()
	l.conn = pool.Get(l.now)
	for {
		if l.conn == nil {
			conn, err := l.dial(pool)
			if err != nil {
				return err
			}
			l.client.Metrics.UpstreamConnects.Inc()
			l.conn = conn
			l.now = sock.Now()
			record.Latency = time.Duration(l.now - record.Started)
		}
		l.conn.Socket().SetWriteTimeout(l.service.WriteTimeout)
		reused := l.conn.Reused()
		err := l.roundTrip()
		if err == nil || !reused || !errors.Is(err.Err, sock.ErrStale) {
			return err
		}
		l.conn = nil
	}
}

// dial opens a connection, if the endpoint is not opening too many already. Then
// another one may do, unless they all are.
func (l *leg) dial(pool *upstream.Pool) (*upstream.Conn, *l7.Error) {
	if !l.endpoint.BeginDial() {
		e := pendingLimit()
		e.Retryable = l.others()
		return nil, e
	}
	defer l.endpoint.EndDial()
	conn, err := pool.Dial(l.service.ConnectTimeout)
	if err != nil {
		return nil, dialError(err)
	}
	return conn, nil
}

// pendingLimit is an endpoint that is opening as many connections as it may.
func pendingLimit() *l7.Error {
	e := overLimit(upstream.ErrOverLimit)
	e.Reason = l7.ReasonPending
	return e
}

// others reports whether an endpoint that was not tried has or may open a
// connection.
func (l *leg) others() bool {
	return l.service.Balancer.Others(l.tried, func(e *upstream.Endpoint) bool {
		if l.service.HTTP2 {
			return l.client.Calls.HasRoom(l.poolOf(e))
		}
		return l.poolOf(e).HasIdle()
	})
}

// roundTrip sends the request on l.conn and delivers the answer. It gives the
// connection back or closes it.
func (l *leg) roundTrip() *l7.Error {
	defer l.abandon()
	answer, err := l.send()
	if err == nil {
		err = l.receive(answer)
	} else {
		answer.release()
	}
	return l.part(err)
}

// part gives the connection back or closes it, whichever the exchange on it,
// which ended with err, allows.
func (l *leg) part(err *l7.Error) *l7.Error {
	reuse := err == nil && !l.framing.Close
	if up := l.upload; up != nil {
		l.upload = nil
		// An answer that is complete makes what is left of the request moot;
		// the engine closes the client's connection then.
		if clientErr := up.stop(l.conn); clientErr != nil && err != nil && err.Side == l7.SideUpstream {
			err = clientErr
		}
		reuse = reuse && up.complete
	}
	if !reuse && l.conn != nil {
		l.conn.Close()
	} else if l.conn != nil {
		l.conn.Keep(sock.Now(), l.delimited())
	}
	l.conn = nil
	return err
}

// abandon ends what a panic in a hook has left behind; otherwise nothing is.
func (l *leg) abandon() {
	if l.conn == nil {
		return
	}
	if l.upload != nil {
		_ = l.upload.stop(l.conn)
	}
	l.conn.Close()
}

// await sends the request, if that is still to be done, and reads the next bytes
// of the answer. It bounds the upstream's silence by the service's read_timeout
// and looks at the client every so often.
func (l *leg) await(size int) (a answer, wrote bool, err error) {
	began := l.now
	socket := l.conn.Socket()
	wrote = true
	for now := began; ; now = sock.Now() {
		if up := l.upload; up != nil {
			began = max(began, up.sentAt(now))
		}
		left := l.service.ReadTimeout - time.Duration(now-began)
		if at := l.gathering; at != 0 && left > 2*flushDelay {
			socket.ArmReadWithin(now, flushDelay/4, flushDelay-time.Duration(now-at)+flushDelay/4)
		} else if left > 2*silence {
			socket.ArmReadWithin(now, silence, 2*silence)
		} else {
			socket.ArmRead(now, left)
		}
		if up := l.upload; up != nil && up.failed() {
			return a, wrote, os.ErrDeadlineExceeded // its interrupt may have come before the deadline was armed
		}
		if l.held != nil {
			held := l.held
			l.held = nil
			a.block, a.to, wrote, err = l.conn.SendReadBlock(l.request, held, size, l.replayable())
		} else {
			a.block, a.to, err = l.conn.ReadBlock(size)
		}
		if err == nil || !wrote || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, sock.ErrUnsent) {
			return a, wrote, err
		}
		if up := l.upload; up != nil && up.failed() {
			return a, wrote, err
		}
		now = sock.Now()
		if l.gathering != 0 {
			l.gathering = 0
			if err := l.x.Wire.Flush(); err != nil {
				return a, wrote, l.clientError(err)
			}
			continue
		}
		if up := l.upload; up != nil {
			if began = max(began, up.sentAt(now)); began == now {
				continue // and the upload notices by itself when the client leaves
			}
		}
		if time.Duration(now-began) >= l.service.ReadTimeout*15/16 {
			return a, wrote, err
		}
		if l.x.Wire.Departed() {
			return a, wrote, errDeparted
		}
	}
}

// delimited reports whether the answer had content with an announced end.
func (l *leg) delimited() bool {
	return l.framing.Body == syntax.BodyLength || l.framing.Body == syntax.BodyChunked
}

func (l *leg) pool() *upstream.Pool { return l.poolOf(l.endpoint) }

func (l *leg) poolOf(e *upstream.Endpoint) *upstream.Pool {
	if l.service.Identity == nil {
		return e.Pool(nil, "")
	}
	return e.Pool(l.service.Identity, hostname(l.x.Upstream.Host))
}

// hostname cuts the port off a Host field.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// dialError says what a connection that did not come about means.
func dialError(err error) *l7.Error {
	e := &l7.Error{Status: http.StatusBadGateway, Message: textInvalid, Reason: l7.ReasonUpstreamConnect, Side: l7.SideUpstream, Retryable: true, Err: err}
	var tlsErr *upstream.TLSError
	var netErr net.Error
	switch {
	case errors.As(err, &netErr) && netErr.Timeout():
		e.Status, e.Message, e.Reason = http.StatusGatewayTimeout, textTimeout, l7.ReasonUpstreamTimeout
	case errors.As(err, &tlsErr):
		e.Reason = l7.ReasonUpstreamTLS
	case errors.Is(err, os.ErrPermission) || isOutOfSockets(err):
		e.Status, e.Message = http.StatusServiceUnavailable, textUnavailable
	}
	return e
}
