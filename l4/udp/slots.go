package udp

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// slots are what a batch of datagrams is received into. Each has room for the
// largest, in memory of the system's own: only the pages that were written to
// exist, so that small datagrams cost 4 KiB each.
type slots struct {
	memory  []byte
	msgs    [batchSize]sock.Message
	iovs    [batchSize]unix.Iovec
	names   [batchSize]address
	control [batchSize][receiveRoom]byte
}

// slotStride is a slot and a bit, so that the beginnings of the slots do not
// share the same lines of the processor's caches.
const slotStride = slotBytes + 5*64

func newSlots(named bool) (*slots, error) {
	memory, err := unix.Mmap(-1, 0, batchSize*slotStride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	// Its pages are taken one by one: huge ones would cost as much as all slots.
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
	s := &slots{memory: memory}
	for i := range s.msgs {
		s.iovs[i].Base = &memory[i*slotStride]
		s.iovs[i].SetLen(slotBytes)
		head := &s.msgs[i].Head
		head.Iov = &s.iovs[i]
		head.SetIovlen(1)
		if named {
			head.Name = &s.names[i].b[0]
		}
		head.Control = &s.control[i][0]
	}
	return s, nil
}

// receive fills the slots from the i-th on, at most n, and returns how many.
func (s *slots) receive(fd, i, n int) (int, error) {
	for k := i; k < i+n; k++ {
		head := &s.msgs[k].Head
		if head.Name != nil {
			head.Namelen = unix.SizeofSockaddrInet6
		}
		head.SetControllen(receiveRoom)
		head.Flags = 0
	}
	return sock.ReceiveBatch(fd, s.msgs[i:i+n])
}

func (s *slots) payload(i int) []byte { return s.slot(i)[:s.msgs[i].Len] }

func (s *slots) slot(i int) []byte {
	at := i * slotStride
	return s.memory[at : at+slotBytes : at+slotBytes]
}

func (s *slots) controls(i int) []byte { return s.control[i][:s.msgs[i].Head.Controllen] }

// truncated reports whether the datagram or what the kernel tells of it had no
// room.
func (s *slots) truncated(i int) bool {
	return s.msgs[i].Head.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0
}

func (s *slots) free() { _ = unix.Munmap(s.memory) }
