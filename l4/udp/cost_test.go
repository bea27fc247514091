package udp

import (
	"context"
	"encoding/binary"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// forwarder is a Handler that sends all flows to an address and keeps nothing.
type forwarder netip.AddrPort

func (f forwarder) Admit(*Datagram) Decision {
	return Decision{Verdict: Forward, Upstream: netip.AddrPort(f)}
}

func (forwarder) Resolve(context.Context, *Datagram, any) Decision { return Decision{} }
func (forwarder) Next([]byte, any) Decision                        { return Decision{} }
func (forwarder) Closed(*Flow, End)                                {}

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
	r.port = serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: forwarder(up)})
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

// TestFlowLines holds what each datagram needs of a flow within the lines of the
// processor's caches that its comment promises.
func TestFlowLines(t *testing.T) {
	flow := reflect.TypeFor[Flow]()
	for name, lines := range map[string]uintptr{"singleToClient": 1, "sourceLen": 1, "sent": 2, "name": 3} {
		field, ok := flow.FieldByName(name)
		if !ok {
			t.Fatalf("a flow has no field %q", name)
		}
		if end := field.Offset + field.Type.Size(); end > lines*64 {
			t.Errorf("%s ends at byte %d, which is not within the first %d lines", name, end, lines)
		}
	}
}

// flowBytes is what a flow may cost of our memory, beside its sockets. It counts
// what is needed only to open it, too.
const flowBytes = 640

// TestMemoryPerFlow holds what opening a flow allocates, and its share of the
// tables that it is in, against what it may cost. Flows that are opened where
// others were find tables that have grown already, so that not a byte is left to
// chance.
func TestMemoryPerFlow(t *testing.T) {
	const flows = 128
	r := newRig(t, flows)
	allocated := uint64(math.MaxUint64)
	for range 5 { // something of the test's or the runtime's may fall into one of them
		r.port.onLoops(func(l *lane) { l.endAll(Idle) })
		if n := r.port.Counts().Flows; n != 0 {
			t.Fatalf("%d flows are left", n)
		}
		goroutines := runtime.NumGoroutine()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.trip(t)
		runtime.ReadMemStats(&after)
		allocated = min(allocated, (after.TotalAlloc-before.TotalAlloc)/flows)
		if n := r.port.Counts().Flows; n != flows || runtime.NumGoroutine() > goroutines {
			t.Fatalf("%d flows and %d goroutines, want %d and %d", n, runtime.NumGoroutine(), flows, goroutines)
		}
	}
	// Of the table at least three eighths are in use just after it has grown. The
	// loop has a handler and a number for each descriptor, in a slice that grows to
	// the double.
	inTable := reflect.TypeFor[entry]().Size() * 8 / 3
	const inLoop = 2 * 24
	each := allocated + uint64(inTable) + inLoop
	t.Logf("%d bytes a flow at the most: %d allocated, %d in the table, %d in the loop; a Flow has %d", each, allocated, inTable, inLoop, reflect.TypeFor[Flow]().Size())
	if each > flowBytes {
		t.Errorf("a flow costs %d bytes, want at most %d", each, flowBytes)
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
