package udp

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// rig is an upstream and clients that allocate nothing themselves: plain
// descriptors, driven by the test.
type rig struct {
	upstream int
	clients  []int
	port     *Port
	b        []byte
	msgs     []sock.Message
	iov      unix.Iovec
	name     [unix.SizeofSockaddrInet6]byte
	poll     []unix.PollFd
}

func newRig(t testing.TB, flows int) *rig {
	t.Helper()
	r := &rig{b: make([]byte, 2048), msgs: make([]sock.Message, 1), poll: make([]unix.PollFd, 1)}
	r.iov.Base = &r.b[0]
	r.msgs[0].Head.Iov = &r.iov
	r.msgs[0].Head.SetIovlen(1)
	r.msgs[0].Head.Name = &r.name[0]
	open := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	r.upstream = open()
	if err := unix.Bind(r.upstream, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(r.upstream)
	if err != nil {
		t.Fatal(err)
	}
	up := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	r.port = serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(up))})
	at := netip.MustParseAddrPort(r.port.Addr())
	for range flows {
		fd := open()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			t.Fatal(err)
		}
		r.clients = append(r.clients, fd)
	}
	return r
}

// trip lets a datagram of each client go there and back.
func (r *rig) trip(t testing.TB) {
	for i, fd := range r.clients {
		binary.BigEndian.PutUint32(r.b, uint32(i))
		if err := sock.SendDatagram(fd, r.b[:200]); err != nil {
			t.Fatal(err)
		}
	}
	for range r.clients {
		r.await(t, r.upstream)
		r.iov.SetLen(int(r.msgs[0].Len))
		if _, err := sock.SendBatch(r.upstream, r.msgs); err != nil {
			t.Fatal(err)
		}
	}
	for i, fd := range r.clients {
		r.await(t, fd)
		if n := r.msgs[0].Len; n != 200 || binary.BigEndian.Uint32(r.b) != uint32(i) {
			t.Fatalf("client %d got %d bytes of client %d", i, n, binary.BigEndian.Uint32(r.b))
		}
	}
}

// await waits for a datagram.
func (r *rig) await(t testing.TB, fd int) {
	for {
		r.iov.SetLen(len(r.b))
		r.msgs[0].Head.Namelen = unix.SizeofSockaddrInet6
		if _, err := sock.ReceiveBatch(fd, r.msgs); err == nil {
			return
		}
		r.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		if n, err := unix.Poll(r.poll, int(patience.Milliseconds())); n == 0 && err == nil {
			t.Fatal("a datagram is missing")
		}
	}
}

// TestNoAllocations: a datagram of a flow that is there costs no allocation, in
// either direction.
func TestNoAllocations(t *testing.T) {
	r := newRig(t, 8)
	r.trip(t) // opens the flows
	if n := testing.AllocsPerRun(500, func() { r.trip(t) }); n != 0 {
		t.Errorf("%v allocations for 8 round trips, want none", n)
	}
	if c := r.port.Counts(); c.Opened != 8 || c.Drops != [dropReasons]uint64{} {
		t.Errorf("the counts are %+v", c)
	}
}

// flowBytes is what a flow may cost of our memory, beside its sockets.
const flowBytes = 640

// TestMemoryPerFlow holds the heap and the stacks against what a flow may cost.
func TestMemoryPerFlow(t *testing.T) {
	const flows = 4000
	up := listen(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(addrOf(up)))})
	at := netip.MustParseAddrPort(p.Addr())
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	open := func(n int) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		to := &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(n)}}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Sendto(fd, []byte("x"), 0, to); err != nil {
			t.Fatal(err)
		}
	}
	open(1)
	until(t, "the first flow", func() bool { return p.Counts().Flows == 1 })
	before := used()
	for i := range flows {
		open(2 + i%250)
		if i%64 == 63 {
			until(t, "the flows so far", func() bool { return p.Counts().Received.Datagrams == uint64(i+2) })
		}
	}
	until(t, "all flows", func() bool { return p.Counts().Received.Datagrams == flows+1 })
	n := p.Counts().Flows - 1 // a port may have come twice
	each := float64(used()-before) / float64(n)
	t.Logf("%.0f bytes a flow, of %d", each, n)
	if n < flows/2 || each > flowBytes {
		t.Errorf("%d flows cost %.0f bytes each, want at most %d", n, each, flowBytes)
	}
}

// BenchmarkTrip is a round trip of each of 64 flows, on one machine with its
// clients and its upstream.
func BenchmarkTrip(b *testing.B) {
	r := newRig(b, 64)
	r.trip(b)
	b.ReportAllocs()
	for b.Loop() {
		r.trip(b)
	}
}
