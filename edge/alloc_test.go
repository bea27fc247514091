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

// countAllocations returns how many allocations each plain keep-alive exchange
// without content makes in the whole process. The client and the origin make
// none.
func countAllocations(t *testing.T, config string) float64 {
	t.Helper()
	const exchanges = 4000
	e := testkit.StartEdge(t, config)
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
	return per
}

// TestAllocations shows that nothing is allocated for the sake of balancing
// either, where endpoints are counted, judged and measured.
func TestAllocations(t *testing.T) {
	one, two := startQuietOrigin(t), startQuietOrigin(t)
	pool := func(settings string) string {
		return shop("pool.internal") + "upstreams: [{name: pool.internal, targets: [{target: '" + one + "'}, {target: '" + two + "'}], " + settings + "}]\n"
	}
	const checks = "healthchecks: {passive: {unhealthy: {tcp_failures: 1, timeouts: 1, http_failures: 1}}}"
	const bounds = ", resilience: {retry_budget: {percent: 20}, breaker: {connections: 9, pending: 9}, slow_start: 1s}"
	const hedge = ", resilience: {hedge: {delay: 1h}}"
	tests := []struct {
		name, node, config string
		more               float64 // than mostAllocs
	}{
		{"one target", "", shop(one), 0},
		{"round-robin", "", pool(checks), 0},
		{"least-connections", "", pool("algorithm: least-connections, " + checks), 0},
		{"latency", "", pool("algorithm: latency, " + checks), 0},
		{"bounded", bounds, pool(checks), 0},
		{"hedged, with one target", hedge, shop(one), 0},
		{"hedged, with an answer in time", hedge, pool(checks), 2}, // the race and its runner
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			per := countAllocations(t, "node: {log: {access: off}"+tt.node+"}\n"+tt.config)
			if per > mostAllocs+tt.more {
				t.Errorf("%.3f allocations for each exchange, want at most %v", per, mostAllocs+tt.more)
			}
		})
	}
}
