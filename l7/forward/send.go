package forward

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// answer is what of the upstream's bytes was read and not consumed yet. It
// holds a block only while there are such bytes.
type answer struct {
	block    *buf.Block
	from, to int
}

func (a *answer) release() {
	a.block.Put()
	*a = answer{}
}

// headRoom is what our own fields add to a request's head, at the most, in the
// usual case. A head that outgrows its block moves to the heap.
const headRoom = 1 << 10

// answerSize is the block that an answer's first bytes are read into: a head
// and a small content at once.
const answerSize = buf.Medium

// send writes the request and waits for the first bytes of an answer.
func (l *leg) send() (answer, *l7.Error) {
	x := l.x
	if l.whole == nil {
		l.whole = wholeBody(x)
	}
	size := x.Req.HeadSize + headRoom
	if len(l.whole) <= gatherSize {
		size += len(l.whole)
	}
	held := buf.Get(size)
	head := l.appendHead(held.B[:0])
	if x.Req.Body != nil && l.whole == nil {
		defer held.Put()
		return l.sendStreaming(head)
	}
	if len(l.whole) > gatherSize {
		defer held.Put()
		return l.sendLarge(head)
	}
	l.request, l.held = append(head, l.whole...), held
	a, wrote, err := l.await(answerSize)
	if err != nil {
		return a, l.sendError(err, wrote)
	}
	return a, nil
}

// gatherSize is the size of content up to which it is sent together with the
// head, in one block.
const gatherSize = buf.Large

// sendLarge writes the head and then content that is all here.
func (l *leg) sendLarge(head []byte) (answer, *l7.Error) {
	l.conn.Socket().ArmRead(sock.Now(), l.service.ReadTimeout)
	if !l.conn.Silent() {
		return answer{}, l.sendError(sock.ErrStale, false)
	}
	for _, part := range [][]byte{head, l.whole} {
		if _, err := l.conn.Write(part); err != nil {
			return answer{}, l.sendError(err, true)
		}
	}
	a, wrote, err := l.await(answerSize)
	if err != nil {
		return a, l.sendError(err, wrote)
	}
	return a, nil
}

// wholeBody returns the content to be sent if all of it is here; nil if not, or
// if there is none.
func wholeBody(x *l7.Exchange) []byte {
	if b := x.BodyToSend(); b != nil {
		return b
	}
	if w, ok := x.Req.Body.(l7.WholeBody); ok {
		if all, ok := w.Whole(); ok {
			return all
		}
	}
	return nil
}

// sendStreaming writes the head and lets the content follow on a goroutine of
// its own, so that an early answer is not missed.
func (l *leg) sendStreaming(head []byte) (answer, *l7.Error) {
	l.conn.Socket().ArmRead(sock.Now(), l.service.ReadTimeout)
	if !l.conn.Silent() {
		return answer{}, l.sendError(sock.ErrStale, false)
	}
	if _, err := l.conn.Write(head); err != nil {
		return answer{}, l.sendError(err, true)
	}
	l.upload = startUpload(l.x, l.conn, &l.client.Metrics.Panics)
	a, wrote, err := l.await(answerSize)
	if err != nil {
		return a, l.sendError(err, wrote)
	}
	return a, nil
}

// sendError says what it means that no answer came.
func (l *leg) sendError(err error, wrote bool) *l7.Error {
	return noAnswer(err, wrote, l.conn.Reused(), l.replayable())
}

