package h1

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestBodyReads shows that a body is the same however it is read, empty reads
// included.
func TestBodyReads(t *testing.T) {
	const content = "hello, world of chunks"
	chunked := "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext=1\r\n,\r\n10\r\n world of chunks\r\n0\r\nX-Trailer: t\r\n\r\n"
	for name, request := range map[string]string{"length": post("/", content), "chunked": chunked} {
		for _, size := range []int{1, 2, 3, 7, 64, 64 << 10} {
			t.Run(fmt.Sprintf("%s by %d", name, size), func(t *testing.T) {
				e := start(t, func(x *l7.Exchange) {
					var got strings.Builder
					p := make([]byte, size)
					for {
						if n, err := x.Req.Body.Read(nil); n != 0 || err != nil {
							t.Errorf("an empty read: %d, %v", n, err)
						}
						n, err := x.Req.Body.Read(p)
						got.Write(p[:n])
						if err == io.EOF {
							break
						}
						if err != nil {
							t.Errorf("reading: %v", err)
							break
						}
					}
					if n, err := x.Req.Body.Read(p); n != 0 || err != io.EOF {
						t.Errorf("behind the end: %d, %v", n, err)
					}
					trailer, _ := x.Req.Body.Trailer().Get("X-Trailer")
					if want := map[string]string{"length": "", "chunked": "t"}[name]; trailer != want {
						t.Errorf("trailer %q, want %q", trailer, want)
					}
					answer(x, 200, got.String())
				}, nil)
				e.send(request + request) // the next one lies right behind the body
				e.want("200 " + content)
				e.want("200 " + content)
			})
		}
	}
}

func TestBodyWhole(t *testing.T) {
	whole := func(x *l7.Exchange) {
		content, ok := x.Req.Body.(l7.WholeBody).Whole()
		if !ok {
			echo(x)
			return
		}
		if n, err := x.Req.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			answer(x, 500, "the body is not read to its end")
			return
		}
		answer(x, 200, "whole "+string(content))
	}
	e := start(t, whole, nil)
	e.send(post("/", "all here"))
	e.want("200 whole all here")
	e.send(post("/", "expected", "Expect: 100-continue"))
	if head := e.head(); head != "HTTP/1.1 100 Continue" {
		t.Errorf("head %q", head)
	}
	e.want(`200 POST / "expected"`)
	e.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	e.want(`200 POST / "abc"`)
	e.send(post("/", "after all that"))
	e.want("200 whole after all that")
}

func TestExpectContinue(t *testing.T) {
	t.Run("asked for", func(t *testing.T) {
		e := start(t, echo, nil)
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if head := e.head(); head != "HTTP/1.1 100 Continue" {
			t.Fatalf("head %q", head)
		}
		e.send("body")
		e.want(`200 POST / "body"`)
		e.send(get("/next"))
		e.want("200 GET /next")
	})
	t.Run("not wanted", func(t *testing.T) {
		e := start(t, func(x *l7.Exchange) { answer(x, 403, "no") }, nil)
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if head := e.head(); !strings.HasPrefix(head, "HTTP/1.1 403") || !strings.Contains(head, "Connection: close") {
			t.Errorf("head %q", head)
		}
		e.read = nil
		_ = e.client.CloseWrite()
		e.end()
	})
}

func TestBodyBounds(t *testing.T) {
	bound := func(s *Settings) { s.BodyBytes = 8 }
	e := start(t, echo, bound)
	e.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n")
	e.want(`200 POST / "12345678"`)
	e.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n")
	e.want("413 Payload too large")
	_ = e.client.CloseWrite()
	e.end()
}

func TestBodyFaults(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		e := start(t, echo, func(s *Settings) { s.ReadTimeout = 50 * time.Millisecond })
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nab")
		e.want("408 Request timeout")
		_ = e.client.CloseWrite()
		e.end()
	})
	t.Run("broken chunk", func(t *testing.T) {
		e := start(t, echo, nil)
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n")
		if got := e.answer(); !strings.HasPrefix(got, "400 ") {
			t.Errorf("answered %q", got)
		}
		_ = e.client.CloseWrite()
		e.end()
	})
	t.Run("cut", func(t *testing.T) {
		failed := make(chan error, 1)
		e := start(t, func(x *l7.Exchange) {
			_, err := io.ReadAll(x.Req.Body)
			failed <- err
			x.Wire.Abort(l7.ReasonClientGone)
		}, nil)
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nab")
		_ = e.client.CloseWrite()
		if err, ok := errors.AsType[*l7.Error](<-failed); !ok || err.Reason != l7.ReasonClientGone {
			t.Errorf("error %v", err)
		}
	})
}

func TestBodyStop(t *testing.T) {
	failed := make(chan error, 2)
	e := start(t, func(x *l7.Exchange) {
		reading := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := make([]byte, 8)
			_, _ = x.Req.Body.Read(p) // what is here
			close(reading)
			_, err := x.Req.Body.Read(p)
			failed <- err
		}()
		<-reading
		x.Req.Body.Stop()
		<-done
		_, err := x.Req.Body.Read(make([]byte, 8))
		failed <- err
		answer(x, 200, "enough")
	}, nil)
	e.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nab")
	for range 2 {
		if err := <-failed; !errors.Is(err, l7.ErrStopped) {
			t.Errorf("error %v, want ErrStopped", err)
		}
	}
	e.want("200 enough")
	_ = e.client.CloseWrite()
	e.end()
}

// TestBodySettles shows when a connection is kept whose request was answered
// before its content was read.
func TestBodySettles(t *testing.T) {
	ignore := func(x *l7.Exchange) { answer(x, 200, "early") }
	t.Run("a little", func(t *testing.T) {
		e := start(t, ignore, nil)
		e.send(post("/", strings.Repeat("x", 10<<10)))
		e.want("200 early")
		e.send(get("/next"))
		e.want("200 early")
	})
	t.Run("too much", func(t *testing.T) {
		e := start(t, ignore, nil)
		e.send(post("/", strings.Repeat("x", settleBytes+1)))
		e.want("200 early")
		_ = e.client.CloseWrite()
		e.end()
	})
	t.Run("broken", func(t *testing.T) {
		e := start(t, ignore, nil)
		e.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
		e.want("200 early")
		_ = e.client.CloseWrite()
		e.end()
	})
}
