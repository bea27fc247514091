package forward

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// maxInterims bounds the interim heads (1xx) of one answer, so that an upstream
// cannot keep an exchange open by them for ever.
const maxInterims = 32

// receive reads heads until the final one and streams the answer to the wire.
// It takes a over.
func (l *leg) receive(a answer) *l7.Error {
	defer func() { a.release() }()
	x := l.x
	for interims := 0; ; {
		end, err := l.readHead(&a)
		if err != nil {
			return err
		}
		head := string(a.view()[:end])
		if err := syntax.ParseResponse(head, l.method, &l.client.Limits, &x.Resp, &l.framing); err != nil {
			return protocolError(err)
		}
		a.consume(end)
		status := x.Resp.Status
		x.Resp.Header.DropNominated()
		switch {
		case status == http.StatusSwitchingProtocols:
			return l.tunnel(&a)
		case status < 200:
			if interims++; interims > maxInterims {
				return protocolError(errInterims)
			}
			if err := l.interim(&x.Resp); err != nil {
				return err
			}
			continue
		case status < 300 && x.Req.Connect:
			return protocolError(errNoSwitch)
		}
		l.settle(status)
		x.Proxied = true
		if l.method == http.MethodHead && x.Req.Method != http.MethodHead {
			x.Resp.Size = 0 // a plugin has changed the method; no content follows
		}
		if v, err := x.SendHead(); err != nil {
			return l.clientError(err)
		} else if v == l7.Done {
			l.framing.Close = true // what is left of the answer is not read
			return nil
		}
		l.now = x.Answered()
		if err := l.content(&a); err != l7.ErrReplaced {
			return err
		}
		l.framing.Close = true // as above
		return nil
	}
}

// settle takes in the status of the final head.
func (l *leg) settle(status int) {
	l.x.Tries[l.at].Status = status
	l.report(status)
	if l.cookie != "" {
		l.x.Resp.Header.AddField(l7.Field{Name: "Set-Cookie", Value: l.cookie, ID: l7.FieldSetCookie})
	}
}

// readHead gathers a complete head in a.
func (l *leg) readHead(a *answer) (end int, _ *l7.Error) {
	for from := 0; ; {
		end, err := syntax.FindResponseHead(a.view(), from, &l.client.Limits)
		if err != nil {
			return 0, protocolError(err)
		}
		if end > 0 {
			return end, nil
		}
		from = a.to - a.from
		if err := l.more(a); err != nil {
			if errors.Is(err, io.EOF) && !a.empty() {
				err = errTruncated
			}
			return 0, l.sendError(err, true)
		}
	}
}

// view returns the bytes that are not consumed.
func (a *answer) view() []byte {
	if a.block == nil {
		return nil
	}
	return a.block.B[a.from:a.to]
}

func (a *answer) empty() bool { return a.from == a.to }

// more reads further bytes behind those in a.
func (l *leg) more(a *answer) error {
	l.now = sock.Now()
	next, _, err := l.await(answerSize)
	if err != nil {
		return err
	}
	a.add(next)
	return nil
}

// add puts further bytes behind those in a, and takes them over.
func (a *answer) add(next answer) {
	if a.empty() {
		*a = next
		return
	}
	kept := copy(a.block.B, a.view())
	if need := kept + next.to; need > len(a.block.B) {
		a.block = a.block.Grow(kept, need)
	}
	a.from, a.to = 0, kept+copy(a.block.B[kept:], next.view())
	next.release()
}

// interim passes a 1xx on. 100 is between us and the upstream, since we ask for
// content ourselves.
func (l *leg) interim(resp *l7.Response) *l7.Error {
	if resp.Status == http.StatusContinue || l.x.Req.Proto == l7.HTTP10 {
		return nil
	}
	if err := l.x.Wire.WriteHead(resp.Status, &resp.Header, 0); err != nil {
		return l.clientError(err)
	}
	return nil
}

// content streams what follows the final head, of which the first bytes stand
// in a.
func (l *leg) content(a *answer) *l7.Error {
	var err error
	var trailer *l7.Header
	switch l.framing.Body {
	case syntax.BodyLength:
		err = l.contentOfLength(a, l.framing.ContentLength)
	case syntax.BodyChunked:
		trailer, err = l.contentChunked(a)
	case syntax.BodyUntilClose:
		err = l.contentUntilClose(a)
	}
	if err != nil {
		return l.contentError(err)
	}
	if !a.empty() {
		l.framing.Close = true // the upstream said more than it announced
	}
	if l.upload == nil && !l.framing.Close {
		// Given back before the client gets the last byte, so that its next
		// request finds it.
		if l.waited {
			l.now = sock.Now()
		}
		l.conn.Keep(l.now, l.delimited())
		l.conn = nil
	}
	if l.x.Resp.NoTrailer {
		trailer = nil
	}
	if err := l.x.Wire.Finish(trailer); err != nil {
		return l.clientError(err)
	}
	return nil
}

