package forward

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// newDeafOrigin has as little room for what it is sent as there can be, and
// never reads.
func newDeafOrigin(t *testing.T) *origin {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &origin{at: ln.Addr().(*net.TCPAddr).AddrPort()}
}

// TestClientDepartsBetweenTries: for a client that left while a connection did
// not come about nothing further is tried. A quick failure does not look.
func TestClientDepartsBetweenTries(t *testing.T) {
	leave := func(x *l7.Exchange) { x.Wire.(*wire).departed.Store(true) }
	f := newFixture(t, nil, deaf(t), newOrigin(t, always(ok)))
	f.service.ConnectTimeout = silence + silence/10
	w, tries := f.exchange("GET", leave)
	if !w.aborted || states(tries) != "upstream_timeout" {
		t.Errorf("answered %v after %s", w, states(tries))
	}
	if n := f.metrics.Terminations.Load(int(l7.ReasonClientGone)); n != 1 {
		t.Errorf("%d terminations of reason client_gone", n)
	}
	f = newFixture(t, nil, refusing(t), newOrigin(t, always(ok)))
	f.want(f.do("GET", leave), `200 "ok"`)
}

// TestWriteTimeout: a request that the upstream does not take ends by the
// write_timeout, also where it is sent in one piece with its content, and not
// only after the read_timeout besides.
func TestWriteTimeout(t *testing.T) {
	for name, size := range map[string]int{"in one piece": gatherSize, "head first": gatherSize + 1} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil, newDeafOrigin(t))
			f.service.WriteTimeout, f.service.ReadTimeout, f.service.Tries = 50*time.Millisecond, time.Hour, 1
			conn, err := f.service.Balancer.Endpoints()[0].Pool(nil, "").Dial(patience)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Socket().SetWriteBuffer(1); err != nil {
				t.Fatal(err)
			}
			conn.Keep(sock.Now(), true) // the request takes it
			done := make(chan *wire, 1)
			go func() {
				done <- f.do("PUT", func(x *l7.Exchange) { x.SetBody(make([]byte, size)) })
			}()
			select {
			case w := <-done:
				f.want(w, problem(504, textTimeout))
			case <-time.After(patience):
				t.Fatalf("no answer within %v", patience)
			}
			if n := f.metrics.UpstreamConnects.Load(); n != 0 {
				t.Errorf("%d further connections", n)
			}
		})
	}
}
