package forward

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// reopens bounds how often a try asks anew, on another connection, since the one
// it asked on was about to end.
const reopens = 3

// exchangeByCall is exchange for a service that speaks HTTP/2.
func (l *leg) exchangeByCall(record *l7.Try) *l7.Error {
	for again := 0; ; again++ {
		call, err := l.openCall(record)
		if err != nil {
			return l.settleCall(err)
		}
		err = l.roundTripByCall(call)
		if err == nil || again == reopens || !err.Retryable || !errors.Is(err.Err, l7.ErrUnprocessed) {
			return l.settleCall(err)
		}
	}
}

// settleCall ends the content on its way if the exchange ends with err.
func (l *leg) settleCall(err *l7.Error) *l7.Error {
	up := l.sender
	if up == nil || err != nil && err.Retryable {
		return err
	}
	l.sender = nil
	if clientErr := up.stop(); clientErr != nil && err != nil && err.Side == l7.SideUpstream {
		return clientErr
	}
	return err
}

// openCall begins a call, for which it may open a connection.
func (l *leg) openCall(record *l7.Try) (l7.Call, *l7.Error) {
	pool := l.pool()
	call, dialing, err := l.client.Calls.Open(pool, l.service.ConnectTimeout)
	if err == nil && dialing != nil {
		call, err = l.dialCall(dialing)
	}
	if err != nil {
		if told, ok := errors.AsType[*l7.Error](err); ok {
			own := *told // others that waited for the connection have it too
			if own.Reason == l7.ReasonPending {
				own.Retryable = l.others() // they may have tried other endpoints
			}
			return nil, &own
		}
		return nil, dialError(err)
	}
	l.now = sock.Now()
	record.Latency = time.Duration(l.now - record.Started)
	return call, nil
}

func (l *leg) dialCall(dialing l7.Dialing) (_ l7.Call, err error) {
	used := false
	defer func() {
		if !used {
			dialing.Fail(err)
		}
	}()
	conn, e := l.dial(l.pool())
	if e != nil {
		return nil, e
	}
	l.client.Metrics.UpstreamConnects.Inc()
	conn.Socket().SetWriteTimeout(l.service.WriteTimeout)
	used = true
	return dialing.Use(conn)
}

// roundTripByCall sends the request and delivers the answer.
func (l *leg) roundTripByCall(call l7.Call) (e *l7.Error) {
	late := false
	defer func() { call.Close(late) }()
	err := l.ask(call)
	answered := false
	if !errors.Is(err, l7.ErrUnprocessed) { // an upstream may answer before it has all
		answered, err = l.answer(call, err)
	}
	if err == nil {
		return nil
	}
	e = l.callError(err, answered)
	late = e.Reason == l7.ReasonUpstreamTimeout
	return e
}

// callError says what it means that there is no answer, or not all of it.
func (l *leg) callError(err error, answered bool) *l7.Error {
	if up := l.sender; up != nil && up.failed() {
		if e := up.clientError(); e != nil {
			return e
		}
	} else if up != nil {
		err = up.why(err)
	}
	if e, ok := errors.AsType[*l7.Error](err); ok {
		return e
	}
	e := noAnswer(err, true, false, l.replayable())
	switch {
	case answered:
		e.Retryable = false
	case errors.Is(err, l7.ErrUnprocessed):
		e.Retryable = l.sender == nil || l.sender.kept()
	}
	return e
}

// ask sends the request.
func (l *leg) ask(call l7.Call) error {
	x := l.x
	if l.whole == nil && l.sender == nil {
		l.whole = wholeBody(x)
	}
	block := buf.Get(x.Req.HeadSize + headRoom)
	defer block.Put()
	head := &l7.CallHead{
		Method: l.method, Scheme: "http", Authority: x.Upstream.Host, Path: x.Upstream.Path,
		Fields: l.appendCallFields(block.B[:0]), Timeout: l.service.WriteTimeout,
	}
	if l.service.Identity != nil {
		head.Scheme = "https"
	}
	if head.Authority == "" {
		head.Authority = l.endpoint.Host(l.service.Identity != nil)
	}
	if x.Upstream.HasQuery {
		head.Path += "?" + x.Upstream.Query
	}
	switch {
	case l.sender != nil:
		return l.sender.resend(call, head)
	case x.Req.Body == nil || l.whole != nil:
		return call.Send(head, l.whole, true)
	}
	l.sender = newSender(x, &l.client.Metrics.Panics, l.service.WriteTimeout)
	return l.sender.start(call, head)
}

