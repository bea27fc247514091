package relay

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// crowdVariable makes the test binary a crowd at the address that it names.
const crowdVariable = "BULWARK_TEST_CROWD"

// TestIdlePairsMemory shows what an idle pair costs beyond its two sockets: no
// goroutine, and at most 4 KB.
func TestIdlePairsMemory(t *testing.T) {
	const pairs = 2000
	r := newRig(t, 2)
	fds := make([]Pair, pairs)
	peers := make([][2]int, pairs)
	t.Cleanup(func() {
		for _, p := range peers {
			unix.Close(p[0])
			unix.Close(p[1])
		}
	})
	for i := range fds {
		peers[i][0], fds[i].Client = socketPair(t)
		peers[i][1], fds[i].Upstream = socketPair(t)
		fds[i].Idle = time.Hour
	}
	before, goroutines := footprint(), runtime.NumGoroutine()
	for i := range fds {
		r.Start(fds[i])
	}
	buf := make([]byte, 8)
	for _, p := range peers { // each has relayed something each way
		for i := range p {
			if _, err := sock.WriteFD(p[i], []byte("12345678")); err != nil {
				t.Fatal(err)
			}
			await(t, "the bytes have come", func() bool { n, _ := sock.ReadFD(p[1-i], buf); return n == len(buf) })
		}
	}
	if n := r.Links(); n != pairs {
		t.Fatalf("%d links, want %d", n, pairs)
	}
	cost := (int64(footprint()) - int64(before)) / pairs
	t.Logf("%d bytes per idle pair", cost)
	if cost > 4096 {
		t.Errorf("an idle pair costs %d bytes, want at most 4096", cost)
	}
	if n := runtime.NumGoroutine(); n > goroutines+4 {
		t.Errorf("%d goroutines for %d pairs, %d before", n, pairs, goroutines)
	}
}

// footprint is what heap and stacks take.
func footprint() uint64 {
	for range 2 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// TestIdleCrowd relays 8,000 connections that rest at the same time, whose
// peers are another process: accept, dial, one round trip, a rest, and another
// round trip, on one loop and without a goroutine for any of them.
func TestIdleCrowd(t *testing.T) {
	size := crowdSize
	raiseFiles(t, uint64(2*size+500))
	r := newRig(t, 1)
	ln, address := listen(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdVariable+"="+address)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line := func() string {
		s, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the crowd has ended: %v", err)
		}
		return strings.TrimSpace(s)
	}
	origin := netip.MustParseAddrPort(line())
	goroutines := runtime.NumGoroutine()
	l := r.Loops()[0]
	l.Post(func() {
		if err := l.poll.AddFor(ln, epoll.Readable, &door{t, l, ln, origin}); err != nil {
			t.Error(err)
		}
	})
	fmt.Fprintln(in, "begin")
	if got := line(); got != "at rest" {
		t.Fatal(got)
	}
	if n := r.Links(); n != int64(size) {
		t.Errorf("%d links at rest, want %d", n, size)
	}
	if n := runtime.NumGoroutine(); n > goroutines+4 {
		t.Errorf("%d goroutines for %d links, %d before", n, size, goroutines)
	}
	fmt.Fprintln(in, "again")
	if got := line(); got != "all there" {
		t.Fatal(got)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	await(t, "all links have ended", func() bool { return r.Links() == 0 })
}

// door accepts on a loop what comes to a listening socket, and relays it.
type door struct {
	t      *testing.T
	loop   *Loop
	fd     int
	origin netip.AddrPort
}

func (a *door) Ready(uint32) {
	for {
		fd, _, err := sock.AcceptFD(a.fd)
		if err != nil {
			if err != unix.EAGAIN {
				a.t.Error(err)
			}
			return
		}
		a.loop.Dial(a.origin, patience, func(d *Dial, err error) {
			if err != nil {
				a.t.Error(err)
				sock.CloseFD(fd)
				return
			}
			a.loop.Start(Pair{Client: fd, Dialed: d, Idle: time.Hour})
		})
	}
}

const crowdSize = 8000

// crowd is the other process: the origin and all clients.
func crowd(address string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "crowd:", err)
			os.Exit(1)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(ln.Addr())
	in := bufio.NewReader(os.Stdin)
	_, err = in.ReadString('\n')
	check(err)
	pairs := make([][2]net.Conn, crowdSize)
	trip := func(i int) {
		p, buf := pairs[i], make([]byte, 8)
		for side := range p {
			_ = p[side].SetDeadline(time.Now().Add(patience))
			_, err := p[side].Write([]byte("12345678"))
			check(err)
			_, err = io.ReadFull(p[1-side], buf)
			check(err)
		}
	}
	for i := range pairs {
		pairs[i][0], err = net.DialTimeout("tcp", address, patience)
		check(err)
		pairs[i][1], err = ln.Accept()
		check(err)
		trip(i)
	}
	fmt.Println("at rest")
	_, err = in.ReadString('\n')
	check(err)
	for i := range pairs {
		trip(i)
	}
	fmt.Println("all there")
	_, _ = in.ReadString('\n')
}

// raiseFiles makes room for n descriptors, which the child inherits.
func raiseFiles(t *testing.T, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur, lim.Max = max(lim.Cur, n), max(lim.Max, n)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatalf("raising the limit on open files to %d: %v", n, err)
	}
}
