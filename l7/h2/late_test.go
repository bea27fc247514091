package h2

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// gated lets no write through while the gate is locked.
type gated struct {
	net.Conn
	gate sync.Mutex
	more int // bytes that the next write grows to
}

func (g *gated) Write(p []byte) (int, error) {
	g.gate.Lock()
	defer g.gate.Unlock()
	if g.more > 0 {
		p, g.more = make([]byte, g.more), 0
		_ = g.Conn.SetWriteDeadline(time.Time{}) // so that it is armed anew
	}
	return g.Conn.Write(p)
}

// startGated is start with a gate before the socket.
func startGated(t *testing.T, serve func(x *l7.Exchange), change func(s *Settings)) (*engine, *gated) {
	t.Helper()
	var g *gated
	e := connectOver(t, serve, change, func(c net.Conn) net.Conn {
		g = &gated{Conn: c}
		return g
	})
	e.send(http2.ClientPreface)
	e.check(e.fr.WriteSettings())
	e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "SETTINGS ACK")
	return e, g
}

// TestTrailersWait shows that trailers are not gathered beyond the bound while
// the connection takes nothing.
func TestTrailersWait(t *testing.T) {
	const streams, bytes = 50, 6 << 10
	finish := make(chan struct{})
	var c *conn
	var began, ended sync.WaitGroup
	began.Add(streams)
	ended.Add(streams)
	var first sync.Once
	e, g := startGated(t, func(x *l7.Exchange) {
		defer ended.Done()
		_ = x.Wire.WriteHead(200, new(l7.Header), -1)
		_ = x.Wire.Flush()
		first.Do(func() { c = x.Wire.(*stream).c })
		began.Done()
		<-finish
		var trailer l7.Header
		trailer.Add("x-sum", strings.Repeat("a", bytes))
		if err := x.Wire.Finish(&trailer); err != nil {
			t.Error(err)
		}
	}, nil)
	for i := range streams {
		e.headers(uint32(2*i+1), true, get("/")...)
	}
	for range streams {
		e.next()
	}
	began.Wait()
	g.gate.Lock()
	close(finish)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		finished, waiting, n := 0, len(c.waiting), c.n
		for _, st := range c.streams {
			if st.finished && st.ended {
				finished++
			}
		}
		over := finished+waiting == len(c.streams) && c.writing && waiting > 0
		c.mu.Unlock()
		if n > gatherBytes {
			t.Errorf("%d bytes are gathered", n)
			break
		}
		if over {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d streams have finished, %d wait", finished, waiting)
		}
	}
	g.gate.Unlock()
	for range streams {
		if line := e.next(); !strings.HasSuffix(line, "x-sum="+strings.Repeat("a", bytes)+" END") {
			t.Fatalf("got %.80q", line)
		}
	}
	ended.Wait()
}

// TestCloseBehindLateWriter shows that a connection is closed soon though one
// that was sending has armed its own deadline later.
func TestCloseBehindLateWriter(t *testing.T) {
	t.Parallel()
	got := make(chan *conn, 1)
	e, g := startGated(t, func(x *l7.Exchange) {
		got <- x.Wire.(*stream).c
		echo(x)
	}, func(s *Settings) { s.WriteTimeout = time.Hour })
	g.gate.Lock()
	g.more = 64 << 20 // more than the sockets hold
	e.headers(1, true, get("/")...)
	c := <-got
	wait := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			c.mu.Lock()
			ok := is()
			c.mu.Unlock()
			if ok {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not come", what)
			}
		}
	}
	wait("the answer", func() bool { return c.writing })
	e.check(e.fr.WriteData(99, true, nil)) // on no stream
	wait("the end", func() bool { return c.err != nil })
	time.Sleep(50 * time.Millisecond) // close has set its deadline, most likely
	g.gate.Unlock()
	select {
	case <-e.done:
	case <-time.After(patience):
		e.client.Close()
		t.Error("the connection is not closed")
	}
}
