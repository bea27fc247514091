package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// TestUpgradeWithContent: a stream is not handed over while content is still
// read from it, whatever the upstream says.
func TestUpgradeWithContent(t *testing.T) {
	origin := testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if readHead(r) != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	e := testkit.StartEdge(t, shop(origin))
	for _, framing := range []string{"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "Content-Length: 100\r\n\r\nx"} {
		c := dial(t, e.At("http").String())
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+framing)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", framing, err)
		}
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%q: status %d, want 502", framing, resp.StatusCode)
		}
	}
}

// TestLargeAnswerHeads: heads that outgrow their blocks, on both sides, leave
// nothing behind that later exchanges could take for a block of another size.
func TestLargeAnswerHeads(t *testing.T) {
	const valueBytes = 500
	origin := testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil || readHead(r) != nil {
				return
			}
			var fields int
			_, _ = fmt.Sscanf(line, "GET /%d ", &fields)
			field := "X-Some: " + strings.Repeat("v", valueBytes) + "\r\n"
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+strings.Repeat(field, fields)+"\r\nok"); err != nil {
				return
			}
		}
	})
	e := testkit.StartEdge(t, shop(origin))
	addr := e.At("http").String()
	var clients sync.WaitGroup
	for range 4 {
		c := dial(t, addr)
		clients.Go(func() {
			r := bufio.NewReader(c)
			for i, fields := range []int{34, 80, 34, 80, 80, 120, 120, 34, 80, 100, 34, 80, 100, 34, 80, 100} {
				resp, err := ask(c, r, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: shop.test\r\n\r\n", fields))
				if err != nil {
					t.Errorf("answer %d, of %d fields: %v", i, fields, err)
					return
				}
				if got := len(resp.Header["X-Some"]); got != fields {
					t.Errorf("answer %d has %d fields, want %d", i, got, fields)
				}
			}
		})
	}
	clients.Wait()
	if strings.Contains(e.Log.String(), "panic") {
		t.Errorf("a panic was recovered: %s", e.Log.String())
	}
}

// unasked is an answer that nobody has asked for.
const unasked = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

// delivered waits until the peer's kernel has all that was written to c.
func delivered(t *testing.T, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		left := 0
		if raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil || left == 0 {
			return
		}
		time.Sleep(10 * time.Microsecond)
	}
	t.Error("bytes were not delivered in time")
}

// TestUnaskedAnswer: content that a server wrongly sends after an answer that
// has none is never another client's answer, however soon that one asks.
func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, request, answer string }{
		{"HEAD", "HEAD /unasked HTTP/1.1\r\nHost: shop.test\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"},
		{"204", "GET /unasked HTTP/1.1\r\nHost: shop.test\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304", "GET /unasked HTTP/1.1\r\nHost: shop.test\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answered, spoken := make(chan struct{}), make(chan struct{})
			origin := testkit.StartTCP(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil || readHead(r) != nil {
						return
					}
					if !strings.Contains(line, "/unasked") {
						_, _ = io.WriteString(c, answer)
						continue
					}
					_, _ = io.WriteString(c, tt.answer)
					select {
					case <-answered:
					case <-t.Context().Done():
						return
					}
					_, _ = io.WriteString(c, unasked)
					delivered(t, c)
					spoken <- struct{}{}
				}
			})
			e := testkit.StartEdge(t, shop(origin))
			one, two := dial(t, e.At("http").String()), dial(t, e.At("http").String())
			first, second := bufio.NewReader(one), bufio.NewReader(two)
			for i := range 50 {
				_, _ = io.WriteString(one, tt.request)
				if err := readHead(first); err != nil {
					t.Fatal(err)
				}
				answered <- struct{}{}
				wait(t, "the origin to speak", spoken)
				if _, err := ask(two, second, request); err != nil {
					t.Fatalf("round %d: the other client's answer: %v", i, err)
				}
			}
		})
	}
}

// TestUnaskedAnswerOverTLS: the same for what a server says unasked through
// TLS, where no look at the socket tells it from session tickets.
func TestUnaskedAnswerOverTLS(t *testing.T) {
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*cert}}
	answered, spoken := make(chan struct{}), make(chan struct{})
	origin := testkit.StartTCP(t, func(raw net.Conn) {
		c := tls.Server(raw, cfg)
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil || readHead(r) != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			if !strings.Contains(line, "/unasked") {
				continue
			}
			select {
			case <-answered:
			case <-t.Context().Done():
				return
			}
			_, _ = io.WriteString(c, unasked)
			delivered(t, raw)
			spoken <- struct{}{}
		}
	})
	e := testkit.StartEdge(t, strings.Replace(shop(origin), "http://", "https://", 1))
	for _, second := range []string{
		request,
		"POST / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n",
	} {
		one, two := dial(t, e.At("http").String()), dial(t, e.At("http").String())
		if _, err := ask(one, bufio.NewReader(one), "GET /unasked HTTP/1.1\r\nHost: shop.test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answered <- struct{}{}
		wait(t, "the origin to speak", spoken)
		if _, err := ask(two, bufio.NewReader(two), second); err != nil {
			t.Errorf("%.4s: the other client's answer: %v", second, err)
		}
	}
}

