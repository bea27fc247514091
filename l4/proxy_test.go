package l4

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestReadProxyHeader sends each header at once and byte by byte, with bytes
// behind it, which must all still be there.
func TestReadProxyHeader(t *testing.T) {
	const behind = "\x16\x03\x01 what follows"
	long := binaryHeader(0x21, 0x11, tcp4, extension(0x05, strings.Repeat("x", 3000)))
	tests := []struct {
		name, header, client, local string // addresses of the socket if empty
	}{
		{"v1", "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\n", "203.0.113.7:56324", "198.51.100.9:443"},
		{"v1 mapped", "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.9 56324 443\r\n", "203.0.113.7:56324", "198.51.100.9:443"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v2", binaryHeader(0x21, 0x21, tcp6), "[2001:db8::7]:56324", "[2001:db8::9]:443"},
		{"v2 local", binaryHeader(0x20, 0x00), "", ""},
		{"v2 long", long, "203.0.113.7:56324", "198.51.100.9:443"},
	}
	for _, tt := range tests {
		for _, bytewise := range []bool{false, true} {
			name := tt.name
			if bytewise {
				name += " byte by byte"
			}
			t.Run(name, func(t *testing.T) {
				c, client := accepted(t)
				peer, local := c.Client, c.Local
				sent := make(chan error, 1)
				go func() { sent <- send(client, tt.header+behind, bytewise) }()
				if err := c.ReadProxyHeader(patience); err != nil {
					t.Fatal(err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				want := NewInfo("web", peer, local)
				if tt.client != "" {
					want = NewInfo("web", netip.MustParseAddrPort(tt.client), netip.MustParseAddrPort(tt.local))
					want.Peer = peer
				}
				if c.Info != want {
					t.Errorf("info %+v, want %+v", c.Info, want)
				}
				p := make([]byte, len(behind))
				if _, err := io.ReadFull(c, p); err != nil || string(p) != behind {
					t.Errorf("what follows is %q, %v", p, err)
				}
			})
		}
	}
}

func send(c *net.TCPConn, text string, bytewise bool) error {
	if !bytewise {
		_, err := io.WriteString(c, text)
		return err
	}
	_ = c.SetNoDelay(true)
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func TestReadProxyHeaderFails(t *testing.T) {
	tests := []struct {
		name, sent string
		closes     bool
		want       error
	}{
		{"something else", "GET / HTTP/1.1\r\n", false, ErrProxyHeader},
		{"cut off", "PROXY TCP4 203.0", true, ErrProxyHeader},
		{"cut off in an extension", binaryHeader(0x21, 0x11, tcp4, extension(0x05, "id"))[:30], true, ErrProxyHeader},
		{"late", "PROXY TCP4 203.0", false, os.ErrDeadlineExceeded},
		{"nothing", "", false, os.ErrDeadlineExceeded},
		{"left", "", true, io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, client := accepted(t)
			if _, err := io.WriteString(client, tt.sent); err != nil {
				t.Fatal(err)
			}
			timeout := patience
			if tt.want == os.ErrDeadlineExceeded {
				timeout = 30 * time.Millisecond
			}
			if tt.closes {
				client.Close()
			}
			if err := c.ReadProxyHeader(timeout); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestReadProxyHeaderSlowly shows that single bytes do not push the deadline
// out.
func TestReadProxyHeaderSlowly(t *testing.T) {
	c, client := accepted(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		text := "PROXY UNKNOWN " + strings.Repeat("x", 80)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				if i < len(text) {
					_, _ = io.WriteString(client, text[i:i+1])
				}
			}
		}
	}()
	if err := c.ReadProxyHeader(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline's", err)
	}
	close(stop)
	<-done
}

func TestReadProxyHeaderDrains(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		c, _ := accepted(t)
		c.Drain()
		if err := c.ReadProxyHeader(patience); !errors.Is(err, ErrDraining) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("meanwhile", func(t *testing.T) {
		c, _ := accepted(t)
		ended := make(chan error, 1)
		go func() { ended <- c.ReadProxyHeader(patience) }()
		for end := time.Now().Add(patience); !c.idle.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not wait")
			}
		}
		c.Drain()
		if err := <-ended; !errors.Is(err, ErrDraining) {
			t.Errorf("error %v", err)
		}
	})
}
