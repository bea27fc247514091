package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

// patience bounds what must happen soon; only a test that fails waits it out.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if address := os.Getenv(crowdVariable); address != "" {
		crowd(address)
		return
	}
	leak.Main(m)
}

// rig is a relay and what watches over it: every descriptor is closed at the
// end, and every link has ended once.
type rig struct {
	t *testing.T
	*Relay
}

func newRig(t *testing.T, loops int) *rig {
	t.Helper()
	before := descriptors(t)
	r, err := New(loops, func(value any, stack []byte) { t.Errorf("panic: %v\n%s", value, stack) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if n := r.Links(); n != 0 {
			t.Errorf("%d links are left", n)
		}
		await(t, "all descriptors are closed", func() bool { return descriptors(t) <= before })
	})
	return &rig{t, r}
}

// descriptors counts those of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting until %s", what)
		}
	}
}

// couple returns both ends of a TCP connection; ours is a bare descriptor.
func couple(t *testing.T) (peer *net.TCPConn, ours int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := sock.New(accepted.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := c.Detach()
	if err != nil {
		t.Fatal(err)
	}
	peer = nc.(*net.TCPConn)
	t.Cleanup(func() { peer.Close() })
	_ = peer.SetDeadline(time.Now().Add(patience))
	return peer, fd
}

// link is a relayed pair as its peers see it.
type link struct {
	*Link
	t                *testing.T
	client, upstream *net.TCPConn
	results          chan Result
}

// relay starts a pair. with may change it.
func (r *rig) relay(with func(p *Pair)) *link {
	r.t.Helper()
	k := &link{t: r.t, results: make(chan Result, 2)}
	var p Pair
	k.client, p.Client = couple(r.t)
	k.upstream, p.Upstream = couple(r.t)
	p.Done = func(res Result) { k.results <- res }
	if with != nil {
		with(&p)
	}
	k.Link = r.Start(p)
	return k
}

// result waits for the end.
func (k *link) result() Result {
	k.t.Helper()
	select {
	case r := <-k.results:
		return r
	case <-time.After(patience):
		k.t.Fatal("the link does not end")
	}
	return Result{}
}

// wantEnd waits for an end of a kind.
func (k *link) wantEnd(end End, side Side) Result {
	k.t.Helper()
	r := k.result()
	if r.End != end || r.Side != side {
		k.t.Errorf("the link ended: %s by side %d (%v), want %s by side %d", r.End, r.Side, r.Err, end, side)
	}
	return r
}

func send(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	if string(got) != text {
		t.Fatalf("got %q, want %q", got, text)
	}
}

func expectEnd(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v, want io.EOF", n, err)
	}
}

func expectReset(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("read %d bytes, %v, want a reset", n, err)
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}
