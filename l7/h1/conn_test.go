package h1

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
)

func TestKeepAlive(t *testing.T) {
	e := start(t, echo, nil)
	for range 3 {
		e.send(get("/a"))
		e.want("200 GET /a")
		e.send(post("/b", "content"))
		e.want(`200 POST /b "content"`)
	}
}

func TestPipelining(t *testing.T) {
	e := start(t, echo, nil)
	e.send(get("/1") + post("/2", "two") + get("/3") + "POST /4 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n" + get("/5"))
	for _, want := range []string{"200 GET /1", `200 POST /2 "two"`, "200 GET /3", `200 POST /4 "four"`, "200 GET /5"} {
		e.want(want)
	}
}

func TestByteByByte(t *testing.T) {
	e := start(t, echo, nil)
	_ = e.client.SetNoDelay(true)
	for _, c := range get("/slow") + post("/slow", "xyz") {
		e.send(string(c))
	}
	e.want("200 GET /slow")
	e.want(`200 POST /slow "xyz"`)
}

// TestHeadOverBlocks shows that a head may be larger than the block it is first
// read into.
func TestHeadOverBlocks(t *testing.T) {
	e := start(t, echo, nil)
	long := "X-Long: " + strings.Repeat("x", 12<<10)
	e.send(get("/long", long))
	e.want("200 GET /long")
	// Two at once: what lies behind a head moves with it.
	e.send(get("/1", long) + get("/2", long))
	e.want("200 GET /1")
	e.want("200 GET /2")
}

func TestRequestsPerConnection(t *testing.T) {
	e := start(t, echo, func(s *Settings) { s.Requests = 2 })
	e.send(get("/1"))
	if head := e.head(); !strings.Contains(head, "Connection: keep-alive") {
		t.Errorf("the first of two says %q", head)
	}
	e.read = nil
	e.send(get("/2"))
	if head := e.head(); !strings.Contains(head, "Connection: close") {
		t.Errorf("the last one says %q", head)
	}
	e.read = nil
	e.end()
}

func TestClientWantsClose(t *testing.T) {
	e := start(t, echo, nil)
	e.send(get("/1", "Connection: close") + get("/2"))
	e.want("200 GET /1")
	e.end()
}

func TestHTTP10(t *testing.T) {
	e := start(t, func(x *l7.Exchange) {
		_ = x.Wire.WriteHead(200, new(l7.Header), -1)
		_, _ = io.WriteString(x.Wire, "until close")
		_ = x.Wire.Finish(nil)
	}, nil)
	e.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if head := e.head(); strings.Contains(head, "chunked") || !strings.Contains(head, "Connection: close") {
		t.Errorf("head %q", head)
	}
	if err := e.more(); string(e.read) != "until close" {
		t.Errorf("content %q, %v", e.read, err)
	}
	e.read = nil
	e.end()
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ name, send, want string }{
		{"bad syntax", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad request"},
		{"behind a good one", get("/ok") + "nonsense\r\n\r\n", "200 GET /ok"},
		{"cut within a head", "GET / HT", "400 Bad request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, echo, nil)
			e.send(tt.send)
			_ = e.client.CloseWrite()
			e.want(tt.want)
			if tt.want[0] == '2' {
				e.want("400 Bad request")
			}
			e.end()
			if err := e.rejected.Load(); err == nil || err.Side != l7.SideClient {
				t.Errorf("rejected with %v", err)
			}
		})
	}
}

// TestRefusalReachesClient shows that an answer is not lost in a reset when the
// client is still sending.
func TestRefusalReachesClient(t *testing.T) {
	e := start(t, echo, nil)
	e.send("nonsense\r\n\r\n" + strings.Repeat("x", 256<<10))
	e.want("400 Bad request")
	_ = e.client.CloseWrite()
	e.end()
}

func TestHeaderTimeout(t *testing.T) {
	t.Run("within a head", func(t *testing.T) {
		e := start(t, echo, func(s *Settings) { s.HeaderTimeout = 50 * time.Millisecond })
		e.send("GET / HTTP/1.1\r\n")
		e.want("408 Request timeout")
		e.end()
	})
	t.Run("nothing sent", func(t *testing.T) {
		e := start(t, echo, func(s *Settings) { s.HeaderTimeout = 50 * time.Millisecond })
		e.end() // a connection that said nothing is told nothing
	})
}

