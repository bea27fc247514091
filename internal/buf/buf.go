// Package buf lends blocks of bytes of five sizes. A block is taken only when
// bytes are there to be put in it and given back on the same screen; a
// connection that waits holds none.
package buf

import "sync"

// The sizes of a block, in bytes.
const (
	Tiny   = 512       // what a waiting TLS connection must hold
	Small  = 4 << 10   // a head
	Medium = 16 << 10  // a large head, an answer
	Large  = 64 << 10  // bulk
	Huge   = 256 << 10 // bulk through user space, where fewer and larger copies pay
)

// Block is a borrowed run of bytes. Its owner gives it back once, by Put, and
// does not touch it after that.
type Block struct {
	B []byte // always the whole block: len(B) == cap(B)
}

var pools = [...]sync.Pool{
	{New: func() any { return &Block{B: make([]byte, Tiny)} }},
	{New: func() any { return &Block{B: make([]byte, Small)} }},
	{New: func() any { return &Block{B: make([]byte, Medium)} }},
	{New: func() any { return &Block{B: make([]byte, Large)} }},
	{New: func() any { return &Block{B: make([]byte, Huge)} }},
}

// Get borrows a block of at least size bytes. A size over Huge is served by a
// block of its own that Put does not keep.
func Get(size int) *Block {
	if i := class(size); i < len(pools) {
		return pools[i].Get().(*Block)
	}
	return &Block{B: make([]byte, size)}
}

// Put gives the block back. A nil block is allowed.
func (b *Block) Put() {
	if b == nil {
		return
	}
	// A block of any other size, such as one that a head outgrew, must not pass
	// for one of its class.
	switch n := len(b.B); n {
	case Tiny, Small, Medium, Large, Huge:
		pools[class(n)].Put(b)
	}
}

// Grow returns a block of at least size bytes that starts with b's first n
// bytes, and gives b back.
func (b *Block) Grow(n, size int) *Block {
	g := Get(size)
	copy(g.B, b.B[:n])
	b.Put()
	return g
}

func class(size int) int {
	switch {
	case size <= Tiny:
		return 0
	case size <= Small:
		return 1
	case size <= Medium:
		return 2
	case size <= Large:
		return 3
	case size <= Huge:
		return 4
	}
	return len(pools)
}
