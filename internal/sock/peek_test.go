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
