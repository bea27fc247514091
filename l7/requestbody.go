package l7

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/buf"
)

// holdSize is how much of a request's content is read before an upstream is
// asked, where the route's request_buffering wants it: content that fits can be
// sent again by a retry.
const holdSize = buf.Large

var (
	errNoRoom = &Error{Status: http.StatusServiceUnavailable, Message: "The upstream server is currently unavailable", Reason: ReasonOverLimit, Side: SideSelf, Err: errors.New("node.limits.body_buffers is used up")}

	// noFields is never written to.
	noFields Header
)

// heldBody is a request's content of which the first part, or all, was read
// ahead.
type heldBody struct {
	held    []byte
	from    int         // of held, what was read
	rest    RequestBody // what follows; nil: nothing
	trailer *Header     // of content that was read to its end

	block  *buf.Block    // that held lies in; nil: on the heap
	budget *atomic.Int64 // that cost is counted in
	cost   int64
}

var (
	_ RequestBody = (*heldBody)(nil)
	_ WholeBody   = (*heldBody)(nil)
)

// Read returns what is held and then the rest.
func (b *heldBody) Read(p []byte) (int, error) {
	if b.from < len(b.held) {
		n := copy(p, b.held[b.from:])
		b.from += n
		if b.rest == nil && b.from == len(b.held) {
			return n, io.EOF
		}
		return n, nil
	}
	if b.from > 0 && b.rest != nil {
		b.drop() // what follows may take long, and nobody asks for this again
	}
	if b.rest == nil {
		return 0, io.EOF
	}
	return b.rest.Read(p)
}

// Trailer returns the trailer of the content.
func (b *heldBody) Trailer() *Header {
	switch {
	case b.rest != nil:
		return b.rest.Trailer()
	case b.trailer == nil: // reading ended in an error
		return &noFields
	}
	return b.trailer
}

// Stop lets reads of what is not held fail.
func (b *heldBody) Stop() {
	if b.rest != nil {
		b.rest.Stop()
	}
}

// Whole returns the content if it is all held.
func (b *heldBody) Whole() ([]byte, bool) {
	if b.rest != nil || b.trailer.Len() > 0 {
		return nil, false
	}
	return b.held, true
}

// drop gives the storage back.
func (b *heldBody) drop() {
	b.block.Put()
	if b.budget != nil {
		b.budget.Add(-b.cost)
	}
	b.held, b.from, b.block, b.cost = nil, 0, nil, 0
}

// release gives the storage back, and forgets what follows.
func (b *heldBody) release() {
	b.drop()
	*b = heldBody{}
}

// holdBody reads up to holdSize bytes of the content ahead.
func (x *Exchange) holdBody() error {
	body := x.Req.Body
	if body == nil || body == RequestBody(&x.held) {
		return nil
	}
	if w, ok := body.(WholeBody); ok {
		if all, ok := w.Whole(); ok {
			x.holdWhole(all)
			return nil
		}
	}
	size := holdSize
	if n := x.Req.ContentLength; n > 0 && n < int64(size) {
		size = int(n)
	}
	b := buf.Get(size)
	x.held.block = b
	n, err := readUntil(body, b.B[:size])
	if err == nil && int64(n) == x.Req.ContentLength {
		var none [1]byte
		_, err = body.Read(none[:]) // all is here, and the body may not have said so yet
	}
	x.held.held = b.B[:n]
	return x.settleHeld(body, err)
}

// settleHeld makes what was read of body, and what is left of it, the request's
// body. err is how reading ended; nil: there is more.
func (x *Exchange) settleHeld(body RequestBody, err error) error {
	x.Req.Body = &x.held
	switch err {
	case nil:
		x.held.rest = body
		return nil
	case io.EOF:
		x.held.trailer = body.Trailer()
		return nil
	}
	return err
}

func (x *Exchange) holdWhole(all []byte) {
	x.held.held, x.held.trailer = all, &noFields
	x.Req.Body = &x.held
}

// readBody reads the whole content for a plugin that looks at it, at most limit
// bytes.
func (x *Exchange) readBody(limit int64) error {
	if x.Req.ContentLength > limit {
		return errBody
	}
	if err := x.readAhead(limit); err != nil {
		return err
	}
	if x.held.rest != nil || int64(len(x.held.held)) > limit {
		return errBody
	}
	return nil
}

