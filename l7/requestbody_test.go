package l7

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// pieces is a request body that arrives in pieces.
type pieces struct {
	left    []string
	err     error // at the end; nil: io.EOF
	trailer Header
	stopped bool
}

func (b *pieces) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		return 0, io.EOF
	}
	n := copy(p, b.left[0])
	if b.left[0] = b.left[0][n:]; b.left[0] == "" {
		b.left = b.left[1:]
	}
	return n, nil
}

func (b *pieces) Trailer() *Header { return &b.trailer }
func (b *pieces) Stop()            { b.stopped = true }

// reader is a plugin that looks at content of at most limit bytes.
type reader struct {
	limit int64
	seen  []byte
	then  func(x *Exchange) Verdict
}

func (r *reader) BodyLimit(*Exchange) int64 { return r.limit }

func (r *reader) Request(x *Exchange) Verdict {
	r.seen = x.Body()
	if r.then != nil {
		return r.then(x)
	}
	return Next
}

// forwarded is what the upstream was sent of a request's content.
type forwarded struct {
	whole   bool
	content string
	err     error
}

func takeBody(got *forwarded) func(x *Exchange) error {
	return func(x *Exchange) error {
		switch b := x.BodyToSend(); {
		case b != nil:
			*got = forwarded{whole: true, content: string(b)}
		case x.Req.Body == nil:
			*got = forwarded{}
		default:
			if w, ok := x.Req.Body.(WholeBody); ok {
				if all, ok := w.Whole(); ok {
					*got = forwarded{whole: true, content: string(all)}
					break
				}
			}
			all, err := io.ReadAll(x.Req.Body)
			*got = forwarded{content: string(all), err: err}
			if err != nil {
				return err
			}
		}
		x.Resp.Status, x.Resp.Size, x.Proxied = 204, -1, true
		if _, err := x.SendHead(); err != nil {
			return err
		}
		return x.Wire.Finish(nil)
	}
}

