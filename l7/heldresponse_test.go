package l7

import (
	"errors"
	"strings"
	"testing"
)

// holder is a plugin that looks at the beginning of an answer's content.
type holder struct {
	most  int64
	seen  string
	whole bool
	runs  int
	then  func(x *Exchange) Verdict
}

func (h *holder) ResponsePeek(*Exchange) int64 { return h.most }

func (h *holder) Response(x *Exchange) Verdict {
	if !x.Proxied {
		return Next
	}
	content, whole := x.ResponsePrefix()
	h.seen, h.whole = string(content), whole
	h.runs++
	if h.then != nil {
		return h.then(x)
	}
	return Next
}

// answering is an upstream that answers with content in pieces, each of which is
// flushed, and tells what the client has of it by then.
func answering(status int, size int64, pieces []string, seen *[]string, broken error) func(x *Exchange) error {
	return func(x *Exchange) error {
		w := x.Wire.(*fakeWire)
		x.Resp.Status, x.Resp.Size, x.Proxied = status, size, true
		if v, err := x.SendHead(); v == Done || err != nil {
			return err
		}
		for _, p := range pieces {
			n, err := x.Wire.Write([]byte(p))
			x.Sent += int64(n)
			if err == nil {
				err = x.Wire.Flush()
			}
			if err == ErrReplaced {
				return nil
			} else if err != nil {
				return err
			}
			*seen = append(*seen, strings.Repeat("head ", len(w.heads))+w.body.String())
		}
		if broken != nil {
			return broken
		}
		if err := x.Wire.Finish(nil); err != nil && err != ErrReplaced {
			return err
		}
		return nil
	}
}

