package l7

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// upper is a filter that holds content back until it is flushed or closed and
// writes it in capitals, behind its own tag.
type upper struct {
	tag    string
	held   bytes.Buffer
	closed int
	broken int
	fail   error
}

func (u *upper) Write(_ io.Writer, p []byte) error {
	u.held.Write(p)
	return u.fail
}

func (u *upper) Flush(next io.Writer) error {
	if u.held.Len() == 0 {
		return nil
	}
	_, err := next.Write([]byte(u.tag + string(bytes.ToUpper(u.held.Bytes()))))
	u.held.Reset()
	return err
}

func (u *upper) Close(next io.Writer) error {
	u.closed++
	return u.Flush(next)
}

func (u *upper) Abort() { u.broken++ }

type filterHook func(x *Exchange) BodyFilter

func (f filterHook) ResponseBody(x *Exchange) BodyFilter { return f(x) }

// filtering returns a plan of filters that make the length unknown; nil ones
// leave the content alone.
func filtering(filters ...*upper) *Plan {
	instances := make(map[int]any)
	for i, u := range filters {
		instances[i] = filterHook(func(x *Exchange) BodyFilter {
			if u == nil {
				return nil
			}
			x.Resp.Size = -1
			return u
		})
	}
	return planOf(instances)
}

func TestBodyFilters(t *testing.T) {
	a, b := &upper{tag: "1:"}, &upper{tag: "2:"}
	f := newFixture(t, filtering(a, nil, b))
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if got := w.body.String(); got != "2:1:OK" || w.size != -1 || w.answered() != "[200] finished" {
		t.Errorf("%s with size %d and content %q", w.answered(), w.size, got)
	}
	if a.closed != 1 || b.closed != 1 || a.broken+b.broken != 0 {
		t.Errorf("filters were closed %d and %d times, aborted %d and %d times", a.closed, b.closed, a.broken, b.broken)
	}
	if x.Sent != int64(len("2:1:OK")) {
		t.Errorf("%d bytes of content counted", x.Sent)
	}
}

func TestBodyFilterOfReply(t *testing.T) {
	a := &upper{tag: "1:"}
	f := newFixture(t, filtering(a))
	f.route.Service = nil
	x, w := request(t, "GET", "/shop", "Accept: text/plain")
	f.Serve(x)
	if !bytes.HasPrefix(w.body.Bytes(), []byte("1:FAILURE TO GET A PEER")) || a.closed != 1 {
		t.Errorf("content %q", w.body.String())
	}
}

func TestBodyFilterWithoutContent(t *testing.T) {
	a := &upper{tag: "1:"}
	f := newFixture(t, filtering(a))
	x, w := request(t, "HEAD", "/shop")
	f.Serve(x)
	if w.size != 2 || a.closed+a.broken != 0 {
		t.Errorf("an answer to HEAD was filtered: size %d", w.size)
	}
}

func TestBodyFilterFails(t *testing.T) {
	a, b := &upper{tag: "1:"}, &upper{tag: "2:", fail: errors.New("too much")}
	f := newFixture(t, filtering(a, b))
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if w.finished || len(w.aborted) != 1 || x.Reason() != ReasonInternal {
		t.Errorf("%s for reason %s", w.answered(), x.Reason())
	}
	if a.closed != 1 || a.broken != 0 || b.closed != 0 || b.broken != 1 {
		t.Errorf("filters were closed %d and %d times, aborted %d and %d times", a.closed, b.closed, a.broken, b.broken)
	}
}

func TestBodyFilterOfBrokenAnswer(t *testing.T) {
	a := &upper{tag: "1:"}
	f := newFixture(t, filtering(a))
	f.upstream.forward = func(x *Exchange) error {
		x.Resp.Status, x.Resp.Size, x.Proxied = 200, 100, true
		if _, err := x.SendHead(); err != nil {
			return err
		}
		if _, err := x.Wire.Write([]byte("half")); err != nil {
			return err
		}
		if err := x.Wire.Flush(); err != nil {
			return err
		}
		return &Error{Status: 502, Reason: ReasonUpstreamClosed, Side: SideUpstream}
	}
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if w.body.String() != "1:HALF" || len(w.aborted) != 1 || a.closed != 0 || a.broken != 1 {
		t.Errorf("%s with %q, closed %d, aborted %d times", w.answered(), w.body.String(), a.closed, a.broken)
	}
}

// panicking is a filter that breaks an invariant when it is closed.
type panicking struct{ upper }

func (*panicking) Close(io.Writer) error { panic("BUG: in a test") }

// TestBodyFilterPanics shows that filters which were closed hear nothing more,
// and that the exchange's entry is written all the same.
func TestBodyFilterPanics(t *testing.T) {
	a, b, c := &upper{tag: "1:"}, new(panicking), &upper{tag: "3:"}
	logs := 0
	f := newFixture(t, planOf(map[int]any{
		0: filterHook(func(*Exchange) BodyFilter { return a }),
		1: filterHook(func(*Exchange) BodyFilter { return b }),
		2: filterHook(func(*Exchange) BodyFilter { return c }),
		3: onLog(func(*Exchange) { logs++ }),
	}))
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if a.closed != 1 || a.broken != 0 || b.broken != 0 || c.closed != 0 || c.broken != 1 || logs != 1 {
		t.Errorf("closed %d and %d times, aborted %d, %d and %d times, logged %d times", a.closed, c.closed, a.broken, b.broken, c.broken, logs)
	}
	if len(w.aborted) == 0 || w.finished {
		t.Errorf("answered %s", w.answered())
	}
}
