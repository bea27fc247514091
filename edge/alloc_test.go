package edge_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// startQuietOrigin starts an origin that allocates nothing while it serves
// requests that come in one piece.
func startQuietOrigin(t testing.TB) (addr string) {
	t.Helper()
	out := []byte(answer)
	return testkit.StartTCP(t, func(c net.Conn) {
		b := make([]byte, 4<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}
	})
}

// TestAllocations counts everything that the process allocates while plain
// keep-alive exchanges without content go through the edge. The client and the
// origin allocate nothing.
func TestAllocations(t *testing.T) {
	const exchanges = 4000
	e := testkit.StartEdge(t, "node: {log: {access: off}}\n"+shop(startQuietOrigin(t)))
	c := dial(t, e.At("http").String())
	out, b := []byte(request), make([]byte, 4<<10)
	serve := func(n int) {
		for range n {
			if _, err := c.Write(out); err != nil {
				t.Fatal(err)
			}
			got := 0
			for !bytes.HasSuffix(b[:got], []byte("\r\n\r\nok")) {
				n, err := c.Read(b[got:])
				if err != nil && err != io.EOF || n == 0 {
					t.Fatalf("reading the answer: %v after %q", err, b[:got])
				}
				got += n
			}
		}
	}
	serve(200) // pools, the connection to the origin, the first ids
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	serve(exchanges)
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / exchanges
	t.Logf("%.3f allocations and %d bytes for each exchange", per, (after.TotalAlloc-before.TotalAlloc)/exchanges)
	if per > mostAllocs {
		t.Errorf("%.3f allocations for each exchange, want at most %v", per, mostAllocs)
	}
}