func TestHeldResponse(t *testing.T) {
	refuse := func(x *Exchange) Verdict { return x.Reply(NewReply(403, "text/plain", []byte("no"))) }
	broken := &Error{Status: 502, Message: "broken", Reason: ReasonUpstreamClosed, Side: SideUpstream}
	tests := []struct {
		name     string
		method   string
		status   int
		size     int64
		pieces   []string
		broken   error
		room     int64
		holder   holder
		between  string // what the client has after each piece
		answered string
		body     string
		seen     string
		whole    bool
	}{
		{name: "whole", size: -1, pieces: []string{"he", "llo"}, holder: holder{most: 9}, between: "|", answered: "[200] finished", body: "hello", seen: "hello", whole: true},
		{name: "whole and as long as it may be", size: 5, pieces: []string{"he", "llo"}, holder: holder{most: 5}, between: "|", answered: "[200] finished", body: "hello", seen: "hello", whole: true},
		{name: "prefix", size: -1, pieces: []string{"he", "llo", "!"}, holder: holder{most: 4}, between: "|head hello|head hello!", answered: "[200] finished", body: "hello!", seen: "hell"},
		{name: "not wanted", size: -1, pieces: []string{"he", "llo"}, between: "head he|head hello", answered: "[200] finished", body: "hello"},
		{name: "no content", size: 0, holder: holder{most: 9}, answered: "[200] finished"},
		{name: "empty content of unknown length", size: -1, holder: holder{most: 9}, answered: "[200] finished", whole: true},
		{name: "HEAD", method: "HEAD", size: 5, holder: holder{most: 9}, answered: "[200] finished"},
		{name: "304", status: 304, size: -1, holder: holder{most: 9}, answered: "[304] finished"},
		{name: "replaced by the whole", size: -1, pieces: []string{"he", "llo"}, holder: holder{most: 9, then: refuse}, between: "|", answered: "[403] finished", body: "no", seen: "hello", whole: true},
		{name: "replaced by the prefix", size: 6, pieces: []string{"he", "llo!"}, holder: holder{most: 4, then: refuse}, between: "", answered: "[403] finished", body: "no", seen: "hell"},
		{name: "broken while held", size: 6, pieces: []string{"he"}, broken: broken, holder: holder{most: 4}, between: "", answered: "[502] finished"},
		{name: "broken behind the prefix", size: 6, pieces: []string{"hello"}, broken: broken, holder: holder{most: 4}, between: "head hello", answered: "[200] aborted [upstream_closed]", body: "hello", seen: "hell"},
		{name: "no room", size: -1, pieces: []string{"hello"}, room: 4, holder: holder{most: 9}, answered: "[503] finished"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.holder
			f := newFixture(t, planOf(map[int]any{1: &h}))
			f.BodyBuffers = tt.room
			if tt.status == 0 {
				tt.status = 200
			}
			if tt.method == "" {
				tt.method = "GET"
			}
			var between []string
			f.upstream.forward = answering(tt.status, tt.size, tt.pieces, &between, tt.broken)
			x, w := request(t, tt.method, "/shop")
			f.Serve(x)
			if got := w.answered(); got != tt.answered {
				t.Errorf("answered %s, want %s", got, tt.answered)
			}
			if w.heads[0] < 500 && w.body.String() != tt.body {
				t.Errorf("content %q", w.body.String())
			}
			if w.heads[0] < 500 && x.Sent != int64(len(tt.body)) {
				t.Errorf("%d bytes counted as sent", x.Sent)
			}
			if got := strings.Join(between, "|"); w.heads[0] < 400 && got != tt.between {
				t.Errorf("the client had %q between the pieces, want %q", got, tt.between)
			}
			if h.seen != tt.seen || h.whole != tt.whole {
				t.Errorf("the plugin saw %q, whole: %v", h.seen, h.whole)
			}
			if n := f.Shared.bodies.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// TestHeldResponseOrder shows that hooks behind one that looks at the content run
// once it has let the answer pass, and not for what it has replaced; and that
// filters get the content as it was held.
func TestHeldResponseOrder(t *testing.T) {
	var ran []string
	note := func(name string) onResp {
		return func(x *Exchange) Verdict {
			if x.Proxied {
				ran = append(ran, name)
			}
			return Next
		}
	}
	look := func(name string) func(x *Exchange) Verdict {
		return func(*Exchange) Verdict {
			ran = append(ran, name)
			return Next
		}
	}
	first, second := &holder{most: 3, then: look("first")}, &holder{most: 9, then: look("second")}
	u := &upper{tag: "1:"}
	plan := planOf(map[int]any{
		0: note("before"), 1: first, 2: note("between"), 3: second, 4: note("after"),
		5: filterHook(func(x *Exchange) BodyFilter { return u }),
	})
	f := newFixture(t, plan)
	var between []string
	f.upstream.forward = answering(200, -1, []string{"he", "llo", "!"}, &between, nil)
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if got := strings.Join(ran, " "); got != "before first between second after" {
		t.Errorf("ran %s", got)
	}
	if first.seen != "hel" || second.seen != "hello!" || !second.whole || w.body.String() != "1:HELLO!" {
		t.Errorf("saw %q and %q, the client got %q", first.seen, second.seen, w.body.String())
	}
	ran = nil
	first.then = func(x *Exchange) Verdict { return x.Reply(NewReply(403, "", nil)) }
	x, w = request(t, "GET", "/shop")
	f.Serve(x)
	if got := strings.Join(ran, " "); got != "before" || w.answered() != "[403] finished" {
		t.Errorf("ran %q, answered %s", got, w.answered())
	}
	if n := f.Shared.bodies.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestHeldResponsePanics(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: &holder{most: 9, then: func(*Exchange) Verdict { panic("BUG: in a test") }}}))
	var between []string
	f.upstream.forward = answering(200, -1, []string{"hello"}, &between, nil)
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if w.answered() != "[500] finished" || strings.Contains(w.body.String(), "hello") {
		t.Errorf("answered %s with %q", w.answered(), w.body.String())
	}
	if n := f.Shared.bodies.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// peeker is a plugin that looks at the beginning of a request's content.
type peeker struct {
	n     int64
	seen  string
	whole bool
	then  func(x *Exchange) Verdict
}

func (p *peeker) BodyPeek(*Exchange) int64 { return p.n }

func (p *peeker) Request(x *Exchange) Verdict {
	prefix, whole := x.BodyPrefix(p.n)
	p.seen, p.whole = string(prefix), whole
	if p.then != nil {
		return p.then(x)
	}
	return Next
}

func TestBodyPrefix(t *testing.T) {
	large := strings.Repeat("0123456789", 100<<10/10)
	tests := []struct {
		name    string
		pieces  []string
		length  int64
		bodyErr error
		room    int64
		peek    int64
		reader  *reader // behind the peeker; may be nil
		limit   int64   // set by LimitBody behind it; 0: none
		buffers bool
		status  int
		want    forwarded
		seen    string
		whole   bool
	}{
		{name: "whole", pieces: []string{"he", "llo"}, length: 5, peek: 9, status: 204, want: forwarded{whole: true, content: "hello"}, seen: "hello", whole: true},
		{name: "whole and as long as it may be", pieces: []string{"he", "llo"}, length: -1, peek: 5, status: 204, want: forwarded{whole: true, content: "hello"}, seen: "hello", whole: true},
		{name: "beginning", pieces: []string{"he", "llo", " you"}, length: -1, peek: 4, status: 204, want: forwarded{content: "hello you"}, seen: "hell"},
		{name: "beginning of much", pieces: []string{large}, length: int64(len(large)), peek: 4, buffers: true, status: 204, want: forwarded{content: large}, seen: "0123"},
		{name: "none wanted", pieces: []string{"hello"}, length: 5, status: 204, want: forwarded{content: "hello"}},
		{name: "no room", pieces: []string{"hello"}, length: 5, peek: 9, room: 4, status: 503},
		{name: "broken", pieces: []string{"he"}, length: 5, peek: 9, bodyErr: errBody, status: 413},
		{name: "another one wants all", pieces: []string{"he", "llo", " you"}, length: -1, peek: 4, reader: &reader{limit: 9}, status: 204, want: forwarded{whole: true, content: "hello you"}, seen: "hell"},
		{name: "another one wants all, which is too much", pieces: []string{"he", "llo", " you"}, length: -1, peek: 4, reader: &reader{limit: 8}, status: 413, seen: "hell"},
		{name: "another one wants less than is here", pieces: []string{"hello"}, length: -1, peek: 9, reader: &reader{limit: 4}, status: 413, seen: "hello", whole: true},
		{name: "within a limit", pieces: []string{"hello", " you"}, length: -1, peek: 4, limit: 9, status: 204, want: forwarded{content: "hello you"}, seen: "hell"},
		{name: "over a limit", pieces: []string{"hello", " you"}, length: -1, peek: 4, limit: 8, status: 418, want: forwarded{content: "hello"}, seen: "hell"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &peeker{n: tt.peek}
			instances := map[int]any{0: p}
			if tt.limit > 0 {
				instances[1] = onReq(func(x *Exchange) Verdict {
					x.LimitBody(tt.limit, Problem(418, "too much"))
					return Next
				})
			}
			if tt.reader != nil {
				instances[2] = tt.reader
			}
			f := newFixture(t, planOf(instances))
			f.BodyBuffers = tt.room
			f.route.Entity.RequestBuffering = tt.buffers
			var got forwarded
			f.upstream.forward = takeBody(&got)
			x, w := request(t, "POST", "/shop")
			x.Req.Body, x.Req.ContentLength = &pieces{left: tt.pieces, err: tt.bodyErr}, tt.length
			f.Serve(x)
			got.err = nil
			if len(w.heads) != 1 || w.heads[0] != tt.status || got != tt.want {
				t.Errorf("answered %s, the upstream got whole %v, %d bytes", w.answered(), got.whole, len(got.content))
			}
			if p.seen != tt.seen || p.whole != tt.whole {
				t.Errorf("the plugin saw %q, whole: %v", p.seen, p.whole)
			}
			if tt.reader != nil && tt.status == 204 && string(tt.reader.seen) != tt.want.content {
				t.Errorf("the other one saw %q", tt.reader.seen)
			}
			if tt.status == 204 && !tt.want.whole && x.held.cost != 0 {
				t.Errorf("%d bytes are held though they were sent", x.held.cost)
			}
			x.held.release()
			if n := f.Shared.bodies.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// TestBodyPrefixRefused shows that nothing is read beyond what is looked at when
// the hook answers.
func TestBodyPrefixRefused(t *testing.T) {
	p := &peeker{n: 4, then: func(x *Exchange) Verdict { return x.Reply(NewReply(403, "", nil)) }}
	f := newFixture(t, planOf(map[int]any{0: p}))
	x, w := request(t, "POST", "/shop")
	body := &pieces{left: []string{"hello", "more"}, err: errors.New("read too much")}
	x.Req.Body, x.Req.ContentLength = body, -1
	f.Serve(x)
	if w.answered() != "[403] finished" || len(body.left) != 1 || f.upstream.calls != 0 {
		t.Errorf("answered %s, %d pieces left, the upstream was asked %d times", w.answered(), len(body.left), f.upstream.calls)
	}
}
