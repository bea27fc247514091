package forward

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/upstream"
)

// sink is a wire that takes everything and keeps nothing.
type sink struct{ wire }

func (*sink) WriteHead(int, *l7.Header, int64) error { return nil }
func (*sink) Write(p []byte) (int, error)            { return len(p), nil }
func (*sink) Finish(*l7.Header) error                { return nil }

// BenchmarkForward measures an exchange without content from the pipeline's
// start to its end, the socket's round trip to an origin that allocates nothing
// included.
func BenchmarkForward(b *testing.B) {
	for _, bb := range []struct {
		name   string
		change func(s *upstream.Spec)
	}{
		{"plain", func(*upstream.Spec) {}},
		{"bounded", func(s *upstream.Spec) {
			strict(s)
			s.Resilience.Connections = 100
			s.Resilience.Retry = upstream.RetryBudget{Percent: 20}
		}},
		{"hedged", func(s *upstream.Spec) {
			hedging(s)
			s.Resilience.Hedge.Delay = time.Hour
		}},
	} {
		b.Run(bb.name, func(b *testing.B) { benchForward(b, bb.change) })
	}
}

func benchForward(b *testing.B, change func(s *upstream.Spec)) {
	out := []byte(ok)
	quiet := func(_ int, c *client) {
		p := make([]byte, 4<<10)
		for {
			n, err := c.Read(p)
			if err != nil || !bytes.HasSuffix(p[:n], []byte("\r\n\r\n")) {
				return
			}
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
	f := newFixture(b, nil, newOrigin(b, quiet), newOrigin(b, quiet))
	f.balance(change)
	info := l4.NewInfo("web", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:8000"))
	w, id := new(sink), l7.NewID()
	b.ReportAllocs()
	for b.Loop() {
		x := l7.NewExchange()
		x.Conn, x.Wire, x.ID = &info, w, id
		x.Req.Method, x.Req.Target, x.Req.Path, x.Req.Authority, x.Req.Proto, x.Req.HeadSize = "GET", "/x", "/x", "a.test", l7.HTTP11, 64
		x.Req.Header.Add("Host", "a.test")
		f.p.Serve(x)
		if x.Err() != nil || x.Resp.Status != 200 {
			b.Fatalf("answered %d, %v", x.Resp.Status, x.Err())
		}
		x.Release()
	}
}
