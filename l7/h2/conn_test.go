package h2

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

func TestRequests(t *testing.T) {
	e := start(t, echo, nil)
	e.headers(1, true, get("/a")...)
	e.want(ok(1, "GET /a")...)
	e.headers(3, false, request("POST", "/b")...)
	e.check(e.fr.WriteData(3, false, []byte("one ")))
	e.check(e.fr.WriteDataPadded(3, true, []byte("two"), make([]byte, 9)))
	e.want(ok(3, `POST /b "one two"`)...)
	e.headers(5, false, request("POST", "/c", "content-length", "3", "te", "trailers")...)
	e.check(e.fr.WriteData(5, false, []byte("abc")))
	e.headers(5, true, "x-sum", "6")
	e.want(ok(5, `POST /c "abc" x-sum=6`)...)
	e.headers(7, true, request("HEAD", "/d")...)
	e.want("HEADERS 7 :status=200 content-length=7 END")
	e.alive()
}

// TestByteByByte shows that frames may come in any pieces.
func TestByteByByte(t *testing.T) {
	e := connect(t, echo, nil)
	_ = e.client.SetNoDelay(true)
	var all strings.Builder
	fr := http2.NewFramer(&all, nil)
	all.WriteString(syntax.HTTP2Preface)
	e.check(fr.WriteSettings())
	e.check(fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(request("POST", "/slow")...), EndHeaders: true}))
	e.check(fr.WriteData(1, true, []byte("xyz")))
	for _, c := range []byte(all.String()) {
		_, err := e.client.Write([]byte{c})
		e.check(err)
	}
	e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "SETTINGS ACK")
	e.want(ok(1, `POST /slow "xyz"`)...)
}

// TestHeader shows what an exchange gets to see.
func TestHeader(t *testing.T) {
	got := make(chan string, 1)
	e := start(t, func(x *l7.Exchange) {
		text := x.Req.Proto.String() + " " + x.Req.Authority + " " + x.Req.Path + " " + x.Req.Query
		for _, f := range x.Req.Header.Fields() {
			text += "\n" + f.Name + ": " + f.Value
		}
		got <- text
		echo(x)
	}, nil)
	for i, tt := range []struct {
		list []string
		want string
	}{
		{
			get("/p?q=1", "cookie", "a=1", "x-a", "1", "cookie", "b=2", "x-a", "2", "cookie", "c=3"),
			"HTTP/2.0 a.test /p q=1\nhost: a.test\ncookie: a=1; b=2; c=3\nx-a: 1\nx-a: 2",
		},
		{get("/", "host", "A.test:80", "x", "y"), "HTTP/2.0 a.test / \nhost: a.test\nx: y"},
		{
			[]string{":method", "GET", ":scheme", "http", ":path", "/", "accept", "x", "host", "b.test"},
			"HTTP/2.0 b.test / \naccept: x\nhost: b.test",
		},
		{get("/"), "HTTP/2.0 a.test / \nhost: a.test"},
		{request("OPTIONS", "*"), "HTTP/2.0 a.test * \nhost: a.test"},
	} {
		e.headers(uint32(2*i+1), true, tt.list...)
		if text := <-got; text != tt.want {
			t.Errorf("%q is seen as\n%s\nwant\n%s", tt.list, text, tt.want)
		}
		e.next()
		e.next()
	}
}

