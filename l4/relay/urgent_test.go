package relay

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// urge sends a byte as urgent data.
func urge(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if werr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil)
		return err != unix.EAGAIN
	}); werr != nil || err != nil {
		t.Fatal(werr, err)
	}
}

// TestUrgent lets a client send urgent data, at which a read stops: what comes
// behind it arrives, be it few bytes or bulk that is spliced.
func TestUrgent(t *testing.T) {
	for _, size := range []int{3, 8 << 20} {
		k := newRig(t, 1).relay(nil)
		block := bytes.Repeat([]byte{'x'}, size)
		go func() {
			for range 3 {
				_, _ = k.client.Write(block)
				urge(t, k.client)
				_, _ = k.client.Write(block)
			}
		}()
		for got := 0; got < 6*size; {
			n, err := k.upstream.Read(make([]byte, 1<<16))
			if err != nil {
				t.Fatalf("of %d bytes %d have arrived: %v", 6*size, got, err)
			}
			got += n
		}
		_ = k.client.CloseWrite()
		if rest, err := io.ReadAll(k.upstream); err != nil || len(rest) > 3 { // the urgent bytes may or may not pass
			t.Errorf("%d bytes more than were sent, %v", len(rest), err)
		}
		_ = k.upstream.Close()
		<-k.results
	}
}
