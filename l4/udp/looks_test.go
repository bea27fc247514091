package udp

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFurtherLooks lets datagrams come while others are dealt with, and holds
// which of them one call of Ready takes.
func TestFurtherLooks(t *testing.T) {
	for _, test := range []struct {
		name        string
		trust       uint8
		meanwhile   int // datagrams that come, one with each that is taken
		taken       int
		trustBehind uint8
	}{
		{"a lone one", 0, 5, 1, 0},
		{"a look that finds nothing", 3, 0, 1, 2},
		{"one look that finds something", 1, 1, 2, 1},
		{"many", 1, 10, 11, mostTrust - 1},
		{"more than the others would wait for", mostTrust, 2 * batchSize, batchSize, mostTrust},
	} {
		t.Run(test.name, func(t *testing.T) {
			var taken atomic.Int64
			var p *Port
			client := listen(t, "127.0.0.1:0")
			left := test.meanwhile
			come := func() {
				send(t, client, []byte("x"))
				wait := []unix.PollFd{{Fd: int32(p.lanes[0].socket.fd), Events: unix.POLLIN}}
				if n, err := unix.Poll(wait, int(patience.Milliseconds())); n != 1 {
					t.Errorf("no datagram has come: %v", err)
				}
			}
			p = serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(func(*Datagram) Decision {
				taken.Add(1)
				if left--; left >= 0 {
					come()
				}
				return Decision{Verdict: Drop}
			})})
			client = dialTo(t, netip.MustParseAddrPort(p.Addr()))
			p.onLoops(func(l *lane) {
				l.trust = test.trust
				come()
				l.Ready(0)
				if n := int(taken.Load()); n != test.taken || l.trust != test.trustBehind {
					t.Errorf("%d datagrams were taken, and the trust is %d; want %d and %d", n, l.trust, test.taken, test.trustBehind)
				}
			})
			until(t, "what was left for later", func() bool { return taken.Load() == int64(test.meanwhile+1) })
		})
	}
}