// TestSlowUpload: a service's read_timeout bounds the wait for an answer, not
// the client's time to send what is to be answered.
func TestSlowUpload(t *testing.T) {
	origin, _ := startReadingOrigin(t)
	e := testkit.StartEdge(t, strings.Replace(shop(origin), "connect_timeout: 2000", "read_timeout: 1000", 1))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	time.Sleep(2 * time.Second) // twice read_timeout
	if _, err := ask(c, bufio.NewReader(c), "0\r\n\r\n"); err != nil {
		t.Error(err)
	}
}

// shutdown ends an edge with next to no time to drain.
func shutdown(t *testing.T, e *testkit.Edge) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
	}()
	wait(t, "the edge to shut down", done)
}

// TestDrainEndsStreaming: an answer without an end does not outlive a drain.
func TestDrainEndsStreaming(t *testing.T) {
	for name, head := range map[string]string{
		"within a turn": request,
		"outside":       "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			origin := testkit.StartTCP(t, func(c net.Conn) {
				if readHead(bufio.NewReader(c)) != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for tick := time.NewTicker(5 * time.Millisecond); ; {
					if _, err := io.WriteString(c, "2\r\nhi\r\n"); err != nil {
						tick.Stop()
						return
					}
					<-tick.C
				}
			})
			e := testkit.StartEdge(t, shop(origin))
			c := dial(t, e.At("http").String())
			_, _ = io.WriteString(c, head)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, resp.Body)
				ended <- err
			}()
			shutdown(t, e)
			if err := <-ended; err == nil || isTimeout(err) {
				t.Errorf("the answer that was cut off ended with %v, want the connection's end", err)
			}
		})
	}
}

// TestDrainEndsDialing: nor does a connection attempt that nobody answers.
func TestDrainEndsDialing(t *testing.T) {
	addr := startFullListener(t)
	e := testkit.StartEdge(t, strings.Replace(shop(addr), "connect_timeout: 2000", "connect_timeout: 30000\n    retries: 0", 1))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, request)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	_, _ = fmt.Sscan(port, &n)
	attempt := fmt.Sprintf(":%04X 02 ", n) // a peer's port, and SYN_SENT
	eventually(t, "the edge to dial", func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		return err == nil && strings.Contains(string(table), attempt)
	})
	shutdown(t, e)
	// The attempt's end may still be answered before the connection is closed.
	if answer, err := io.ReadAll(c); isTimeout(err) || len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 50") {
		t.Errorf("the connection is not closed: read %q, %v", answer, err)
	}
}

// TestStalledReply: an answer of our own that the client does not take is the
// last one of its connection.
func TestStalledReply(t *testing.T) {
	e := testkit.StartEdge(t, "node: {error_default_type: application/json, limits: {write_timeout: 200ms, requests_per_connection: 1000000}}\n")
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10) })
	}}
	c, err := d.Dial("tcp", e.At("http").String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	for block := strings.Repeat(request, 1000); err == nil; {
		_, err = io.WriteString(c, block)
	}
	if isTimeout(err) {
		t.Fatal("a client that does not read was not let go")
	}
	all, _ := io.ReadAll(c)
	const begin = "HTTP/1.1 "
	answers := bytes.Split(all, []byte(begin))
	for i, a := range answers[1:max(len(answers)-1, 1)] { // the last one may be cut
		if !bytes.HasPrefix(a, []byte("404 ")) || !bytes.HasSuffix(a, []byte(`"}`)) {
			t.Fatalf("answer %d of %d is cut, and another follows it: %q", i, len(answers)-1, a)
		}
	}
	e.Stop()
	stalls := 0
	for _, line := range e.AccessLog() {
		if strings.Contains(line, `"reason":"write_stall"`) {
			stalls++
		}
	}
	if stalls != 1 {
		t.Errorf("%d entries of the access log tell of a stall, want 1", stalls)
	}
}

// TestSettle: content that was announced, is not needed and does not come holds
// a connection up for a moment, not for read_timeout.
func TestSettle(t *testing.T) {
	e := testkit.StartEdge(t, "node: {limits: {read_timeout: 60s}}\n")
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\nabc")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %d, %v, want a whole 404", resp.StatusCode, err)
	}
	if resp.Close {
		t.Error("the answer says Connection: close, so that nothing has to be settled")
	}
	isClosed(t, c)
}
