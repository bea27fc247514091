package udp

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// TestDialMeetsItself gives a flow's sockets the very address that they connect
// to, as the kernel does now and then where nobody listens.
func TestDialMeetsItself(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		at := c.LocalAddr().(*net.UDPAddr).AddrPort()
		c.Close()
		for selves := range dialAttempts + 1 {
			made := 0
			fd, err := dialWith(at, func(fd int) {
				if made++; made <= selves {
					sa, _ := sockaddrOf(at)
					if err := unix.Bind(fd, sa); err != nil {
						t.Fatal(err)
					}
				}
			})
			if want := min(selves+1, dialAttempts); made != want {
				t.Errorf("%s: %d sockets met themselves, and %d were made, want %d", at, selves, made, want)
			}
			if selves == dialAttempts {
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: connected to itself: %v", at, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if sock.MeetsItself(fd, at) {
				t.Errorf("%s: connected to itself", at)
			}
			sock.CloseFD(fd)
		}
	}
}
