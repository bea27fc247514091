package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// uploads is how often a test of a race between an upload and its answer tries.
const uploads = 300

// startReadingOrigin starts an origin that reads chunked requests and answers
// each at the very byte that ends it. It counts its connections.
func startReadingOrigin(t *testing.T) (addr string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	addr = testkit.StartTCP(t, func(c net.Conn) {
		connections.Add(1)
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	return addr, connections
}

// TestBrokenUploadIsTheClientsFault: however the client's broken content and
// the wait for an answer meet, the client is told 400, not 502 or 504.
func TestBrokenUploadIsTheClientsFault(t *testing.T) {
	origin, _ := startReadingOrigin(t)
	e := testkit.StartEdge(t, shop(origin))
	for i := range uploads {
		c := dial(t, e.At("http").String())
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nbroken\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
		if resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("upload %d: status %d, want 400", i, resp.StatusCode)
		}
		c.Close()
	}
}

// TestUploadKeepsUpstreamConnection: an answer that overtakes the end of our own
// bookkeeping does not cost the upstream connection.
func TestUploadKeepsUpstreamConnection(t *testing.T) {
	origin, connections := startReadingOrigin(t)
	e := testkit.StartEdge(t, shop(origin))
	c := dial(t, e.At("http").String())
	r := bufio.NewReader(c)
	for i := range uploads {
		if _, err := ask(c, r, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	// A machine that stops a goroutine for long may cost one now and then.
	if n := connections.Load(); n > uploads/50 {
		t.Errorf("%d upstream connections for %d uploads", n, uploads)
	}
}

// TestWriteStall: a client that does not read its answer is let go after
// write_timeout, and the upstream with it.
func TestWriteStall(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1073741824", "Connection: close"} {
		t.Run(framing, func(t *testing.T) {
			gone := make(chan struct{})
			origin := testkit.StartTCP(t, func(c net.Conn) {
				defer close(gone)
				if readHead(bufio.NewReader(c)) != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n\r\n")
				block := make([]byte, 256<<10)
				for {
					if _, err := c.Write(block); err != nil {
						return
					}
				}
			})
			e := testkit.StartEdge(t, "node: {limits: {write_timeout: 300ms}}\n"+shop(origin))
			c := dial(t, e.At("http").String())
			_, _ = io.WriteString(c, request)
			wait(t, "the upstream connection to close", gone)
			e.Stop()
			if lines := e.AccessLog(); len(lines) != 1 || !strings.Contains(lines[0], `"reason":"write_stall"`) {
				t.Errorf("the access log is %q, want one entry with write_stall", lines)
			}
		})
	}
}