// noAnswer is sendError for a connection that was or was not reused and a
// request that is or is not replayable.
func noAnswer(err error, wrote, reused, replayable bool) *l7.Error {
	e := &l7.Error{Status: http.StatusBadGateway, Message: textInvalid, Reason: l7.ReasonUpstreamClosed, Side: l7.SideUpstream, Err: err}
	switch {
	case errors.Is(err, errDeparted):
		return &l7.Error{Status: l7.StatusClientGone, Reason: l7.ReasonClientGone, Side: l7.SideClient, Err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Status, e.Message, e.Reason = http.StatusGatewayTimeout, textTimeout, l7.ReasonUpstreamTimeout
	case errors.Is(err, sock.ErrStale):
	case reused && replayable:
		// The peer may have closed an idle connection just when we used it.
		e.Err = errors.Join(sock.ErrStale, err)
	}
	e.Retryable = !wrote || replayable
	return e
}

// replayable reports whether the request may be sent again after an upstream
// has seen it: its method is idempotent (Kong excepts POST, LOCK and PATCH) and
// its content is all here.
func (l *leg) replayable() bool {
	switch l.method {
	case http.MethodPost, http.MethodPatch, "LOCK":
		return false
	}
	return l.x.Req.Body == nil || l.whole != nil
}

func isOutOfSockets(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// appendHead appends the request as the upstream is sent it (kong-compatible
// forwarding fields; RFC 9110 section 7.6).
func (l *leg) appendHead(b []byte) []byte {
	x := l.x
	u := &x.Upstream
	b = append(b, l.method...)
	b = append(b, ' ')
	b = append(b, u.Path...)
	if u.HasQuery {
		b = append(append(b, '?'), u.Query...)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if u.Host != "" {
		b = append(b, u.Host...)
	} else {
		b = append(b, l.endpoint.Host(l.service.Identity != nil)...)
	}
	b = l.appendFields(append(b, "\r\n"...))
	b = l.appendForwarded(b)
	b = l.appendFraming(b)
	return append(b, "\r\n"...)
}

// appendFields appends the fields that are passed on as they are.
func (l *leg) appendFields(b []byte) []byte {
	x := l.x
	nominates := x.Nominates()
	for _, f := range x.HeaderToSend().Fields() {
		if forwards(f.ID) && (!nominates || !x.Req.Header.Nominates(&f)) && !impersonates(&f) {
			b = syntax.AppendField(b, f.Name, f.Value)
		}
	}
	return b
}

// forwards reports whether a field is passed on as it is. The others belong to
// the connection, or we write them ourselves.
func forwards(id l7.FieldID) bool {
	switch id {
	case l7.FieldHost, l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxy, l7.FieldProxyConnection,
		l7.FieldTransferEncoding, l7.FieldContentLength, l7.FieldUpgrade, l7.FieldTE, l7.FieldTrailer,
		l7.FieldExpect, l7.FieldHTTP2Settings, l7.FieldXForwardedFor, l7.FieldXForwardedProto,
		l7.FieldXForwardedHost, l7.FieldXForwardedPort, l7.FieldXForwardedPath, l7.FieldXForwardedPrefix,
		l7.FieldXRealIP, l7.FieldXKongRequestID, l7.FieldVia:
		return false
	}
	return true
}

// impersonates reports whether a field's name is, with dashes in place of its
// underscores, one that is not passed on. Servers that hand fields to programs
// as variables (CGI, WSGI) cannot tell the two apart.
func impersonates(f *l7.Field) bool {
	if f.ID != l7.FieldOther || strings.IndexByte(f.Name, '_') < 0 {
		return false
	}
	return !forwards(l7.LookupField(strings.ReplaceAll(f.Name, "_", "-")))
}

// appendForwarded appends what tells the upstream about the client's leg. What
// a client says of that itself is kept only from a trusted peer, but for the
// addresses in X-Forwarded-For, to which ours is added.
func (l *leg) appendForwarded(b []byte) []byte {
	x := l.x
	in := &x.Req.Header
	b = append(b, "X-Forwarded-For: "...)
	hop := x.ClientIP()
	if in.Has(l7.FieldXForwardedFor) {
		hop = x.Conn.ClientIP // the peer, since who is behind it stands in the list
		for _, f := range in.Fields() {
			if f.ID == l7.FieldXForwardedFor {
				b = append(append(b, f.Value...), ", "...)
			}
		}
	}
	b = append(append(b, hop...), "\r\n"...)
	trusted := l.client.Policy.Trusts(x.Conn.Client.Addr())
	b = appendTold(b, in, trusted, l7.FieldXForwardedProto, "X-Forwarded-Proto: ", x.Conn.Scheme())
	b = appendTold(b, in, trusted, l7.FieldXForwardedHost, "X-Forwarded-Host: ", x.Host)
	b = appendTold(b, in, trusted, l7.FieldXForwardedPort, "X-Forwarded-Port: ", x.Conn.LocalPort)
	b = appendTold(b, in, trusted, l7.FieldXForwardedPath, "X-Forwarded-Path: ", x.Req.Path)
	prefix := x.Upstream.Prefix
	if prefix == "/" {
		prefix = ""
	}
	b = appendTold(b, in, trusted, l7.FieldXForwardedPrefix, "X-Forwarded-Prefix: ", prefix)
	b = append(append(append(b, "X-Real-IP: "...), x.ClientIP()...), "\r\nVia: "...)
	if in.Has(l7.FieldVia) {
		for _, f := range in.Fields() {
			if f.ID == l7.FieldVia {
				b = append(append(b, f.Value...), ", "...)
			}
		}
	}
	b = append(append(b, l.client.Policy.ViaRequest(x.Req.Proto)...), "\r\nX-Kong-Request-Id: "...)
	return append(append(b, x.ID...), "\r\n"...)
}

// appendTold appends a forwarding field: the peer's word if it is trusted and
// said something, else ours; nothing if that is empty.
func appendTold(b []byte, in *l7.Header, trusted bool, id l7.FieldID, name, ours string) []byte {
	if trusted {
		if told, ok := in.Known(id); ok {
			ours = told
		}
	}
	if ours == "" {
		return b
	}
	return append(append(append(b, name...), ours...), "\r\n"...)
}

// appendFraming appends the fields of the upstream connection.
func (l *leg) appendFraming(b []byte) []byte {
	r := &l.x.Req
	switch {
	case r.Upgrade != "":
		b = append(append(append(b, "Connection: keep-alive, Upgrade\r\nUpgrade: "...), r.Upgrade...), "\r\n"...)
	case r.TETrailers:
		b = append(b, "Connection: keep-alive, TE\r\nTE: trailers\r\n"...)
	default:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	switch {
	case l.whole != nil:
		b = syntax.AppendContentLength(b, int64(len(l.whole)))
	case r.Body != nil && r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Body != nil || sendsZero(l.method):
		b = syntax.AppendContentLength(b, r.ContentLength)
	}
	return b
}

// sendsZero reports whether a request without content still says so, since its
// method anticipates one (RFC 9110 section 8.6).
func sendsZero(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
