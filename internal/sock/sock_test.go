package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// patience bounds what must happen soon; it is only waited out by a test that
// fails.
const patience = 10 * time.Second

// pair returns both ends of a TCP connection: ours, and the peer's as the
// standard library has it.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.TCPConn.Close()
		peer.Close()
	})
	_ = c.SetDeadline(time.Now().Add(patience))
	_ = peer.SetDeadline(time.Now().Add(patience))
	return c, peer.(*net.TCPConn)
}

func send(t *testing.T, peer net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(peer, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly text from the peer's end.
func expect(t *testing.T, peer net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	if string(got) != text {
		t.Fatalf("the peer got %q, want %q", got, text)
	}
}

// await polls until a fact of the kernel, which tells nobody, has come true.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting until %s", what)
		}
	}
}

func TestReadBlock(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, "hello")
	b, n, err := c.ReadBlock(512)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b.B[:n]); got != "hello" {
		t.Errorf("read %q", got)
	}
	b.Put()

	peer.Close()
	if b, n, err := c.ReadBlock(512); b != nil || n != 0 || err != io.EOF {
		t.Errorf("at the end: %v, %d, %v", b, n, err)
	}
}

func TestReadBlockReset(t *testing.T) {
	c, peer := pair(t)
	_ = peer.SetLinger(0)
	peer.Close()
	if b, _, err := c.ReadBlock(512); b != nil || err == nil || err == io.EOF {
		t.Errorf("after a reset: %v, %v", b, err)
	}
}

func TestArmRead(t *testing.T) {
	const hour = int64(time.Hour)
	tests := []struct {
		name  string
		due   int64 // armed before
		now   int64
		d     time.Duration
		armed int64 // after
	}{
		{"nothing armed", 0, 1000 * hour, time.Hour, 1001 * hour},
		{"the same moment", 1001 * hour, 1000 * hour, time.Hour, 1001 * hour},
		{"within the slack", 1001 * hour, 1000*hour + hour/16, time.Hour, 1001 * hour},
		{"beyond the slack", 1001 * hour, 1000*hour + hour/16 + 1, time.Hour, 1001*hour + hour/16 + 1},
		{"a later one armed", 1003 * hour, 1000 * hour, time.Hour, 1001 * hour},
		{"passed", 999 * hour, 1000 * hour, time.Hour, 1001 * hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := pair(t)
			c.readDue = tt.due
			c.ArmRead(tt.now, tt.d)
			if c.readDue != tt.armed {
				t.Errorf("armed for %d, want %d", c.readDue, tt.armed)
			}
		})
	}
}

func TestArmReadWithin(t *testing.T) {
	c, _ := pair(t)
	now := Now()
	c.ArmReadWithin(now, time.Hour, 2*time.Hour)
	if want := now + int64(2*time.Hour); c.readDue != want {
		t.Errorf("armed for %d, want %d", c.readDue, want)
	}
	due := c.readDue
	c.ArmReadWithin(now+int64(time.Hour), time.Hour, 2*time.Hour)
	if c.readDue != due {
		t.Error("armed anew although the deadline lies between least and most")
	}
	c.ArmReadWithin(now+int64(time.Hour)+1, time.Hour, 2*time.Hour)
	if c.readDue == due {
		t.Error("not armed anew although the deadline is sooner than least")
	}
}

func TestArmedReadExpires(t *testing.T) {
	c, _ := pair(t)
	_ = c.SetDeadline(time.Time{})
	c.ArmRead(Now(), 20*time.Millisecond)
	if _, _, err := c.ReadBlock(512); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v, want a deadline's", err)
	}
}

func TestSetDeadlineForgetsArmed(t *testing.T) {
	c, _ := pair(t)
	arm := func() {
		c.ArmRead(Now(), time.Hour)
		c.SetWriteTimeout(time.Hour)
		c.armWrite()
	}
	arm()
	if _ = c.SetReadDeadline(time.Time{}); c.readDue != 0 || c.writeDue == 0 {
		t.Error("SetReadDeadline must forget the read deadline only")
	}
	arm()
	if _ = c.SetWriteDeadline(time.Time{}); c.readDue == 0 || c.writeDue != 0 {
		t.Error("SetWriteDeadline must forget the write deadline only")
	}
	arm()
	if _ = c.SetDeadline(time.Time{}); c.readDue != 0 || c.writeDue != 0 {
		t.Error("SetDeadline must forget both")
	}
}

func TestInterrupt(t *testing.T) {
	c, peer := pair(t)
	failed := make(chan error)
	go func() {
		_, _, err := c.ReadBlock(512)
		failed <- err
	}()
	c.Interrupt()
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the read under way ended with %v", err)
	}
	send(t, peer, "late")
	if _, err := c.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a later read ended with %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b, n, err := c.ReadBlock(512)
	if err != nil || string(b.B[:n]) != "late" {
		t.Fatalf("once a deadline is set anew: %v", err)
	}
}

func TestDeparted(t *testing.T) {
	t.Run("there", func(t *testing.T) {
		c, peer := pair(t)
		send(t, peer, "bytes")
		if c.Departed() {
			t.Error("departed although the peer is there")
		}
		b, n, err := c.ReadBlock(512)
		if err != nil || string(b.B[:n]) != "bytes" {
			t.Errorf("looking has taken bytes: %v", err)
		}
	})
	t.Run("half closed", func(t *testing.T) {
		c, peer := pair(t)
		send(t, peer, "bytes")
		_ = peer.CloseWrite()
		await(t, "the half close is seen", c.Departed)
	})
	t.Run("closed", func(t *testing.T) {
		c, peer := pair(t)
		peer.Close()
		await(t, "the close is seen", c.Departed)
	})
	t.Run("reset", func(t *testing.T) {
		c, peer := pair(t)
		_ = peer.SetLinger(0)
		peer.Close()
		await(t, "the reset is seen", c.Departed)
	})
	t.Run("closed by ourselves", func(t *testing.T) {
		c, _ := pair(t)
		c.TCPConn.Close()
		if !c.Departed() {
			t.Error("not departed although the socket is closed")
		}
	})
}

func TestClock(t *testing.T) {
	a := Now()
	b := Now()
	if a < 0 || b < a {
		t.Errorf("Now went from %d to %d", a, b)
	}
	if d := time.Since(Time(Now())); d < -time.Minute || d > time.Minute {
		t.Errorf("Time(Now()) is %v off", d)
	}
}

// large is more than the buffers of two sockets hold.
var large = strings.Repeat("0123456789abcdef", 1<<20)

// smallBuffer lets a socket take far less than large at once. Much smaller, and
// the loopback would crawl from one delayed acknowledgement to the next.
const smallBuffer = 256 << 10
