package listeners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// echo serves connections by giving back what they send. A connection is idle
// while it waits for a message of one byte, as an HTTP connection is between
// two requests; the message "w" is an exchange that waits for work.
type echo struct {
	work    chan struct{}
	entered chan *l4.Conn // every connection, if not nil
	panics  bool
}

func (e *echo) ServeConn(_ context.Context, c *l4.Conn) {
	defer c.Close()
	if e.entered != nil {
		e.entered <- c
	}
	if e.panics {
		panic("serving a connection")
	}
	p := make([]byte, 1)
	for c.Idle(true) {
		if _, err := c.Read(p); err != nil {
			return
		}
		c.Idle(false)
		if p[0] == 'w' {
			<-e.work
		}
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

func (*echo) ServePackets(context.Context, *l4.Packets) {}

// logged is an operator's log in memory.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// fixture is a set with what it counts and logs.
type fixture struct {
	*Set
	t       *testing.T
	metrics *telemetry.Metrics
	log     *logged
}

func newFixture(t *testing.T, a l4.Acceptor) *fixture {
	t.Helper()
	f := &fixture{t: t, metrics: telemetry.NewMetrics(telemetry.Options{}), log: new(logged)}
	f.Set = NewSet(a, new(l4.Bans), f.metrics, slog.New(slog.NewTextHandler(f.log, nil)))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is open is closed at once
		f.Shutdown(ctx)
	})
	return f
}

var loopback = netip.MustParseAddr("127.0.0.1")

// spec returns a listener on a port of the system's choice.
func spec(name string) Spec {
	return Spec{Name: name, Addr: loopback, Limits: Limits{Connections: 100}}
}

// use makes want the listeners of the set.
func (f *fixture) use(want ...Spec) {
	f.t.Helper()
	change, err := f.Prepare(want, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	change.Commit(patience)
}

// settled returns spec with the port that the system chose.
func (f *fixture) settled(s Spec) Spec {
	f.t.Helper()
	at, ok := f.Addr(s.Name)
	if !ok {
		f.t.Fatalf("no listener %q", s.Name)
	}
	s.Port = at.Port()
	return s
}

func (f *fixture) dial(name string) net.Conn {
	f.t.Helper()
	at, ok := f.Addr(name)
	if !ok {
		f.t.Fatalf("no listener %q", name)
	}
	return dial(f.t, at)
}

func dial(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// served checks that c is served.
func served(t *testing.T, c net.Conn) {
	t.Helper()
	p := []byte{'x'}
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, p); err != nil || p[0] != 'x' {
		t.Fatalf("the connection is not served: %v", err)
	}
}

// ended checks that c is closed by the other side.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection goes on: %v", err)
	}
}

func TestListen(t *testing.T) {
	f := newFixture(t, &echo{})
	f.use(spec("one"), spec("two"))
	served(t, f.dial("one"))
	served(t, f.dial("two"))
	if _, ok := f.Addr("three"); ok {
		t.Error("a listener that was never wanted has an address")
	}
	if n := f.metrics.Listener("one").Accepted.Load(); n != 1 {
		t.Errorf("%d connections counted, want 1", n)
	}
}

func TestListenEveryAddress(t *testing.T) {
	f := newFixture(t, &echo{})
	f.use(Spec{Name: "all", Limits: Limits{Connections: 10}}, Spec{Name: "six", Addr: netip.IPv6Loopback(), Limits: Limits{Connections: 10}})
	at, _ := f.Addr("all")
	served(t, dial(t, netip.AddrPortFrom(loopback, at.Port())))
	served(t, dial(t, netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())))
	served(t, f.dial("six"))
}

func TestPrepareErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := spec("taken")
	inUse.Port = taken.Addr().(*net.TCPAddr).AddrPort().Port()
	elsewhere := spec("elsewhere")
	elsewhere.Addr = netip.MustParseAddr("192.0.2.1") // for documentation, so nobody's

	f := newFixture(t, &echo{})
	f.use(spec("old"))
	fresh := spec("fresh")
	_, err = f.Prepare([]Spec{inUse, fresh, elsewhere}, 10)
	if err == nil {
		t.Fatal("sockets that cannot be bound were")
	}
	for _, want := range []string{
		fmt.Sprintf(`listening on "127.0.0.1:%d" for listener "taken"`, inUse.Port), "another process has it; stop that one",
		`for listener "elsewhere"`, "this machine has no such address",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	// Nothing has changed.
	served(t, f.dial("old"))
	if _, ok := f.Addr("fresh"); ok {
		t.Error("a listener is there although its change was refused")
	}
}

func TestAdvice(t *testing.T) {
	wrap := func(err error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", err)} }
	for err, want := range map[error]string{
		wrap(syscall.EADDRINUSE):    "reuse_port",
		wrap(syscall.EACCES):        "CAP_NET_BIND_SERVICE",
		wrap(syscall.EPERM):         "CAP_NET_BIND_SERVICE",
		wrap(syscall.EADDRNOTAVAIL): "no such address",
		wrap(syscall.EMFILE):        "LimitNOFILE",
		wrap(syscall.ENFILE):        "LimitNOFILE",
	} {
		if got := advice(err); !strings.HasPrefix(got, ": ") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := advice(wrap(syscall.EINVAL)); got != "" {
		t.Errorf("advice without an idea: %q", got)
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limits  Limits
		most    int
		refused telemetry.Refusal
	}{
		{"of the listener", Limits{Connections: 2}, 100, telemetry.RefusedLimit},
		{"of an address", Limits{Connections: 100, ConnectionsPerAddress: 2}, 100, telemetry.RefusedPerAddress},
		{"of the process", Limits{Connections: 100}, 2, telemetry.RefusedLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, &echo{})
			want := spec("web")
			want.Limits = tt.limits
			change, err := f.Prepare([]Spec{want}, tt.most)
			if err != nil {
				t.Fatal(err)
			}
			change.Commit(patience)
			one, two := f.dial("web"), f.dial("web")
			served(t, one)
			served(t, two)
			ended(t, f.dial("web"))
			if n := f.refused(tt.refused); n != "1" {
				t.Errorf("%s refusals counted, want 1", n)
			}

			// A connection that leaves makes room for another.
			two.Close()
			f.awaitActive("web", 1)
			served(t, f.dial("web"))
			served(t, one)
		})
	}
}

// refused reads the line that counts refusals of a kind on the listener "web".
func (f *fixture) refused(why telemetry.Refusal) string {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == fmt.Sprintf(`bulwark_connections_refused_total{listener="web",reason=%q}`, why) {
			return value
		}
	}
	return "0"
}

// awaitActive polls until a listener has n connections open.
func (f *fixture) awaitActive(name string, n int64) {
	f.t.Helper()
	for end := time.Now().Add(patience); f.metrics.Listener(name).Active.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%d connections are open, want %d", f.metrics.Listener(name).Active.Load(), n)
		}
	}
}

// TestLimitsChangeInPlace shows that other limits need no other socket.
func TestLimitsChangeInPlace(t *testing.T) {
	f := newFixture(t, &echo{})
	want := spec("web")
	f.use(want)
	want = f.settled(want)
	f.use(want) // the same address, now by its number
	old := f.dial("web")
	served(t, old)
	want.Limits.Connections = 1
	f.use(want)
	served(t, old)
	ended(t, f.dial("web"))
	want.Limits.Connections = 2
	f.use(want)
	served(t, f.dial("web"))
}

// TestRename shows that a listener can be renamed while it serves: its socket
// stays open, so that no client is turned away.
func TestRename(t *testing.T) {
	f := newFixture(t, &echo{work: make(chan struct{})})
	want := spec("old")
	f.use(want)
	want = f.settled(want)
	at, _ := f.Addr("old")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Errorf("a client was turned away: %v", err)
				return
			}
			c.Close()
		}
	})
	for i := range 20 {
		want.Name = fmt.Sprintf("name-%d", i)
		f.use(want)
	}
	close(stop)
	clients.Wait()
	if _, ok := f.Addr("old"); ok {
		t.Error("the old name is still there")
	}
	if now, ok := f.Addr("name-19"); !ok || now != at {
		t.Errorf("the new name is at %v, want %v", now, at)
	}
	served(t, dial(t, at))
}

