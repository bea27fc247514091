package epoll

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

// patience bounds what must happen soon; only a test that fails waits it out.
const patience = 10 * time.Second

func TestMain(m *testing.M) { leak.Main(m) }

// handlerFunc is a Handler.
type handlerFunc func(events uint32)

func (f handlerFunc) Ready(events uint32) { f(events) }

// expirerFunc is an Expirer.
type expirerFunc func()

func (f expirerFunc) Expired() { f() }

// start runs a loop until the test ends.
func start(t *testing.T, setup func(l *Loop)) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(l)
	}
	var joined sync.WaitGroup
	joined.Go(l.Run)
	t.Cleanup(func() {
		l.Close()
		joined.Wait()
	})
	return l
}

// do runs f on the loop and waits for it.
func do(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { f(); close(done) }) {
		t.Fatal("the loop is closed")
	}
	receive(t, done)
}

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing has happened")
	}
	return v
}

// socketPair returns two connected sockets that do not block.
func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if _, err := sock.WriteFD(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestEventsAreEdges(t *testing.T) {
	l := start(t, nil)
	a, b := socketPair(t)
	events := make(chan uint32, 16)
	do(t, l, func() {
		if err := l.Add(a, handlerFunc(func(ev uint32) { events <- ev })); err != nil {
			t.Error(err)
		}
	})
	if ev := receive(t, events); ev != Writable {
		t.Errorf("a new socket: events %#x, want Writable", ev)
	}
	for range 3 { // unread bytes are told with each arrival, and only then
		write(t, b, "bytes")
		if ev := receive(t, events); ev&Readable == 0 || ev&ReadClosed != 0 {
			t.Errorf("bytes have come: events %#x", ev)
		}
	}
	if err := unix.Shutdown(b, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if ev := receive(t, events); ev&ReadClosed == 0 {
		t.Errorf("the peer has closed its side: events %#x", ev)
	}
	do(t, l, func() {})
	if len(events) != 0 {
		t.Errorf("%d events without news", len(events))
	}
}

// TestEventsByLevel tells unread bytes in every turn, until they are read.
func TestEventsByLevel(t *testing.T) {
	l := start(t, nil)
	a, b := socketPair(t)
	done := make(chan int)
	told := 0
	write(t, b, "bytes")
	do(t, l, func() {
		h := handlerFunc(func(uint32) {
			if told++; told == 3 {
				var p [5]byte
				if _, err := sock.ReadFD(a, p[:]); err != nil {
					t.Error(err)
				}
				done <- told
			}
		})
		if err := l.AddLevel(a, Readable, h); err != nil {
			t.Error(err)
		}
	})
	receive(t, done)
	do(t, l, func() {})
	do(t, l, func() {
		if told != 3 {
			t.Errorf("told %d times, want 3", told)
		}
	})
}

// TestStaleEvents shows that the events of a descriptor that was removed within
// the turn are not told, not even to another that has got its number.
func TestStaleEvents(t *testing.T) {
	l := start(t, nil)
	a, b := socketPair(t)
	c, d := socketPair(t)
	var told []string
	var other, again int
	do(t, l, func() {
		victim := handlerFunc(func(uint32) { told = append(told, "victim") })
		_ = l.AddFor(c, Readable, victim)
		_ = l.AddFor(a, Readable, handlerFunc(func(uint32) {
			told = append(told, "first")
			l.Remove(c)
			other, again = socketPair(t)
			_ = unix.Dup3(other, c, unix.O_CLOEXEC)
			_ = l.AddFor(c, Readable, handlerFunc(func(uint32) { told = append(told, "heir") }))
		}))
		write(t, b, "x")
		write(t, d, "x")
	})
	do(t, l, func() {})
	do(t, l, func() {
		if diff := cmp.Diff([]string{"first"}, told); diff != "" {
			t.Error(diff)
		}
		write(t, again, "x")
	})
	do(t, l, func() {})
	do(t, l, func() {
		if diff := cmp.Diff([]string{"first", "heir"}, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPostKeepsOrder(t *testing.T) {
	l := start(t, nil)
	const posters, each = 4, 2000
	var next [posters]int
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				l.Post(func() {
					if next[p] != i {
						t.Errorf("poster %d: function %d runs as %d", p, i, next[p])
					}
					next[p]++
				})
			}
		})
	}
	wg.Wait()
	do(t, l, func() {})
	if want := [posters]int{each, each, each, each}; next != want {
		t.Errorf("functions that ran: %v, want %v", next, want)
	}
}

func TestClose(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for range 10 {
		l.Post(func() { ran++ })
	}
	l.Close()
	l.Close()
	if l.Post(func() { t.Error("ran although the loop was closed") }) {
		t.Error("Post reports true on a closed loop")
	}
	l.Run()
	if ran != 10 {
		t.Errorf("%d functions ran that were posted before, want 10", ran)
	}
}

// TestAgainLetsOthersGoFirst shows that a handler that always has more to do
// neither keeps others from their turn nor the loop from ending.
func TestAgainLetsOthersGoFirst(t *testing.T) {
	l := start(t, nil)
	a, b := socketPair(t)
	events := make(chan uint32, 1)
	turns := 0
	do(t, l, func() {
		var busy handlerFunc
		busy = func(uint32) { turns++; l.Again(busy) }
		l.Again(busy)
		_ = l.AddFor(a, Readable, handlerFunc(func(ev uint32) { events <- ev }))
	})
	write(t, b, "x")
	receive(t, events)
	do(t, l, func() {
		if turns == 0 {
			t.Error("the busy handler had no turn")
		}
	})
}

func TestPanicsAreTold(t *testing.T) {
	type told struct {
		handler bool
		value   any
	}
	panics := make(chan told, 16)
	l := start(t, func(l *Loop) {
		l.Panicked = func(h Handler, v any, stack []byte) {
			if len(stack) == 0 {
				t.Error("no stack")
			}
			panics <- told{h != nil, v}
		}
	})
	a, b := socketPair(t)
	c, d := socketPair(t)
	calm := make(chan uint32, 1)
	timer := &Timer{Do: expirerFunc(func() { panic("timer") })}
	do(t, l, func() {
		_ = l.AddFor(a, Readable, handlerFunc(func(uint32) { panic("ready") }))
		_ = l.AddFor(c, Readable, handlerFunc(func(ev uint32) { calm <- ev }))
		write(t, b, "x")
		write(t, d, "x")
	})
	receive(t, calm)
	l.Post(func() { panic("posted") })
	do(t, l, func() { l.Again(handlerFunc(func(uint32) { panic("again") })) })
	do(t, l, func() { l.Set(timer, l.Now()) })
	var got []told
	for range 4 {
		got = append(got, receive(t, panics))
	}
	want := []told{{true, "ready"}, {false, "posted"}, {true, "again"}, {false, "timer"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(told{})); diff != "" {
		t.Error(diff)
	}
}

// TestIdleLoopTakesNoTurns shows that a loop with nothing to do does nothing.
func TestIdleLoopTakesNoTurns(t *testing.T) {
	l := start(t, nil)
	a, _ := socketPair(t)
	events := make(chan uint32, 1)
	timer := &Timer{Do: expirerFunc(func() {})}
	do(t, l, func() {
		_ = l.Add(a, handlerFunc(func(ev uint32) { events <- ev }))
		l.Set(timer, l.Now()+int64(time.Hour))
	})
	receive(t, events)
	for end := time.Now().Add(patience); !l.asleep.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the loop does not come to rest")
		}
	}
	before := l.Counts()
	time.Sleep(5 * Tick)
	if after := l.Counts(); after != before {
		t.Errorf("at rest the loop went from %+v to %+v", before, after)
	}
}

func TestAddWrongDescriptor(t *testing.T) {
	l := start(t, nil)
	a, _ := socketPair(t)
	do(t, l, func() {
		nop := handlerFunc(func(uint32) {})
		if err := l.Add(-1, nop); !errors.Is(err, unix.EBADF) {
			t.Errorf("error %v, want EBADF", err)
		}
		if err := l.Add(a, nop); err != nil {
			t.Error(err)
		}
		if err := l.Add(a, nop); !errors.Is(err, os.ErrExist) {
			t.Errorf("error %v of a second Add, want EEXIST", err)
		}
		l.Remove(a)
		l.Remove(a)
		l.Remove(1 << 20)
		if err := l.Add(a, nop); err != nil {
			t.Errorf("after Remove: %v", err)
		}
	})
}
