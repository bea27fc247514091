package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// heldOrigin is an origin that tells when a request has come and answers when it
// is let.
type heldOrigin struct {
	addr    string
	arrived chan struct{}
	release chan struct{}
	gone    chan struct{} // a value for each connection that the edge has closed
}

func startHeldOrigin(t *testing.T) *heldOrigin {
	t.Helper()
	o := &heldOrigin{arrived: make(chan struct{}, 8), release: make(chan struct{}), gone: make(chan struct{}, 8)}
	o.addr = testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if readHead(r) != nil {
			return
		}
		o.arrived <- struct{}{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = r.ReadByte()
		}()
		select {
		case <-o.release:
			_, _ = io.WriteString(c, answer)
			<-ended
		case <-ended:
		}
		o.gone <- struct{}{}
	})
	return o
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waiting for %s: nothing within %v", what, patience)
	}
}

// isClosed waits for the end of a connection.
func isClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Errorf("the connection is not closed: read %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestDrain(t *testing.T) {
	origin := startHeldOrigin(t)
	e := testkit.StartEdge(t, shop(origin.addr))
	addr := e.At("http").String()
	fresh, busy := dial(t, addr), dial(t, addr)
	_, _ = io.WriteString(busy, request)
	wait(t, "the request", origin.arrived)

	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- e.Shutdown(ctx)
	}()
	isClosed(t, fresh)
	eventually(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-done:
		t.Fatal("the drain ended while an exchange was under way")
	default:
	}
	close(origin.release)
	resp, err := ask(busy, bufio.NewReader(busy), "")
	if err != nil {
		t.Fatalf("the exchange under way: %v", err)
	}
	if !resp.Close {
		t.Error("the last answer does not say Connection: close")
	}
	isClosed(t, busy)
	if err := <-done; err != nil {
		t.Errorf("shutting down: %v", err)
	}
}

// TestDrainKeptConnection lets a connection that has had a request end by
// itself, without losing a request that is on its way.
func TestDrainKeptConnection(t *testing.T) {
	e := testkit.StartEdge(t, shop(startOrigin(t)))
	c := dial(t, e.At("http").String())
	r := bufio.NewReader(c)
	if _, err := ask(c, r, request); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	isClosed(t, c)
	if ctx.Err() != nil {
		t.Error("an idle connection held the drain up for all of its time")
	}
}

func TestDrainSecondPhase(t *testing.T) {
	origin := startHeldOrigin(t)
	e := testkit.StartEdge(t, shop(origin.addr))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, request)
	wait(t, "the request", origin.arrived)
	shutdown(t, e)
	isClosed(t, c)
	wait(t, "the upstream connection to close", origin.gone)
}

// TestClientGone holds the edge to its word: while the upstream is silent, a
// departed client is noticed within some seconds.
func TestClientGone(t *testing.T) {
	t.Parallel()
	origin := startHeldOrigin(t)
	e := testkit.StartEdge(t, shop(origin.addr))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, request)
	wait(t, "the request", origin.arrived)
	c.Close()
	wait(t, "the upstream connection to close", origin.gone) // which read_timeout would let live for longer
	e.Stop()
	lines := e.AccessLog()
	if len(lines) != 1 || !strings.Contains(lines[0], `"status":499`) || !strings.Contains(lines[0], `"reason":"client_gone"`) {
		t.Errorf("the access log is %q, want one entry with 499 and client_gone", lines)
	}
}

func TestConnectionLimits(t *testing.T) {
	tests := []struct{ name, node string }{
		{"node", "node:\n  limits: {connections: 2}\n"},
		{"node, per address", "node:\n  limits: {connections_per_address: 2}\n"},
		{"listener", "node:\n  listeners: [{name: http, address: \"127.0.0.1:0\", limits: {connections: 2}}]\n"},
		{"listener, per address", "node:\n  listeners: [{name: http, address: \"127.0.0.1:0\", limits: {connections_per_address: 2}}]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, tt.node+shop(startOrigin(t)))
			addr := e.At("http").String()
			serves := func(c net.Conn) bool {
				_, err := ask(c, bufio.NewReader(c), request)
				return err == nil
			}
			first, second := dial(t, addr), dial(t, addr)
			if !serves(first) || !serves(second) {
				t.Fatal("a connection within the limit is not served")
			}
			isClosed(t, dial(t, addr))
			if !serves(first) {
				t.Error("a connection within the limit is not served any more")
			}
			first.Close()
			eventually(t, "room for a new connection", func() bool { return serves(dial(t, addr)) })
			third := dial(t, addr)
			isClosed(t, third)
		})
	}
}

// TestPlainOnTLS holds the answer to a client that speaks HTTP where TLS is
// wanted: an HTTP answer, whole.
func TestPlainOnTLS(t *testing.T) {
	e := testkit.StartEdge(t, shop(startOrigin(t)))
	c := dial(t, e.At("https").String())
	_, _ = io.WriteString(c, request)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"message":"The plain HTTP request was sent to HTTPS port"}`; resp.StatusCode != 400 || strings.TrimSpace(string(body)) != want {
		t.Errorf("got %d %q, want 400 %q", resp.StatusCode, body, want)
	}
	isClosed(t, c)
}
