package stream_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/upstream"
)

// TestBeginWhileClosing lets streams of all ways begin while the server is
// closed: when that has returned, and nobody begins any, all have ended and let go
// of everything.
func TestBeginWhileClosing(t *testing.T) {
	for range 30 {
		b := newBench(t)
		b.set.SetResolver(resolver{answer: make(chan netip.Addr)}) // which never comes
		waits := b.route(nil, "silent.test:80")
		dials := b.route(nil, echo(t))
		secure := b.route(nil, "silent.test:80")
		secure.Service.Identity = upstream.NewIdentity(upstream.IdentityConfig{Stream: true})
		routes := []*l4.Route{waits, dials, secure}
		for _, r := range routes {
			r.Plan = new(l4.Plan) // without a log
		}
		const each = 8
		var conns []*l4.Conn
		var closed atomic.Int32
		for range each * len(routes) {
			_, c := b.conn()
			fd, err := c.Detach()
			if err != nil {
				t.Fatal(err)
			}
			raw := l4.NewRawConn(fd, c.Info)
			raw.OnClose(func(*l4.Conn) { closed.Add(1) })
			conns = append(conns, raw)
		}
		var begins sync.WaitGroup
		for i, c := range conns {
			begins.Go(func() { b.server.ServeConn(c, b.pipeline, routes[i%len(routes)], config.TCP) })
		}
		b.server.Close()
		begins.Wait()
		if n, released := closed.Load(), b.released.Load(); n != int32(len(conns)) || released != n {
			t.Fatalf("of %d streams %d have closed their clients and %d let go of the snapshot", len(conns), n, released)
		}
	}
}