// TestSwapNames shows two listeners changing places.
func TestSwapNames(t *testing.T) {
	f := newFixture(t, &echo{})
	a, b := spec("a"), spec("b")
	f.use(a, b)
	a, b = f.settled(a), f.settled(b)
	f.use(a, b)
	a.Port, b.Port = b.Port, a.Port
	f.use(a, b)
	for _, s := range []Spec{a, b} {
		if at, _ := f.Addr(s.Name); at.Port() != s.Port {
			t.Errorf("%s is at %v, want port %d", s.Name, at, s.Port)
		}
		served(t, f.dial(s.Name))
	}
}

func TestReusePort(t *testing.T) {
	shared := spec("shared")
	shared.ReusePort = true
	one, two := newFixture(t, &echo{}), newFixture(t, &echo{})
	one.use(shared)
	shared = one.settled(shared)
	two.use(shared)
	served(t, one.dial("shared"))

	// With both wanting it, either may go.
	one.use()
	served(t, two.dial("shared"))

	alone := shared
	alone.ReusePort = false
	if _, err := newFixture(t, &echo{}).Prepare([]Spec{alone}, 10); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v, want an address in use", err)
	}
}

// TestReusePortChanges lets others share the port of a listener that serves, and
// not any more: it goes on with the same socket, and with what waits in it.
func TestReusePortChanges(t *testing.T) {
	one := newFixture(t, &echo{})
	one.use(spec("one"))
	alone := one.settled(spec("one"))
	shared := alone
	shared.ReusePort = true
	bindable := func(want bool) {
		t.Helper()
		other := shared
		change, err := newFixture(t, &echo{}).Prepare([]Spec{other}, 10)
		if err == nil {
			change.Discard()
		}
		if (err == nil) != want {
			t.Errorf("another process's listener: %v, want it allowed: %v", err, want)
		}
	}
	kept := one.dial("one")
	served(t, kept)
	bindable(false)
	one.use(shared)
	served(t, kept)
	served(t, one.dial("one"))
	bindable(true)

	renamed := alone // and back, under another name
	renamed.Name = "two"
	one.use(renamed)
	served(t, one.dial("two"))
	renamed.ReusePort = true
	one.use(renamed)
	served(t, one.dial("two"))
	bindable(true)
	renamed.Name = "three"
	one.use(renamed)
	served(t, one.dial("three"))
	bindable(true)
}

func TestDiscard(t *testing.T) {
	f := newFixture(t, &echo{})
	first := spec("web")
	f.use(first)
	second := f.settled(first)
	second.Name = "other"
	change, err := f.Prepare([]Spec{second, spec("more")}, 10)
	if err != nil {
		t.Fatal(err)
	}
	change.Discard()
	served(t, f.dial("web")) // its socket had been handed on
}