func TestRequestBody(t *testing.T) {
	large := strings.Repeat("0123456789", holdSize/10+100)
	broken := &Error{Status: 400, Message: "Bad request", Reason: ReasonBadRequest, Side: SideClient}
	tests := []struct {
		name     string
		pieces   []string
		length   int64
		bodyErr  error
		trailer  bool
		buffers  bool    // the route's request_buffering
		reader   *reader // may be nil
		room     int64   // for buffered content
		limit    int64   // set by LimitBody; 0: none
		answered string
		want     forwarded
		seen     string
	}{
		{name: "streamed", pieces: []string{"he", "llo"}, length: 5, answered: "[204] finished", want: forwarded{content: "hello"}},
		{name: "held", pieces: []string{"he", "llo"}, length: 5, buffers: true, answered: "[204] finished", want: forwarded{whole: true, content: "hello"}},
		{name: "held, of unknown length", pieces: []string{"he", "llo"}, length: -1, buffers: true, answered: "[204] finished", want: forwarded{whole: true, content: "hello"}},
		{name: "held, empty", length: -1, buffers: true, answered: "[204] finished", want: forwarded{whole: true}},
		{name: "held, with a trailer", pieces: []string{"hello"}, length: -1, trailer: true, buffers: true, answered: "[204] finished", want: forwarded{content: "hello"}},
		{name: "held in part", pieces: []string{large}, length: int64(len(large)), buffers: true, answered: "[204] finished", want: forwarded{content: large}},
		{name: "broken while held", pieces: []string{"he"}, length: 5, bodyErr: broken, buffers: true, answered: "[400] finished"},
		{name: "looked at", pieces: []string{"he", "llo"}, length: -1, reader: &reader{limit: 5}, answered: "[204] finished", want: forwarded{whole: true, content: "hello"}, seen: "hello"},
		{name: "looked at, large", pieces: []string{large}, length: int64(len(large)), buffers: true, reader: &reader{limit: 1 << 20}, answered: "[204] finished", want: forwarded{whole: true, content: large}, seen: large},
		{name: "announced too long for a look", pieces: []string{"hello"}, length: 5, reader: &reader{limit: 4}, answered: "[413] finished"},
		{name: "found too long for a look", pieces: []string{"hello"}, length: -1, reader: &reader{limit: 4}, answered: "[413] finished"},
		{name: "not looked at by this instance", pieces: []string{"hello"}, length: 5, reader: &reader{}, answered: "[204] finished", want: forwarded{content: "hello"}},
		{name: "no room for an announced length", pieces: []string{"hello"}, length: 5, reader: &reader{limit: 9}, room: 4, answered: "[503] finished"},
		{name: "no room for an unknown length", pieces: []string{"hello"}, length: -1, reader: &reader{limit: 9}, room: 4, answered: "[503] finished"},
		{name: "replaced", pieces: []string{"hello"}, length: 5, reader: &reader{limit: 9, then: func(x *Exchange) Verdict {
			x.SetBody([]byte("bye"))
			return Next
		}}, answered: "[204] finished", want: forwarded{whole: true, content: "bye"}, seen: "hello"},
		{name: "within a limit", pieces: []string{"hello"}, length: -1, limit: 5, answered: "[204] finished", want: forwarded{content: "hello"}},
		{name: "over a limit", pieces: []string{"hello", "!"}, length: -1, limit: 5, answered: "[418] finished", want: forwarded{content: "hello"}},
		{name: "over a limit while held", pieces: []string{"hello", "!"}, length: -1, limit: 5, buffers: true, answered: "[418] finished"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			instances := map[int]any{}
			if tt.limit > 0 {
				instances[0] = onReq(func(x *Exchange) Verdict {
					x.LimitBody(tt.limit, Problem(418, "too much"))
					return Next
				})
			}
			if tt.reader != nil {
				instances[1] = tt.reader
			}
			f := newFixture(t, planOf(instances))
			f.BodyBuffers = tt.room
			f.route.Entity.RequestBuffering = tt.buffers
			var got forwarded
			f.upstream.forward = takeBody(&got)
			x, w := request(t, "POST", "/shop")
			body := &pieces{left: tt.pieces, err: tt.bodyErr}
			if tt.trailer {
				body.trailer.Add("X-Sum", "1")
			}
			x.Req.Body, x.Req.ContentLength = body, tt.length
			f.Serve(x)
			got.err = nil
			if w.answered() != tt.answered || got != tt.want {
				t.Errorf("answered %s, the upstream got %v of %d bytes", w.answered(), got.whole, len(got.content))
			}
			if tt.reader != nil && string(tt.reader.seen) != tt.seen {
				t.Errorf("the plugin saw %d bytes", len(tt.reader.seen))
			}
			x.held.release()
			if n := f.Shared.bodies.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

func TestHeldBodyStops(t *testing.T) {
	x, _ := request(t, "POST", "/shop")
	body := &pieces{left: []string{strings.Repeat("x", holdSize), "more"}}
	x.Req.Body, x.Req.ContentLength = body, -1
	if err := x.holdBody(); err != nil {
		t.Fatal(err)
	}
	x.Req.Body.Stop()
	if !body.stopped {
		t.Error("what is not held was not stopped")
	}
	if x.Body() != nil {
		t.Error("a part passes for the whole content")
	}
	all, err := io.ReadAll(x.Req.Body)
	if err != nil || len(all) != holdSize+len("more") || x.Req.Body.Trailer() != &body.trailer {
		t.Errorf("read %d bytes, %v", len(all), err)
	}
	if _, err := (&limitedBody{RequestBody: &pieces{left: []string{"ab"}}, left: 1, err: errBody}).Read(make([]byte, 2)); !errors.Is(err, errBody) {
		t.Errorf("reading over a limit: %v", err)
	}
}

// TestLimitBehindReader shows that a bound on content that was read already
// leaves it where it is.
func TestLimitBehindReader(t *testing.T) {
	large := strings.Repeat("x", holdSize+1)
	first, second := &reader{limit: 1 << 20}, &reader{limit: 1 << 20}
	f := newFixture(t, planOf(map[int]any{
		0: first,
		1: onReq(func(x *Exchange) Verdict {
			x.LimitBody(1<<20, Problem(413, "too much"))
			return Next
		}),
		2: second,
	}))
	f.route.Entity.RequestBuffering = true
	var got forwarded
	f.upstream.forward = takeBody(&got)
	x, w := request(t, "POST", "/shop")
	body := &pieces{left: []string{large}}
	body.trailer.Add("X-Sum", "1")
	x.Req.Body, x.Req.ContentLength = body, -1
	f.Serve(x)
	if w.answered() != "[204] finished" || got.content != large || string(second.seen) != large {
		t.Errorf("answered %s, the upstream got %d bytes, the second plugin saw %d", w.answered(), len(got.content), len(second.seen))
	}
}

// TestHeldTrailer: content that ended in an error has a trailer, too, an empty one.
func TestHeldTrailer(t *testing.T) {
	x := NewExchange()
	defer x.Release()
	if err := x.settleHeld(nil, errNoRoom); err != errNoRoom {
		t.Fatal(err)
	}
	if n := x.Req.Body.Trailer().Len(); n != 0 {
		t.Errorf("the trailer has %d fields", n)
	}
}

// wrapped is content with another trailer.
type wrapped struct {
	RequestBody
	trailer Header
}

func (b *wrapped) Trailer() *Header { return &b.trailer }

// TestWrapBody wraps content of which nothing, the beginning, or all was read, and
// then lets it be held for retries: it arrives once, with the trailer of the wrapper.
func TestWrapBody(t *testing.T) {
	large := strings.Repeat("x", holdSize+100)
	for name, peek := range map[string]int64{"nothing": 0, "beginning": 10, "all": 1 << 20} {
		f := newFixture(t, nil)
		x, _ := request(t, "POST", "/shop")
		x.pipeline = &f.Pipeline
		body := &pieces{left: []string{large[:100], large[100:]}}
		body.trailer.Add("X-Old", "1")
		x.Req.Body, x.Req.ContentLength = body, -1
		if peek > 0 {
			if err := x.readAhead(peek); err != nil {
				t.Fatal(err)
			}
		}
		x.WrapBody(func(b RequestBody) RequestBody {
			w := &wrapped{RequestBody: b}
			w.trailer.Add("X-New", "1")
			return w
		})
		if err := x.holdBody(); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(x.Req.Body)
		if _, ok := x.Req.Body.Trailer().Get("X-New"); err != nil || string(all) != large || !ok {
			t.Errorf("%s: %d bytes, %v, trailer %v", name, len(all), err, ok)
		}
	}
	x, _ := request(t, "GET", "/shop")
	x.WrapBody(func(b RequestBody) RequestBody { t.Error("nothing was wrapped"); return b })
}
