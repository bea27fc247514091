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

// step is what a turn of a recorded loop read.
type step struct {
	text string
	err  error
}

// reads takes everything there is in a turn, by reads of size bytes.
func reads(c *Conn, size int) (all []step) {
	p := make([]byte, size)
	for {
		n, err := c.Read(p)
		all = append(all, step{string(p[:n]), err})
		if err != nil {
			return all
		}
	}
}

func TestLoopFirstTurnIsAtOnce(t *testing.T) {
	c, _ := pair(t)
	turns := 0
	err := c.Loop(func() bool {
		turns++
		if n, err := c.Read(make([]byte, 8)); n != 0 || err != ErrWouldBlock {
			t.Errorf("Read = %d, %v in a turn with nothing to read", n, err)
		}
		return true
	})
	if err != nil || turns != 1 {
		t.Errorf("%d turns, %v", turns, err)
	}
}

// TestLoopShortRead shows that a read that was not filled is the last one of
// its turn: no system call is spent to learn that there is nothing more.
func TestLoopShortRead(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, "first")
	turn := 0
	err := c.Loop(func() bool {
		turn++
		p := make([]byte, 64)
		n, err := c.Read(p)
		switch {
		case err == ErrWouldBlock:
			return false
		case err != nil:
			t.Errorf("reading: %v", err)
			return true
		}
		switch got := string(p[:n]); got {
		case "first":
			// The next bytes are in the socket, yet this turn ends.
			send(t, peer, "second")
			if n, err := c.Read(p); n != 0 || err != ErrWouldBlock {
				t.Errorf("after a short read: %d, %v", n, err)
			}
			return false
		case "second":
			return true
		default:
			t.Errorf("read %q", got)
			return true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if turn < 2 {
		t.Errorf("%d turns, want at least 2", turn)
	}
}

func TestLoopFullReadGoesOn(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, "abcdef")
	var got []step
	err := c.Loop(func() bool {
		got = append(got, reads(c, 3)...)
		return len(got) >= 3
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range got {
		text.WriteString(s.text)
	}
	if text.String() != "abcdef" {
		t.Errorf("read %q", text.String())
	}
}

// TestLoopCloseWithBytes shows the price of the saved read, and how it is paid:
// a close that came together with the bytes is not seen by the turn that read
// them; a second Loop sees it at once.
func TestLoopCloseWithBytes(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, "bye")
	peer.Close()
	await(t, "the close has arrived", c.Departed)

	c.ArmRead(Now(), 50*time.Millisecond) // as the owner does for the first wait
	var got []step
	err := c.Loop(func() bool {
		got = append(got, reads(c, 64)...)
		return got[len(got)-1].err == io.EOF
	})
	if len(got) == 0 || got[0].text != "bye" {
		t.Fatalf("read %v", got)
	}
	if err != nil { // the wait passed, as it may
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the wait ended with %v", err)
		}
		c.ArmRead(Now(), patience)
		err = c.Loop(func() bool {
			got = append(got, reads(c, 64)...)
			return true
		})
	}
	if last := got[len(got)-1]; err != nil || last.err != io.EOF {
		t.Errorf("the end is %v, %v, want io.EOF", last, err)
	}
}

func TestLoopEndOfStreamWakes(t *testing.T) {
	c, peer := pair(t)
	turns := make(chan struct{}, 8)
	var end error
	go func() {
		<-turns
		peer.Close()
	}()
	err := c.Loop(func() bool {
		_, end = c.Read(make([]byte, 8))
		turns <- struct{}{}
		return end != ErrWouldBlock
	})
	if err != nil || end != io.EOF {
		t.Errorf("the loop ended with %v, the last read with %v", err, end)
	}
}

func TestLoopDeadline(t *testing.T) {
	c, _ := pair(t)
	_ = c.SetDeadline(time.Time{})
	c.ArmRead(Now(), 20*time.Millisecond)
	if err := c.Loop(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the wait ended with %v", err)
	}
}

func TestLoopInterrupted(t *testing.T) {
	c, _ := pair(t)
	waiting := make(chan struct{})
	go func() {
		<-waiting
		c.Interrupt()
	}()
	first := true
	err := c.Loop(func() bool {
		if first {
			close(waiting)
			first = false
		}
		return false
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the wait ended with %v", err)
	}
}

func TestErrWouldBlockIsTemporary(t *testing.T) {
	e, ok := ErrWouldBlock.(interface {
		Timeout() bool
		Temporary() bool
	})
	if !ok || !e.Timeout() || !e.Temporary() {
		t.Error("crypto/tls gives a connection up after an error that is not temporary")
	}
}

func TestReadOutsideLoopWaits(t *testing.T) {
	c, peer := pair(t)
	if err := c.Loop(func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		p := make([]byte, 16)
		n, _ := c.Read(p)
		got <- string(p[:n])
	}()
	send(t, peer, "now")
	if s := <-got; s != "now" {
		t.Errorf("read %q", s)
	}
}

func TestLoopPanicEndsTurn(t *testing.T) {
	c, peer := pair(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
		}()
		_ = c.Loop(func() bool { panic("in a turn") })
	}()
	send(t, peer, "on")
	p := make([]byte, 8)
	if n, err := c.Read(p); err != nil || string(p[:n]) != "on" {
		t.Errorf("after the panic: %q, %v", p[:n], err)
	}
}

func TestWriteInTurn(t *testing.T) {
	c, peer := pair(t)
	err := c.Loop(func() bool {
		if n, err := c.Write([]byte("answer")); n != 6 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("Write(nil) = %d, %v", n, err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, peer, "answer")
}

// TestWriteInTurnKernelFull shows that a write waits for what the kernel does
// not take at once, and loses and repeats nothing.
func TestWriteInTurnKernelFull(t *testing.T) {
	c, peer := pair(t)
	_ = c.SetWriteBuffer(smallBuffer)
	got := make(chan string)
	started := make(chan struct{})
	go func() {
		<-started
		all := make([]byte, len(large))
		n, _ := io.ReadFull(peer, all)
		got <- string(all[:n])
	}()
	err := c.Loop(func() bool {
		close(started)
		n, err := c.Write([]byte(large))
		if n != len(large) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != large {
		t.Errorf("the peer got %d bytes that differ from the %d sent", len(s), len(large))
	}
}

func TestWriteInTurnDeadline(t *testing.T) {
	c, _ := pair(t)
	_ = c.SetDeadline(time.Time{})
	c.SetWriteTimeout(50 * time.Millisecond)
	err := c.Loop(func() bool {
		n, err := c.Write([]byte(large)) // nobody reads
		if !errors.Is(err, os.ErrDeadlineExceeded) || n >= len(large) {
			t.Errorf("Write = %d, %v, want a deadline's error", n, err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteInTurnBroken(t *testing.T) {
	c, peer := pair(t)
	_ = peer.SetLinger(0)
	peer.Close()
	await(t, "the reset has arrived", c.Departed)
	err := c.Loop(func() bool {
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("writing to a connection that was reset succeeded")
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCloseWithinTurn shows that a turn under way, for whose end Close waits,
// cannot go on for ever: its reads and writes fail at once.
func TestCloseWithinTurn(t *testing.T) {
	c, peer := pair(t)
	send(t, peer, "there")
	done := make(chan error, 1)
	err := c.Loop(func() bool {
		go func() { done <- c.Close() }()
		await(t, "Close is under way", c.closed.Load)
		if n, err := c.Read(make([]byte, 8)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read = %d, %v, want ErrClosed", n, err)
		}
		if n, err := c.Write([]byte("answer")); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write = %d, %v, want ErrClosed", n, err)
		}
		return true
	})
	if err != nil {
		t.Errorf("the turn that was under way ended with %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("closing: %v", err)
	}
}
