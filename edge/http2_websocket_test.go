package edge_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// startEcho starts an upstream that answers a wish for WebSocket by status, and
// with 101 echoes what comes until the end of that.
func startEcho(t *testing.T, status string, heads chan<- string) (addr string) {
	t.Helper()
	return testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		var head strings.Builder
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
			head.WriteString(line)
		}
		heads <- head.String()
		if !strings.HasPrefix(status, "101") {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nno", status)
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n", status)
		_, _ = io.Copy(c, r)
	})
}

// chat is the header list that asks for WebSocket over HTTP/2.
var chat = []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/chat", "sec-websocket-version", "13"}

// TestHTTP2WebSocket lets bytes go both ways over a stream of HTTP/2 to an upstream
// that speaks HTTP/1.1, over reloads, with other streams beside it.
func TestHTTP2WebSocket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		listener string
		cfg      *tls.Config
	}{{"http", nil}, {"https", &tls.Config{ServerName: "a.test"}}} {
		t.Run(tt.listener, func(t *testing.T) {
			t.Parallel()
			heads := make(chan string, 1)
			text := http2Node + shop(startEcho(t, "101 Switching Protocols", heads))
			e := testkit.StartEdge(t, text)
			c := speak(t, e.At(tt.listener), tt.cfg)
			id := c.open(false, chat...)
			ev := c.next()
			if ev.id != id || ev.status != 200 || ev.end || ev.header["sec-websocket-accept"] != "" || ev.header["upgrade"] != "" {
				t.Fatalf("answered %+v", ev)
			}
			head := <-heads
			for _, want := range []string{"GET /chat HTTP/1.1\r\n", "Upgrade: websocket\r\n", "sec-websocket-key: ", "sec-websocket-version: 13\r\n"} {
				if !strings.Contains(head, want) {
					t.Errorf("the upstream has got no %q:\n%s", want, head)
				}
			}
			for i := range 5 {
				if err := e.Use(strings.Replace(text, "/]", fmt.Sprintf("/, /%d]", i), 1)); err != nil {
					t.Fatal(err)
				}
				c.echo(id, bytes.Repeat([]byte{byte('a' + i)}, 50_000))
			}
			other := c.open(true, ":method", "CONNECT", ":authority", "a.test:443")
			if status, _ := c.answer(other); status != 405 {
				t.Errorf("CONNECT is answered %d", status)
			}
			other = c.open(false, ":method", "CONNECT", ":protocol", "other", ":scheme", "https", ":authority", "a.test", ":path", "/")
			if status, _ := c.answer(other); status != 501 {
				t.Errorf("another protocol is answered %d", status)
			}
			c.echo(id, []byte("still there"))
			c.check(c.fr.WriteData(id, true, []byte("bye")))
			if status, content := c.answer(id); status != 0 || string(content) != "bye" {
				t.Errorf("in the end came %d %q", status, content)
			}
		})
	}
}

// echo sends content on a stream and waits for it to come back.
func (c *http2Client) echo(id uint32, content []byte) {
	c.t.Helper()
	var got []byte
	for sent := 0; len(got) < len(content); {
		if n := min(len(content)-sent, 16<<10, int(c.room[id]), int(c.room[0])); n > 0 {
			c.check(c.fr.WriteData(id, false, content[sent:sent+n]))
			c.room[id] -= int64(n)
			c.room[0] -= int64(n)
			sent += n
			continue
		}
		ev := c.next()
		if ev.reset || ev.end {
			c.t.Fatalf("it ended: %+v", ev)
		}
		if ev.id != id {
			continue
		}
		got = append(got, ev.data...)
		c.check(c.fr.WriteWindowUpdate(id, uint32(len(ev.data))))
	}
	if !bytes.Equal(got, content) {
		c.t.Fatal("something else came back")
	}
}

// TestHTTP2WebSocketEnds shows how a wish for WebSocket ends that comes to nothing,
// and how a tunnel does.
func TestHTTP2WebSocketEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, upstream string
		status         int
		content        string
	}{
		{"refused", "403 Forbidden", 403, "no"},
		{"a success that is no switch", "200 OK", 502, "An invalid response was received from the upstream server"},
		{"silence", "101 Switching Protocols", 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			heads := make(chan string, 1)
			e := testkit.StartEdge(t, http2Node+strings.Replace(shop(startEcho(t, tt.upstream, heads)), "connect_timeout", "read_timeout: 300\n    connect_timeout", 1))
			c := speak(t, e.At("http"), nil)
			id := c.open(false, chat...)
			if tt.status == 200 {
				if ev := c.next(); ev.status != 200 {
					t.Fatalf("answered %+v", ev)
				}
				if ev := c.next(); !ev.reset || ev.code != http2.ErrCodeCancel {
					t.Errorf("a tunnel that is silent gets %+v", ev)
				}
				return
			}
			status, content := c.answer(id)
			if status != tt.status || !strings.Contains(string(content), tt.content) {
				t.Errorf("answered %d %s", status, content)
			}
		})
	}
}
