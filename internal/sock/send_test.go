package sock

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/buf"
)

func TestSendReadBlock(t *testing.T) {
	for _, probe := range []bool{false, true} {
		c, peer := pair(t)
		go func() {
			p := make([]byte, len("question"))
			if _, err := io.ReadFull(peer, p); err == nil {
				_, _ = io.WriteString(peer, "answer to "+string(p))
			}
		}()
		held := buf.Get(buf.Tiny)
		out := append(held.B[:0], "question"...)
		b, n, wrote, err := c.SendReadBlock(out, held, 512, probe)
		if err != nil || !wrote || string(b.B[:n]) != "answer to question" {
			t.Fatalf("probe %v: %v, wrote %v", probe, err, wrote)
		}
		if c.out != nil || c.held != nil {
			t.Error("what was sent is still held")
		}
		b.Put()
	}
}

func TestSendReadBlockStale(t *testing.T) {
	tests := []struct {
		name string
		peer func(t *testing.T, c *Conn, close, reset, speak func())
	}{
		{"closed", func(_ *testing.T, _ *Conn, close, _, _ func()) { close() }},
		{"reset", func(_ *testing.T, _ *Conn, _, reset, _ func()) { reset() }},
		{"spoke unasked", func(_ *testing.T, _ *Conn, _, _, speak func()) { speak() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t)
			tt.peer(t, c,
				func() { peer.Close(); await(t, "the close has arrived", c.Departed) },
				func() {
					_ = peer.SetLinger(0)
					peer.Close()
					await(t, "the reset has arrived", c.Departed)
				},
				func() { send(t, peer, "408"); waitReadable(t, c) },
			)
			b, _, wrote, err := c.SendReadBlock([]byte("question"), nil, 512, true)
			if !errors.Is(err, ErrStale) || wrote || b != nil {
				t.Errorf("error %v, wrote %v, want ErrStale and nothing written", err, wrote)
			}
		})
	}
}

// waitReadable waits until there is something to read, and takes nothing.
func waitReadable(t *testing.T, c *Conn) {
	t.Helper()
	await(t, "there is something to read", func() (ready bool) {
		_ = c.raw.Control(func(fd uintptr) {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			ready = n > 0 && err == nil
		})
		return ready
	})
}

// TestSendReadBlockUnprobed shows that without a probe a close is found out
// about after the bytes have left: by the reset they are answered with.
func TestSendReadBlockUnprobed(t *testing.T) {
	c, peer := pair(t)
	peer.Close()
	await(t, "the close has arrived", c.Departed)
	_, _, wrote, err := c.SendReadBlock([]byte("question"), nil, 512, false)
	if err == nil || errors.Is(err, ErrStale) || errors.Is(err, os.ErrDeadlineExceeded) || !wrote {
		t.Errorf("error %v, wrote %v, want the peer's end, and true", err, wrote)
	}
}

// TestSendReadBlockUnprobedHalfClosed shows that a half close from before the
// bytes were sent, which nothing follows, is seen by the next wait at the
// latest; the owner's deadline brings that about.
func TestSendReadBlockUnprobedHalfClosed(t *testing.T) {
	c, peer := pair(t)
	_ = peer.CloseWrite()
	await(t, "the half close has arrived", c.Departed)
	_ = c.SetDeadline(time.Time{})
	c.ArmRead(Now(), 50*time.Millisecond)
	_, _, wrote, err := c.SendReadBlock([]byte("question"), nil, 512, false)
	if !wrote {
		t.Fatal("nothing was written")
	}
	expect(t, peer, "question")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _, err = c.ReadBlock(512)
	}
	if err != io.EOF {
		t.Errorf("error %v, want io.EOF", err)
	}
}

func TestSendReadBlockUnprobedReset(t *testing.T) {
	c, peer := pair(t)
	_ = peer.SetLinger(0)
	peer.Close()
	await(t, "the reset has arrived", c.Departed)
	_, _, wrote, err := c.SendReadBlock([]byte("question"), nil, 512, false)
	if !errors.Is(err, ErrStale) || wrote {
		t.Errorf("error %v, wrote %v: the kernel took nothing", err, wrote)
	}
}

// TestSendReadBlockPartial shows that what the kernel does not take at once
// follows, in order, before the answer is waited for.
func TestSendReadBlockPartial(t *testing.T) {
	c, peer := pair(t)
	_ = c.SetWriteBuffer(smallBuffer)
	got := make(chan bool)
	go func() {
		all := make([]byte, len(large))
		_, err := io.ReadFull(peer, all)
		_, _ = io.WriteString(peer, "thanks")
		got <- err == nil && string(all) == large
	}()
	b, n, wrote, err := c.SendReadBlock([]byte(large), nil, 512, true)
	if err != nil || !wrote || string(b.B[:n]) != "thanks" {
		t.Fatalf("error %v, wrote %v", err, wrote)
	}
	if !<-got {
		t.Error("the peer got other bytes than were sent")
	}
}

func TestSendReadBlockPartialStalls(t *testing.T) {
	c, _ := pair(t)
	_ = c.SetDeadline(time.Time{})
	c.SetWriteTimeout(50 * time.Millisecond)
	_, _, wrote, err := c.SendReadBlock([]byte(large), nil, 512, false)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, ErrUnsent) || !wrote {
		t.Errorf("error %v, wrote %v", err, wrote)
	}
}

func TestSendReadBlockDeadline(t *testing.T) {
	t.Run("before sending", func(t *testing.T) {
		c, _ := pair(t)
		c.Interrupt()
		_, _, wrote, err := c.SendReadBlock([]byte("question"), buf.Get(buf.Tiny), 512, true)
		if !errors.Is(err, os.ErrDeadlineExceeded) || wrote {
			t.Errorf("error %v, wrote %v", err, wrote)
		}
	})
	t.Run("while waiting", func(t *testing.T) {
		c, peer := pair(t)
		_ = c.SetDeadline(time.Time{})
		c.ArmRead(Now(), 50*time.Millisecond)
		_, _, wrote, err := c.SendReadBlock([]byte("question"), nil, 512, true)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !wrote {
			t.Errorf("error %v, wrote %v", err, wrote)
		}
		// The answer is not lost: it can be waited for further.
		send(t, peer, "late")
		_ = c.SetReadDeadline(time.Now().Add(patience))
		b, n, err := c.ReadBlock(512)
		if err != nil || string(b.B[:n]) != "late" {
			t.Errorf("after the deadline: %v", err)
		}
	})
}