// appendCallFields appends the fields of the request, as lines.
func (l *leg) appendCallFields(b []byte) []byte {
	b = l.appendForwarded(l.appendFields(b))
	b = append(b, "te: trailers\r\n"...) // which we hand on, to whoever takes them
	r := &l.x.Req
	switch {
	case l.x.BodyToSend() != nil:
		return syntax.AppendContentLength(b, int64(len(l.whole)))
	case r.Body != nil && r.ContentLength >= 0:
		return syntax.AppendContentLength(b, r.ContentLength)
	}
	return b
}

// answer delivers the answer to a request that is sent, or was not sent whole
// for the given reason. answered tells that a final head came.
func (l *leg) answer(call l7.Call, unsent error) (answered bool, _ error) {
	x := l.x
	for interims := 0; ; {
		x.Resp.Header.Reset()
		wait := l.service.ReadTimeout
		if unsent != nil {
			wait = 0 // what the upstream may have said of it already
		}
		if err := l.awaitCall(wait, func(d time.Duration) error { return call.Head(&x.Resp, d) }); err != nil {
			if unsent != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				err = unsent
			}
			return false, err
		}
		if x.Resp.Status >= http.StatusOK {
			break
		}
		if interims++; interims > maxInterims {
			return false, protocolError(errInterims)
		}
		if err := l.interim(&x.Resp); err != nil {
			return false, err
		}
	}
	if x.Resp.Status < 300 && x.Req.Connect {
		return false, protocolError(errNoSwitch)
	}
	l.settle(x.Resp.Status)
	x.Proxied = true
	if l.method == http.MethodHead && x.Req.Method != http.MethodHead {
		x.Resp.Size = 0 // as in receive
	}
	if v, err := x.SendHead(); err != nil {
		return true, l.clientError(err)
	} else if v == l7.Done {
		return true, nil // what is left of the answer is not read
	}
	switch err := l.callContent(call); {
	case err == nil, err == error(l7.ErrReplaced):
		return true, nil
	default:
		return true, err
	}
}

// callContent streams the content to the client, who gets what there is before
// more is waited for.
func (l *leg) callContent(call l7.Call) error {
	for {
		p, err := call.Content(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if err := l.x.Wire.Flush(); err != nil {
				return l.clientError(err)
			}
			err = l.awaitCall(l.service.ReadTimeout, func(d time.Duration) (err error) {
				p, err = call.Content(d)
				return err
			})
			if err != nil && err != io.EOF {
				return err
			}
			if err == io.EOF {
				return l.finishCall(call)
			}
		} else if err == io.EOF {
			return l.finishCall(call)
		} else if err != nil {
			return err
		}
		if err := l.write(p); err != nil {
			return err
		}
		call.Took(len(p))
	}
}

func (l *leg) finishCall(call l7.Call) error {
	trailer := call.Trailer()
	if l.x.Resp.NoTrailer || trailer.Len() == 0 {
		trailer = nil
	}
	if err := l.x.Wire.Finish(trailer); err != nil {
		return l.clientError(err)
	}
	return nil
}

// awaitCall waits by step for at most the given time, which begins once the
// request is sent, and looks at the client every so often.
func (l *leg) awaitCall(most time.Duration, step func(time.Duration) error) error {
	began := sock.Now()
	for now := began; ; now = sock.Now() {
		if up := l.sender; up != nil {
			began = max(began, up.sentAt(now))
		}
		left := most - time.Duration(now-began)
		err := step(max(min(left, silence), 0))
		switch {
		case err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || left <= 0:
			return err
		case l.x.Wire.Departed():
			return errDeparted
		}
	}
}
