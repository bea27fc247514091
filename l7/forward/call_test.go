package forward

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// scripted answers every call alike.
type scripted struct {
	open   func() error // why there is no call
	unsent error        // what Send returns
	status int          // 0: no answer comes
	size   int64
}

func (s *scripted) Open(*upstream.Pool, time.Duration) (l7.Call, l7.Dialing, error) {
	if s.open != nil {
		if err := s.open(); err != nil {
			return nil, nil, err
		}
	}
	return &scriptedCall{scripted: s, stopped: make(chan struct{})}, nil, nil
}

func (s *scripted) HasRoom(*upstream.Pool) bool { return false }

type scriptedCall struct {
	*scripted
	once    sync.Once
	stopped chan struct{}
	trailer l7.Header
}

func (c *scriptedCall) Send(*l7.CallHead, []byte, bool) error { return c.unsent }
func (*scriptedCall) Write([]byte, bool, time.Duration) error { return nil }
func (*scriptedCall) Finish(*l7.Header) error                 { return nil }
func (*scriptedCall) Content(time.Duration) ([]byte, error)   { return nil, io.EOF }
func (*scriptedCall) Took(int)                                {}
func (c *scriptedCall) Trailer() *l7.Header                   { return &c.trailer }
func (c *scriptedCall) Stop()                                 { c.once.Do(func() { close(c.stopped) }) }
func (*scriptedCall) Close(bool)                              {}
func (c *scriptedCall) Head(r *l7.Response, d time.Duration) error {
	if c.status != 0 {
		r.Status, r.Proto, r.Size = c.status, l7.HTTP2, c.size
		return nil
	}
	select {
	case <-c.stopped:
		return l7.ErrStopped
	case <-time.After(d):
		return os.ErrDeadlineExceeded
	}
}

// asking makes f's service one of HTTP/2, which s answers.
func (f *fixture) asking(s *scripted) {
	f.service.HTTP2 = true
	f.p.Forwarder.(*Client).Calls = s
}

// TestCallAnswers shows what becomes of answers over HTTP/2.
func TestCallAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer scripted
		change func(x *l7.Exchange)
		want   string
	}{
		{"early", scripted{unsent: errors.New("reset"), status: 413}, nil, `413 ""`},
		{"no switch", scripted{status: 200}, func(x *l7.Exchange) { x.Req.Connect = true }, problem(502, textInvalid)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil, newOrigin(t, always(ok)))
			f.asking(&tt.answer)
			f.want(f.do("GET", tt.change), tt.want)
		})
	}
}

// TestCallHead shows that an answer to HEAD has no size for a client that asked
// for something else.
func TestCallHead(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always(ok)))
	f.asking(&scripted{status: 200, size: 5})
	w := f.do("GET", func(x *l7.Exchange) { x.Upstream.Method = http.MethodHead })
	f.want(w, `200 ""`)
	if w.size != 0 {
		t.Errorf("a size of %d", w.size)
	}
}

// TestCallPendingElsewhere shows that one who waited for another's connection tries
// the endpoints that the other had tried before.
func TestCallPendingElsewhere(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always(ok)), newOrigin(t, always(ok)))
	f.balance(func(s *upstream.Spec) { s.Resilience.Pending = 1 })
	n := 0
	f.asking(&scripted{status: 200, open: func() error {
		if n++; n == 1 {
			return pendingLimit() // the other has nowhere to go
		}
		return nil
	}})
	f.want(f.do("GET", nil), `200 ""`)
}

// brokenBody is content that cannot be read, for no reason that is known.
type brokenBody struct{ *body }

func (*brokenBody) Read([]byte) (int, error) { return 0, errors.New("broken") }

// TestCallBrokenBody shows that content which cannot be read ends the exchange.
func TestCallBrokenBody(t *testing.T) {
	f := newFixture(t, nil, newOrigin(t, always(ok)))
	f.service.ReadTimeout = time.Hour
	f.asking(new(scripted))
	done := make(chan *wire, 1)
	go func() {
		done <- f.do("POST", func(x *l7.Exchange) { x.Req.Body, x.Req.ContentLength = &brokenBody{newBody()}, -1 })
	}()
	select {
	case w := <-done:
		f.want(w, problem(500, "An unexpected error occurred"))
	case <-time.After(patience):
		t.Fatal("the answer is still waited for")
	}
}

// TestSenderStops shows that the time for the answer begins where the content ends
// early.
func TestSenderStops(t *testing.T) {
	b := newBody()
	b.Stop()
	x := l7.NewExchange()
	defer x.Release()
	x.Req.Body = b
	s := newSender(x, nil, patience)
	if err := s.start(&scriptedCall{scripted: new(scripted), stopped: make(chan struct{})}, new(l7.CallHead)); err != nil {
		t.Fatal(err)
	}
	<-s.done
	if s.sentAt(1<<62) == 1<<62 {
		t.Error("content is still taken to be on its way")
	}
	_ = s.stop()
}