// spliceFrom is the size of content from which moving it within the kernel is
// cheaper than copying it.
const spliceFrom = 64 << 10

func (l *leg) contentOfLength(a *answer, left int64) error {
	first := a.view()
	if int64(len(first)) > left {
		first = first[:left]
	}
	if err := l.write(first); err != nil {
		return err
	}
	left -= int64(len(first))
	a.consume(len(first))
	if left >= spliceFrom && !l.conn.Secure() {
		if s, ok := l.x.Wire.(l7.Splicer); ok && s.CanSplice() {
			if err := l.splice(s, left); !errors.Is(err, sock.ErrNoPipe) {
				return err
			}
		}
	}
	for left > 0 {
		if err := l.next(a, left); err != nil {
			return err
		}
		data := a.view()
		if int64(len(data)) > left {
			data = data[:left]
		}
		if err := l.write(data); err != nil {
			return err
		}
		left -= int64(len(data))
		a.consume(len(data))
	}
	return nil
}

// consume drops the first n bytes of a; at the last one the block goes back.
func (a *answer) consume(n int) {
	a.from += n
	if a.from == a.to {
		a.release()
	}
}

// next waits for further content. left is how much is expected, or negative.
// Before it waits, the client gets what there is, or, where the route's
// response_buffering lets content be gathered, what is older than flushDelay.
func (l *leg) next(a *answer, left int64) error {
	l.now, l.waited = sock.Now(), true
	switch {
	case !l.x.Route.Entity.ResponseBuffering || l.gathering != 0 && l.now-l.gathering >= int64(flushDelay):
		l.gathering = 0
		if err := l.x.Wire.Flush(); err != nil {
			return l.clientError(err)
		}
	case l.gathering == 0:
		l.gathering = l.now
	}
	size := buf.Large
	if left >= 0 && left < buf.Medium {
		size = buf.Medium
	}
	got, _, err := l.await(size)
	if err == io.EOF {
		return errTruncated
	}
	if err != nil {
		return err
	}
	*a = got
	return nil
}

func (l *leg) splice(s l7.Splicer, left int64) error {
	// The closure captures no leg, which therefore can live on the stack.
	socket, timeout := l.conn.Socket(), l.service.ReadTimeout
	moved, fromSource, err := s.Splice(socket, left, func() { socket.ArmRead(sock.Now(), timeout) })
	l.waited = true
	l.x.Sent += moved
	switch {
	case err == nil, errors.Is(err, sock.ErrNoPipe):
		return err
	case !fromSource:
		return l.clientError(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	}
	return err
}

func (l *leg) contentChunked(a *answer) (*l7.Header, error) {
	d := new(syntax.ChunkDecoder)
	d.Reset(l7.SideUpstream, &l.client.Limits)
	for {
		for !a.empty() && !d.Done() {
			data, n, err := d.Next(a.view())
			if err != nil {
				return nil, err
			}
			if err := l.write(data); err != nil {
				return nil, err
			}
			a.consume(n)
		}
		if d.Done() {
			return d.Trailer(), nil
		}
		if err := l.next(a, -1); err != nil {
			return nil, err
		}
	}
}

func (l *leg) contentUntilClose(a *answer) error {
	for {
		if err := l.write(a.view()); err != nil {
			return err
		}
		a.consume(len(a.view()))
		switch err := l.next(a, -1); {
		case errors.Is(err, errTruncated):
			return nil
		case err != nil:
			return err
		}
	}
}

func (l *leg) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := l.x.Wire.Write(p)
	l.x.Sent += int64(n)
	if err != nil {
		return l.clientError(err)
	}
	return nil
}

// protocolError is an answer that is not HTTP. Such an answer is not retried:
// the upstream has seen the request.
func protocolError(err error) *l7.Error {
	var e *l7.Error
	if errors.As(err, &e) {
		return e
	}
	return &l7.Error{Status: http.StatusBadGateway, Message: textInvalid, Reason: l7.ReasonUpstreamProtocol, Side: l7.SideUpstream, Err: err}
}

// clientError is a wire that could not be written to.
func (l *leg) clientError(err error) *l7.Error {
	var e *l7.Error
	if errors.As(err, &e) {
		return e
	}
	reason := l7.ReasonClientGone
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason = l7.ReasonWriteStall
	}
	return &l7.Error{Status: l7.StatusClientGone, Reason: reason, Side: l7.SideClient, Err: err}
}

// contentError says why content broke off. The head is out, so that nothing
// can be retried.
func (l *leg) contentError(err error) *l7.Error {
	var e *l7.Error
	if errors.As(err, &e) {
		return e
	}
	e = l.sendError(err, true)
	e.Retryable, e.Err = false, err // nor is the connection's age to blame
	if errors.Is(err, errTruncated) {
		e.Reason = l7.ReasonUpstreamClosed
	}
	return e
}
