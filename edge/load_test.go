package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// patience bounds every wait of the tests in this folder.
const patience = 30 * time.Second

const (
	request = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
	answer  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// startOrigin starts an origin that answers every request without content by
// 200 and "ok".
func startOrigin(t testing.TB) (addr string) {
	t.Helper()
	return testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if readHead(r) != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

// readHead reads up to and with the next empty line.
func readHead(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			return nil
		}
	}
}

// dial connects to an address and bounds all that is done on the connection.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// ask sends a request and reads its answer.
func ask(c net.Conn, r *bufio.Reader, head string) (*http.Response, error) {
	if _, err := io.WriteString(c, head); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the content: %w", err)
	}
	if resp.StatusCode != 200 || string(body) != "ok" {
		return resp, fmt.Errorf("got status %d and %q", resp.StatusCode, body)
	}
	return resp, nil
}

// load is clients that ask until they are stopped.
type load struct {
	done   atomic.Int64  // answers that were right
	lost   atomic.Int64  // requests that had none
	failed chan error    // the first of what went wrong
	every  time.Duration // how often a client asks; 0: without a pause
	stop   atomic.Bool
	work   sync.WaitGroup
}

// keptFor is how many requests a client sends on a kept-alive connection: fewer
// than node.limits.requests_per_connection, after which the edge would say
// close.
const keptFor = 5000

// startLoad starts clients that keep their connection, and clients that open
// one for each request.
func startLoad(addr string, keeping, single int) *load {
	l := &load{failed: make(chan error, 1)}
	l.start(addr, keeping, keptFor, request)
	l.start(addr, single, 1, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
	return l
}

// start starts clients that send the heads in turn.
func (l *load) start(addr string, clients, perConn int, heads ...string) {
	for range clients {
		l.work.Go(func() { l.client(addr, perConn, heads) })
	}
}

// client asks, on a new connection after the given number of requests.
func (l *load) client(addr string, perConn int, heads []string) {
	pace := time.NewTicker(max(l.every, 1))
	defer pace.Stop()
	for at := 0; !l.stop.Load(); at += perConn {
		if err := l.connection(addr, perConn, heads, at, pace.C); err != nil {
			l.lost.Add(1)
			select {
			case l.failed <- err:
			default:
			}
		}
	}
}

func (l *load) connection(addr string, n int, heads []string, at int, pace <-chan time.Time) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i := range n {
		if l.every > 0 {
			<-pace
		}
		if l.stop.Load() {
			return nil
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		resp, err := ask(c, r, heads[(at+i)%len(heads)])
		if err != nil {
			return err
		}
		l.done.Add(1)
		if resp.Close {
			return nil
		}
	}
	return nil
}

// more waits until the load has had n further answers.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	until := l.done.Load() + n
	eventually(t, "the load to go on", func() bool { return l.done.Load() >= until })
}

// end stops the clients and fails the test if a single request was lost.
func (l *load) end(t testing.TB) {
	t.Helper()
	l.stop.Store(true)
	l.work.Wait()
	if n := l.lost.Load(); n > 0 {
		t.Errorf("%d requests of %d were lost; the first: %v", n, n+l.done.Load(), <-l.failed)
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

// within waits until ok, with a patience of its own.
func within(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: nothing within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}
