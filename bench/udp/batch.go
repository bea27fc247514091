package udp

import (
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// batch is what datagrams are received into.
type batch struct {
	msgs  []sock.Message
	iovs  []unix.Iovec
	bytes [][]byte
	names [][unix.SizeofSockaddrInet6]byte
}

// newBatch makes room for n datagrams of at most size bytes; with named it notes
// where they come from.
func newBatch(n, size int, named bool) *batch {
	b := &batch{
		msgs: make([]sock.Message, n), iovs: make([]unix.Iovec, n),
		bytes: make([][]byte, n), names: make([][unix.SizeofSockaddrInet6]byte, n),
	}
	for i := range b.msgs {
		b.bytes[i] = make([]byte, size)
		b.iovs[i].Base = &b.bytes[i][0]
		head := &b.msgs[i].Head
		head.Iov = &b.iovs[i]
		head.SetIovlen(1)
		if named {
			head.Name = &b.names[i][0]
		}
	}
	return b
}

func (b *batch) receive(fd int) (int, error) {
	for i := range b.msgs {
		head := &b.msgs[i].Head
		if head.Name != nil {
			head.Namelen = unix.SizeofSockaddrInet6
		}
		b.iovs[i].SetLen(len(b.bytes[i]))
	}
	return sock.ReceiveBatch(fd, b.msgs)
}

func (b *batch) payload(i int) []byte { return b.bytes[i][:b.msgs[i].Len] }

func (b *batch) truncated(i int) bool { return b.msgs[i].Head.Flags&unix.MSG_TRUNC != 0 }