func TestRemovedListenerDrains(t *testing.T) {
	e := &echo{work: make(chan struct{}), entered: make(chan *l4.Conn, 8)}
	f := newFixture(t, e)
	f.use(spec("web"))
	idle, active := f.dial("web"), f.dial("web")
	served(t, idle)
	if _, err := active.Write([]byte{'w'}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // both are known, and the active one is at work
		c := <-e.entered
		if c.Client == active.LocalAddr().(*net.TCPAddr).AddrPort() {
			await(t, func() bool { return len(e.work) == 0 && f.busy(c) })
		}
	}
	at, _ := f.Addr("web")
	f.use()
	ended(t, idle)
	await(t, func() bool { // the socket is closed
		c, err := net.Dial("tcp", at.String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})

	e.work <- struct{}{}
	p := make([]byte, 1)
	if _, err := io.ReadFull(active, p); err != nil || p[0] != 'w' {
		t.Fatalf("the exchange under way was not finished: %v", err)
	}
	ended(t, active)
}

// busy reports whether c is within an exchange: it has taken the byte that
// begins one.
func (f *fixture) busy(c *l4.Conn) bool {
	// Nothing is left to be read of what the client has sent.
	n := 0
	raw, err := c.Socket().SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n <= 0 && errors.Is(err, syscall.EAGAIN)
}

func await(t *testing.T, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestShutdownClosesWhatIsLeft(t *testing.T) {
	e := &echo{work: make(chan struct{})}
	f := newFixture(t, e)
	f.use(spec("web"))
	stuck := f.dial("web")
	if _, err := stuck.Write([]byte{'w'}); err != nil {
		t.Fatal(err)
	}
	f.awaitActive("web", 1)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Shutdown(ctx)
	}()
	ended(t, stuck)
	close(e.work) // the exchange notices that its connection is closed
	<-done
	if n := f.metrics.Listener("web").Active.Load(); n != 0 {
		t.Errorf("%d connections count as open", n)
	}
	if _, ok := f.Addr("web"); ok {
		t.Error("a listener is left")
	}
}

// turns serves connections within turns of their socket's loop, as the HTTP
// engine does; each turn lasts until all peers are found to have gone.
type turns struct {
	entered chan struct{}
	stay    atomic.Int64 // peers that have not gone
	late    atomic.Bool  // a turn has waited for the others in vain
}

func (s *turns) ServeConn(_ context.Context, c *l4.Conn) {
	defer c.Close()
	_ = c.Socket().Loop(func() bool {
		s.entered <- struct{}{}
		end := time.Now().Add(patience)
		for !c.Socket().Departed() && time.Now().Before(end) {
			time.Sleep(20 * time.Millisecond)
		}
		for s.stay.Add(-1); s.stay.Load() > 0 && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		s.late.Store(s.late.Load() || !time.Now().Before(end))
		return true
	})
}

func (*turns) ServePackets(context.Context, *l4.Packets) {}

// TestShutdownDoesNotQueue shows that slow exchanges end together when the
// drain is over, not one after the other: closing a socket waits for the call
// under way on it.
func TestShutdownDoesNotQueue(t *testing.T) {
	const connections = 20
	s := &turns{entered: make(chan struct{}, connections)}
	s.stay.Store(connections)
	f := newFixture(t, s)
	f.use(spec("web"))
	for range connections {
		f.dial("web")
		<-s.entered
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.Shutdown(ctx)
	if s.late.Load() {
		t.Errorf("of %d connections some are closed only when the exchanges of others have ended", connections)
	}
}

func TestPanicIsRecovered(t *testing.T) {
	e := &echo{panics: true}
	f := newFixture(t, e)
	f.use(spec("web"))
	ended(t, f.dial("web"))
	f.awaitActive("web", 0)
	if n := f.metrics.Panics.Load(); n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	if s := f.log.String(); !strings.Contains(s, "recovering from a panic in a connection") || !strings.Contains(s, "listener=web") {
		t.Errorf("the log says %q", s)
	}
}

func TestAcceptErrorsPause(t *testing.T) {
	f := newFixture(t, &echo{})
	ln := &failing{errs: []error{
		os.NewSyscallError("accept4", syscall.ECONNABORTED),
		os.NewSyscallError("accept4", syscall.EMFILE),
		os.NewSyscallError("accept4", syscall.EMFILE),
	}}
	l := newListener(f.Set, spec("web"), ln)
	l.acceptLoop()
	if n := f.refused(telemetry.RefusedAccept); n != "2" {
		t.Errorf("%s failed accepts counted, want 2: a client that left is none", n)
	}
	if s := f.log.String(); !strings.Contains(s, "LimitNOFILE") || !strings.Contains(s, "pause=5ms") || !strings.Contains(s, "pause=10ms") {
		t.Errorf("the log says %q", s)
	}
}

// failing is a socket whose accepts fail, and which is closed in the end.
type failing struct{ errs []error }

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: err}
}
func (*failing) Close() error   { return nil }
func (*failing) Addr() net.Addr { return &net.TCPAddr{} }
