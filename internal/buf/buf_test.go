package buf

import (
	"bytes"
	"testing"
)

func TestGetSizes(t *testing.T) {
	for _, tt := range []struct{ ask, want int }{
		{0, Tiny},
		{1, Tiny},
		{Tiny, Tiny},
		{Tiny + 1, Small},
		{Small, Small},
		{Small + 1, Medium},
		{Medium + 1, Large},
		{Large + 1, Huge},
		{Huge, Huge},
		{Huge + 1, Huge + 1}, // a block of its own
	} {
		b := Get(tt.ask)
		if len(b.B) != tt.want || cap(b.B) != tt.want {
			t.Errorf("Get(%d) has %d bytes of %d, want %d", tt.ask, len(b.B), cap(b.B), tt.want)
		}
		b.Put()
	}
}

func TestPutNil(*testing.T) {
	var b *Block
	b.Put()
}

// TestPutKeepsClass shows that a block goes back to where blocks of its size
// come from, whatever was asked for when it was taken.
func TestPutKeepsClass(t *testing.T) {
	for range 100 {
		Get(Tiny + 1).Put()
		if b := Get(Tiny); len(b.B) != Tiny {
			t.Fatalf("Get(Tiny) has %d bytes", len(b.B))
		}
		(&Block{B: make([]byte, Huge+1)}).Put()
		if b := Get(Huge); len(b.B) != Huge {
			t.Fatalf("Get(Huge) has %d bytes", len(b.B))
		}
	}
}

func TestGrow(t *testing.T) {
	b := Get(Tiny)
	for i := range b.B {
		b.B[i] = byte(i)
	}
	want := bytes.Clone(b.B[:300])
	g := b.Grow(300, 5000)
	defer g.Put()
	if len(g.B) != Medium {
		t.Errorf("the grown block has %d bytes, want %d", len(g.B), Medium)
	}
	if !bytes.Equal(g.B[:300], want) {
		t.Error("the grown block does not start with what was kept")
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	Get(Small).Put()
	if n := testing.AllocsPerRun(1000, func() { Get(Small).Put() }); n >= 1 {
		t.Errorf("%v allocations per Get and Put, want none", n)
	}
}

// TestPutDropsOddSizes shows that a block that is between two sizes, as one
// that was replaced by an append's is, is lent to nobody: what asks for the
// size above would get less than it must.
func TestPutDropsOddSizes(t *testing.T) {
	for _, n := range []int{1, Tiny + 1, Small + 100, Medium + 1, Large - 1, Large + 1, Huge - 1} {
		for range 100 {
			(&Block{B: make([]byte, n)}).Put()
			if b := Get(n); len(b.B) == n {
				t.Fatalf("Get(%d) lends a block of as many bytes", n)
			}
		}
	}
}