// TestAnswers shows how answers are framed.
func TestAnswers(t *testing.T) {
	head := func(list ...string) *l7.Header {
		h := new(l7.Header)
		for i := 0; i < len(list); i += 2 {
			h.Add(list[i], list[i+1])
		}
		return h
	}
	tests := []struct {
		name  string
		serve func(x *l7.Exchange)
		want  []string
	}{
		{"fields of the connection", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(201, head("Connection", "X-A", "Keep-Alive", "1", "Server", "s", "X-Long", "v", "Set-Cookie", "c=1"), 0)
			_ = x.Wire.Finish(nil)
		}, []string{"HEADERS 1 :status=201 server=s x-long=v set-cookie=c=1 content-length=0 END"}},
		{"interim", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(103, head("Link", "l"), 0)
			answer(x, 200, "x")
		}, []string{"HEADERS 1 :status=103 link=l", "HEADERS 1 :status=200 content-length=1", `DATA 1 "x" END`}},
		{"trailer", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(200, head(), -1)
			_, _ = io.WriteString(x.Wire, "abc")
			_ = x.Wire.Finish(head("Grpc-Status", "0"))
		}, []string{"HEADERS 1 :status=200", `DATA 1 "abc"`, "HEADERS 1 grpc-status=0 END"}},
		{"trailer alone", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(200, head(), -1)
			_ = x.Wire.Finish(head("Grpc-Status", "5"))
		}, []string{"HEADERS 1 :status=200", "HEADERS 1 grpc-status=5 END"}},
		{"flushed", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(200, head(), -1)
			_, _ = io.WriteString(x.Wire, "abc")
			_ = x.Wire.Flush()
			_ = x.Wire.Finish(nil)
		}, []string{"HEADERS 1 :status=200", `DATA 1 "abc"`, `DATA 1 "" END`}},
		{"without content", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(204, head(), -1)
			_ = x.Wire.Finish(nil)
		}, []string{"HEADERS 1 :status=204 END"}},
		{"broken off", func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(200, head(), 10)
			_, _ = io.WriteString(x.Wire, "abc")
			_ = x.Wire.Flush()
			x.Wire.Abort(l7.ReasonUpstreamClosed)
			x.Wire.Abort(l7.ReasonUpstreamClosed)
		}, []string{"HEADERS 1 :status=200 content-length=10", `DATA 1 "abc"`, "RST_STREAM 1 INTERNAL_ERROR"}},
		{"panic", func(*l7.Exchange) { panic("out of order") }, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, tt.serve, nil)
			e.headers(1, true, get("/")...)
			e.want(tt.want...)
			e.alive()
		})
	}
}

// TestLargeHead shows that a head that does not fit into a frame goes on in
// another one.
func TestLargeHead(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	e := start(t, func(x *l7.Exchange) {
		h := new(l7.Header)
		h.Add("X-Long", long)
		_ = x.Wire.WriteHead(200, h, 0)
		_ = x.Wire.Finish(nil)
	}, nil)
	e.headers(1, true, get("/")...)
	f, err := e.fr.ReadFrame()
	e.check(err)
	first := f.(*http2.HeadersFrame)
	block := append([]byte(nil), first.HeaderBlockFragment()...)
	if first.HeadersEnded() || !first.StreamEnded() {
		t.Fatalf("the first frame is %v", first)
	}
	f, err = e.fr.ReadFrame()
	e.check(err)
	second := f.(*http2.ContinuationFrame)
	list, err := e.dec.DecodeFull(append(block, second.HeaderBlockFragment()...))
	e.check(err)
	if len(list) != 3 || list[1].Value != long || !second.HeadersEnded() {
		t.Errorf("%d fields came", len(list))
	}
	e.alive()
}

func TestContinue(t *testing.T) {
	e := start(t, echo, nil)
	e.headers(1, false, request("POST", "/", "expect", "100-continue")...)
	e.want("HEADERS 1 :status=100")
	e.check(e.fr.WriteData(1, true, []byte("x")))
	e.want(ok(1, `POST / "x"`)...)
	e.headers(3, false, request("POST", "/", "expect", "miracles")...)
	e.want("HEADERS 3 :status=417 content-length=18", `DATA 3 "Expectation failed" END`, "RST_STREAM 3 NO_ERROR")
}

// TestUnreadContent shows that a client is told when its content is not wanted.
func TestUnreadContent(t *testing.T) {
	e := start(t, func(x *l7.Exchange) { answer(x, 403, "no") }, nil)
	e.headers(1, false, request("POST", "/")...)
	e.want("HEADERS 1 :status=403 content-length=2", `DATA 1 "no" END`, "RST_STREAM 1 NO_ERROR")
	e.check(e.fr.WriteData(1, false, make([]byte, 1000))) // on its way by then
	e.headers(1, true, "x-late", "1")
	e.headers(3, true, get("/")...)
	e.want("HEADERS 3 :status=403 content-length=2", `DATA 3 "no" END`)
	e.alive()
}