// readAhead reads content until more than limit bytes of it, or all, are held.
func (x *Exchange) readAhead(limit int64) error {
	if x.Req.Body != RequestBody(&x.held) {
		if w, ok := x.Req.Body.(WholeBody); ok {
			if all, ok := w.Whole(); ok {
				x.holdWhole(all)
				return nil
			}
		}
		x.held.rest = x.Req.Body
		x.Req.Body = &x.held
	}
	b := &x.held
	if b.rest == nil || int64(len(b.held)) > limit {
		return nil
	}
	b.budget = &x.pipeline.Shared.bodies
	content := b.held[:len(b.held):len(b.held)] // what it lies in may be lent
	for int64(len(content)) <= limit {
		if len(content) == cap(content) {
			// Room grows with what arrives: an announced length alone costs nothing.
			more := max(int64(buf.Small), int64(cap(content)))
			if left := x.Req.ContentLength - int64(len(content)); left > 0 {
				more = min(more, left)
			}
			more = min(more, limit+1-int64(len(content)))
			if !x.reserve(more) {
				return errNoRoom
			}
			content = append(make([]byte, 0, int64(cap(content))+more), content...)
		}
		n, err := b.rest.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		b.held = content
		switch {
		case err == io.EOF:
			b.trailer, b.rest = b.rest.Trailer(), nil
			return nil
		case err != nil:
			return err
		case n == 0:
			return asError(io.ErrNoProgress)
		}
	}
	return nil
}

// reserve counts n bytes in, unless they are more than all bodies together may
// take.
func (x *Exchange) reserve(n int64) bool {
	most := x.pipeline.BodyBuffers
	if x.held.budget.Add(n) > most && most > 0 {
		x.held.budget.Add(-n)
		return false
	}
	x.held.cost += n
	return true
}

// readUntil fills p, as far as there is content. A nil error means that p is
// full and there may be more.
func readUntil(body RequestBody, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := body.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, asError(io.ErrNoProgress)
		}
	}
	return n, nil
}

// Body returns the request's whole content in and after the Request hook of a
// plugin that asked for it by BodyLimit; nil if there is none. It must not be
// changed, and is valid until the exchange ends.
func (x *Exchange) Body() []byte {
	if x.Req.Body == RequestBody(&x.held) && x.held.rest == nil {
		return x.held.held
	}
	return nil
}

// BodyPrefix returns the beginning of the request's content in the Request hook
// of a plugin that asked for at most limit bytes by BodyPeek, and whether that is
// all of it. It must not be changed, and is valid until the Request hooks have
// run.
func (x *Exchange) BodyPrefix(limit int64) (prefix []byte, whole bool) {
	if x.Req.Body == nil {
		return nil, true
	}
	if x.Req.Body != RequestBody(&x.held) {
		return nil, false
	}
	if held := x.held.held; int64(len(held)) > limit {
		return held[:limit], false
	}
	return x.held.held, x.held.rest == nil
}

// SetBody lets the upstream be sent b in place of the request's content. The
// exchange keeps b until it ends.
func (x *Exchange) SetBody(b []byte) {
	if b == nil {
		b = []byte{}
	}
	x.Upstream.body = b
}

// BodyToSend returns the content that was set in place of the client's, or nil.
func (x *Exchange) BodyToSend() []byte { return x.Upstream.body }

// LimitBody lets content of unknown length that turns out to be longer than most
// end the exchange with r, if no answer has begun by then.
func (x *Exchange) LimitBody(most int64, r *Reply) {
	if x.Req.Body == nil || x.Req.ContentLength >= 0 {
		return
	}
	err := &Error{
		Status: r.Status, Message: http.StatusText(r.Status), Reason: ReasonBodyTooLarge, Side: SideClient, Reply: r,
	}
	switch {
	case x.Req.Body != RequestBody(&x.held):
		x.Req.Body = &limitedBody{RequestBody: x.Req.Body, left: most, err: err}
	case x.held.rest != nil:
		x.held.rest = &limitedBody{RequestBody: x.held.rest, left: most - int64(len(x.held.held)), err: err}
	default: // it is all here, and x.Body tells how long it is
	}
}

// WrapBody puts what wrap makes of the request's content in its place, as far as
// it is still to come. Of content that was read already, only the trailer of what
// wrap makes counts. It is to be called in Request hooks, and wrap at once or not at
// all.
func (x *Exchange) WrapBody(wrap func(RequestBody) RequestBody) {
	switch {
	case x.Req.Body == nil:
	case x.Req.Body != RequestBody(&x.held):
		x.Req.Body = wrap(x.Req.Body)
	case x.held.rest != nil: // the held content must stay what the exchange knows it by
		x.held.rest = wrap(x.held.rest)
	default:
		x.held.trailer = wrap(&x.held).Trailer()
	}
}

// limitedBody is content of unknown length under a bound.
type limitedBody struct {
	RequestBody
	left int64
	err  *Error
}

// Read returns content, and err once there is more than there may be.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.RequestBody.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}
