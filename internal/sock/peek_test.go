package sock

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

func TestPeek(t *testing.T) {
	c, peer := pair(t)
	if _, err := io.WriteString(peer, "hello"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3)
	for range 2 { // the second time it is still there
		if n, err := c.Peek(p); n != 3 || err != nil || string(p) != "hel" {
			t.Fatalf("peeked %d bytes %q, %v", n, p, err)
		}
	}
	if n, err := io.ReadFull(c, p); n != 3 || err != nil || string(p) != "hel" {
		t.Fatalf("read %d bytes %q, %v", n, p, err)
	}
	if n, err := c.Peek(p); n != 2 || err != nil || string(p[:n]) != "lo" {
		t.Fatalf("peeked %d bytes %q, %v", n, p, err)
	}
	if _, err := io.ReadFull(c, p[:2]); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Peek(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without bytes: %d, %v, want a deadline's error", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Peek(p); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v, want io.EOF", n, err)
	}
}

func TestPeekAtLeast(t *testing.T) {
	const text = "0123456789"
	deadline := func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(patience)) }
	t.Run("there", func(t *testing.T) {
		c, peer := pair(t)
		send(t, peer, text)
		p := make([]byte, 8)
		if n, err := c.PeekAtLeast(p, 3); err != nil || n < 3 || string(p[:n]) != text[:n] {
			t.Errorf("%d bytes, %q, %v", n, p[:n], err)
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		c, peer := pair(t)
		deadline(c)
		_ = peer.SetNoDelay(true)
		sent := make(chan error, 1)
		go func() {
			for i := range text {
				if _, err := io.WriteString(peer, text[i:i+1]); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		p := make([]byte, 64)
		for n := range len(text) {
			if got, err := c.PeekAtLeast(p, n+1); err != nil || got <= n || string(p[:got]) != text[:got] {
				t.Fatalf("asked for %d bytes, got %q, %v", n+1, p[:got], err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(c, p[:len(text)]); err != nil || string(p[:n]) != text {
			t.Errorf("what is read is %q, %v", p[:n], err)
		}
		// The mark is gone: a single byte wakes a reader.
		send(t, peer, "x")
		if n, err := c.Read(p); n != 1 || err != nil {
			t.Errorf("a later byte: %d, %v", n, err)
		}
	})
	t.Run("the rest comes while it waits", func(t *testing.T) {
		c, peer := pair(t)
		deadline(c)
		send(t, peer, text[:4])
		got := make(chan string, 1)
		go func() {
			p := make([]byte, 64)
			n, err := c.PeekAtLeast(p, len(text))
			if err != nil {
				n = copy(p, err.Error())
			}
			got <- string(p[:n])
		}()
		send(t, peer, text[4:])
		if s := <-got; s != text {
			t.Errorf("%q", s)
		}
	})
	t.Run("too few", func(t *testing.T) {
		for _, late := range []bool{false, true} {
			c, peer := pair(t)
			deadline(c)
			send(t, peer, "012")
			if !late {
				_ = peer.CloseWrite()
				await(t, "the half close is seen", c.Departed)
			} else {
				go func() { _ = peer.CloseWrite() }()
			}
			if n, err := c.PeekAtLeast(make([]byte, 8), 4); n != 3 || err != io.ErrUnexpectedEOF {
				t.Errorf("closed late %v: %d bytes, %v", late, n, err)
			}
		}
	})
	t.Run("nothing", func(t *testing.T) {
		c, peer := pair(t)
		deadline(c)
		_ = peer.CloseWrite()
		if n, err := c.PeekAtLeast(make([]byte, 8), 4); n != 0 || err != io.EOF {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		c, peer := pair(t)
		deadline(c)
		send(t, peer, "012")
		_ = peer.SetLinger(0)
		peer.Close()
		if _, err := c.PeekAtLeast(make([]byte, 8), 4); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want the reset", err)
		}
	})
	t.Run("late", func(t *testing.T) {
		c, peer := pair(t)
		send(t, peer, "012")
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.PeekAtLeast(make([]byte, 8), 4); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want a deadline's", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		if n, err := c.Read(make([]byte, 8)); n != 3 || err != nil {
			t.Errorf("what was there: %d bytes, %v", n, err)
		}
	})
}