func TestDrain(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		e := start(t, echo, nil)
		e.conn.Drain()
		e.want("GOAWAY 2147483647 NO_ERROR", "GOAWAY 0 NO_ERROR", "closed")
	})
	t.Run("within streams", func(t *testing.T) {
		begun, drained := make(chan struct{}), make(chan struct{})
		e := start(t, func(x *l7.Exchange) {
			if x.Req.Path == "/slow" {
				close(begun)
				<-drained
			}
			echo(x)
		}, nil)
		e.headers(1, true, get("/slow")...)
		<-begun
		e.conn.Drain()
		e.want("GOAWAY 2147483647 NO_ERROR")
		e.headers(3, true, get("/late")...)
		e.want(ok(3, "GET /late")...)
		e.want("GOAWAY 3 NO_ERROR")
		e.headers(5, true, get("/too-late")...) // not taken
		e.alive()
		close(drained)
		e.want(ok(1, "GET /slow")...)
		e.want("closed")
	})
}

func TestRequestsPerConnection(t *testing.T) {
	e := start(t, echo, func(s *Settings) { s.Requests = 2 })
	e.headers(1, true, get("/1")...)
	e.want(ok(1, "GET /1")...)
	e.headers(3, true, get("/2")...)
	seen := map[string]bool{}
	for range 3 {
		seen[e.next()] = true
	}
	for _, line := range append(ok(3, "GET /2"), "GOAWAY 2147483647 NO_ERROR") {
		if !seen[line] {
			t.Errorf("%q is missing in %v", line, seen)
		}
	}
	e.want("GOAWAY 3 NO_ERROR", "closed")
}

func TestTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	t.Run("no preface", func(t *testing.T) {
		e := connect(t, echo, func(s *Settings) { s.HeaderTimeout = short })
		e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "GOAWAY 0 NO_ERROR", "closed")
	})
	t.Run("no settings", func(t *testing.T) {
		e := connect(t, echo, func(s *Settings) { s.HeaderTimeout = short })
		e.send(syntax.HTTP2Preface)
		e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "GOAWAY 0 NO_ERROR", "closed")
	})
	t.Run("within a head", func(t *testing.T) {
		t.Parallel()
		e := start(t, echo, func(s *Settings) { s.HeaderTimeout = 4 * time.Second })
		e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(get("/")...)}))
		e.want("GOAWAY 1 NO_ERROR", "closed")
		if n := e.metrics.Terminations.Load(int(l7.ReasonHeaderTimeout)); n != 1 {
			t.Errorf("%d terminations", n)
		}
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		e := start(t, echo, func(s *Settings) { s.IdleTimeout = 4 * time.Second })
		e.headers(1, true, get("/")...)
		e.want(ok(1, "GET /")...)
		e.want("GOAWAY 1 NO_ERROR", "closed")
	})
	t.Run("content", func(t *testing.T) {
		e := start(t, echo, func(s *Settings) { s.ReadTimeout = short })
		e.headers(1, false, request("POST", "/")...)
		e.want("HEADERS 1 :status=408 content-length=15", `DATA 1 "Request timeout" END`, "RST_STREAM 1 NO_ERROR")
		e.alive()
	})
	t.Run("an answer that is not taken", func(t *testing.T) {
		e := start(t, func(x *l7.Exchange) {
			_ = x.Wire.WriteHead(200, new(l7.Header), 1<<20)
			if _, err := x.Wire.Write(make([]byte, 1<<20)); err == nil {
				t.Error("the write went well")
			}
		}, func(s *Settings) { s.WriteTimeout = short }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		e.headers(1, true, get("/")...)
		e.want("HEADERS 1 :status=200 content-length=1048576", "RST_STREAM 1 CANCEL")
		if n := e.glitches(glitchStall); n != 1 {
			t.Errorf("%d stalls counted", n)
		}
		e.alive()
	})
}

// TestRests shows that a connection goes on after it has rested.
func TestRests(t *testing.T) {
	e := start(t, echo, nil)
	for id := uint32(1); id < 5; id += 2 {
		e.headers(id, true, get("/")...)
		e.want(ok(int(id), "GET /")...)
		for end := time.Now().Add(patience); e.metrics.Listener("web").Waiting.Load() == 0; {
			if time.Now().After(end) {
				t.Fatal("the connection does not rest")
			}
			time.Sleep(10 * time.Millisecond)
		}
		for e.users.Load() != 0 {
			time.Sleep(time.Millisecond)
		}
	}
}