func TestIdleTimeout(t *testing.T) {
	e := start(t, echo, func(s *Settings) { s.IdleTimeout = 50 * time.Millisecond })
	e.send(get("/"))
	e.want("200 GET /")
	e.end()
	if e.rejected.Load() != nil {
		t.Error("an idle connection's end counts as a bad request")
	}
}

func TestDrain(t *testing.T) {
	t.Run("before a request", func(t *testing.T) {
		e := start(t, echo, nil)
		e.conn.Drain()
		e.end()
	})
	t.Run("a request on its way", func(t *testing.T) {
		e := start(t, echo, nil)
		e.conn.Drain()
		e.send(get("/late"))
		head := e.head()
		if !strings.Contains(head, "Connection: close") {
			t.Errorf("head %q", head)
		}
		e.read = nil
		e.end()
	})
	t.Run("within an exchange", func(t *testing.T) {
		begun, drained := make(chan struct{}), make(chan struct{})
		e := start(t, func(x *l7.Exchange) {
			close(begun)
			<-drained
			echo(x)
		}, nil)
		e.send(post("/work", "content"))
		<-begun
		e.conn.Drain()
		close(drained)
		if head := e.head(); !strings.Contains(head, "200 OK") || !strings.Contains(head, "Connection: close") {
			t.Errorf("head %q", head)
		}
		e.read = nil
		e.end()
	})
	t.Run("between two requests", func(t *testing.T) {
		e := start(t, echo, nil)
		e.send(get("/"))
		e.want("200 GET /")
		e.conn.Drain()
		e.end()
	})
}

func TestPanicInHandler(t *testing.T) {
	e := start(t, func(*l7.Exchange) { panic("out of order") }, nil)
	e.send(get("/"))
	e.end()
	<-e.done
	if n := e.metrics.Panics.Load(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
	if s := e.log.text.String(); !strings.Contains(s, "recovering from a panic in a connection") {
		t.Errorf("the log says %q", s)
	}
}

func TestAbort(t *testing.T) {
	e := start(t, func(x *l7.Exchange) {
		_ = x.Wire.WriteHead(200, new(l7.Header), 100)
		_, _ = io.WriteString(x.Wire, "half")
		_ = x.Wire.Flush()
		x.Wire.Abort(l7.ReasonUpstreamClosed)
		x.Wire.Abort(l7.ReasonUpstreamClosed)
	}, nil)
	e.send(get("/"))
	for {
		if err := e.more(); err == io.EOF {
			t.Fatal("an answer that was broken off ends as a complete one may")
		} else if err != nil {
			break
		}
	}
}

func TestDepartedClient(t *testing.T) {
	seen := make(chan bool, 1)
	e := start(t, func(x *l7.Exchange) {
		for end := time.Now().Add(patience); !x.Wire.Departed() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		seen <- x.Wire.Departed()
		x.Wire.Abort(l7.ReasonClientGone)
	}, nil)
	e.send(get("/"))
	e.client.Close()
	if !<-seen {
		t.Error("a client that left is not noticed")
	}
}

// TestHTTP2Preface shows that a connection that begins with HTTP/2's preface goes
// to the other engine, in whatever pieces it comes, and no other does.
func TestHTTP2Preface(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, pieces := range [][]string{
		{preface + "more"},
		{"P", "RI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "more"},
		{preface[:18], preface[18:], "more"},
		strings.Split(preface+"more", ""),
	} {
		var got strings.Builder
		e := start(t, echo, nil)
		e.server.HTTP2 = func(c *l4.Conn, input []byte) {
			got.Write(input)
			_, _ = io.CopyN(&got, c, int64(len(preface)+4-len(input)))
			_ = c.Close()
		}
		_ = e.client.SetNoDelay(true)
		for _, p := range pieces {
			e.send(p)
		}
		<-e.done
		if got.String() != preface+"more" {
			t.Errorf("of %d pieces %q was handed over", len(pieces), got.String())
		}
	}
	e := start(t, echo, nil)
	e.server.HTTP2 = func(c *l4.Conn, _ []byte) { t.Error("it was handed over"); _ = c.Close() }
	e.send("PRIVATE / HTTP/1.1\r\nHost: a.test\r\n\r\n" + get("/"))
	e.want("200 PRIVATE /")
	e.want("200 GET /")
	e.send(preface)
	if head := e.head(); !strings.HasPrefix(head, "HTTP/1.1 400") && !strings.HasPrefix(head, "HTTP/1.1 505") {
		t.Errorf("behind a request the preface is answered %q", head)
	}
}
