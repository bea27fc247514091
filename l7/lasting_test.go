package l7

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
)

var errRevoked = errors.New("revoked")

// judged returns an exchange whose client was asked for a certificate.
func judged(t testing.TB, l *Lasting) (*fixture, *Exchange, *fakeWire) {
	f := newFixture(t, nil)
	f.Lasting = l
	x, w := request(t, "GET", "/shop")
	info := *x.Conn
	info.TLS = &l4.TLS{Asked: true}
	x.Conn = &info
	return f, x, w
}

// An exchange is broken off from outside while it lasts, is logged as that, and is
// known to nobody when it has ended.
func TestLastingIsBrokenOff(t *testing.T) {
	woken := 0
	l := &Lasting{Wake: func() { woken++ }}
	f, x, w := judged(t, l)
	f.upstream.forward = func(x *Exchange) error {
		if l.Take(sock.Now()-int64(1e9), func(*Exchange, func(error)) func() { t.Error("one that is young was taken"); return func() {} }) != true {
			t.Error("the exchange is not known")
		}
		if l.Take(math.MaxInt64, func(got *Exchange, end func(error)) func() {
			if got != x {
				t.Error("another exchange was taken")
			}
			return func() { end(errRevoked) } // just when it ends
		}) {
			t.Error("it is left after it was taken")
		}
		return f.upstream.answerOK(x)
	}
	f.Serve(x)
	if woken != 1 {
		t.Errorf("woken %d times, want once", woken)
	}
	if x.Reason() != ReasonCertificate || !errors.Is(x.Err(), errRevoked) {
		t.Errorf("it has ended with %v, %v", x.Reason(), x.Err())
	}
	if len(w.aborted) == 0 || w.aborted[0] != ReasonCertificate {
		t.Errorf("its wire was %s", w.answered())
	}
	if l.Take(math.MaxInt64, nil) {
		t.Error("it is known after its end")
	}
}

// What a plugin says of the client after the exchange was taken over is said to who
// takes it over again.
func TestLastingIsCertifiedLate(t *testing.T) {
	l := &Lasting{Wake: func() {}}
	f, x, _ := judged(t, l)
	var seen []int
	left := 0
	take := func(x *Exchange, _ func(error)) func() {
		seen = append(seen, len(x.Certified()))
		return func() { left++ }
	}
	f.upstream.forward = func(x *Exchange) error {
		l.Take(math.MaxInt64, take)
		x.AddCertified(Certified{Kind: "late"})
		l.Take(math.MaxInt64, take)
		return f.upstream.answerOK(x)
	}
	f.Serve(x)
	if len(seen) != 2 || seen[0] != 0 || seen[1] != 1 || left != 2 {
		t.Errorf("taken over with %v certificates, and left %d times; want [0 1] and 2", seen, left)
	}
}

// A panic leaves nothing behind.
func TestLastingSurvivesPanic(t *testing.T) {
	l := &Lasting{Wake: func() {}}
	f, x, _ := judged(t, l)
	f.upstream.forward = func(*Exchange) error { panic("a hook") }
	f.Serve(x)
	if l.Take(math.MaxInt64, nil) {
		t.Error("it is known after its end")
	}
}

// Any number may come, be taken, and leave at once.
func TestLastingAtOnce(t *testing.T) {
	l := &Lasting{Wake: func() {}}
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 500 {
				x := NewExchange()
				x.Conn, x.ID, x.Wire = &l4.Info{TLS: &l4.TLS{Asked: true}}, NewID(), new(fakeWire)
				x.pipeline, x.Route = &Pipeline{Lasting: l}, new(Route)
				x.enterLasting()
				x.AddCertified(Certified{Kind: "k"})
				x.leaveLasting()
				x.Release()
			}
		})
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	for {
		select {
		case <-done:
			if l.Take(math.MaxInt64, nil) {
				t.Error("some are left")
			}
			return
		default:
			l.Take(math.MaxInt64, func(x *Exchange, _ func(error)) func() {
				if x.Conn == nil || x.Route == nil {
					t.Error("an exchange was taken after its release")
				}
				return func() {}
			})
		}
	}
}

// A short exchange takes no memory for it.
func TestLastingAllocations(t *testing.T) {
	l := &Lasting{Wake: func() {}}
	x := NewExchange()
	x.Conn, x.ID, x.Wire = &l4.Info{TLS: &l4.TLS{Asked: true}}, NewID(), new(fakeWire)
	x.pipeline, x.Route = &Pipeline{Lasting: l}, new(Route)
	if n := testing.AllocsPerRun(100, func() {
		x.enterLasting()
		x.leaveLasting()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkLasting(b *testing.B) {
	l := &Lasting{Wake: func() {}}
	x := NewExchange()
	x.Conn, x.ID, x.Wire = &l4.Info{TLS: &l4.TLS{Asked: true}}, NewID(), new(fakeWire)
	x.pipeline, x.Route = &Pipeline{Lasting: l}, new(Route)
	for b.Loop() {
		x.enterLasting()
		x.leaveLasting()
	}
}
