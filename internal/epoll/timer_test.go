package epoll

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// TestTimersAgainstModel sets, puts off, brings forward and stops timers at
// random, in a time of its own, and holds each against when it was due: called
// once, not before, and not more than a tick after.
func TestTimersAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := &Loop{now: int64(rng.IntN(1e12))}
		l.wheel.start(l.now)
		const timers = 50
		var due [timers]int64 // 0: not set
		all := make([]*Timer, timers)
		for i := range all {
			all[i] = &Timer{Do: expirerFunc(func() {
				if due[i] == 0 || l.now < due[i] {
					t.Errorf("seed %d: timer %d called at %d, due at %d", seed, i, l.now, due[i])
				}
				due[i] = 0
				if rng.IntN(4) == 0 { // setting it from within
					due[i] = l.now + int64(rng.IntN(int(time.Minute)))
					l.Set(all[i], due[i])
				}
			})}
		}
		for range 3000 {
			i := rng.IntN(timers)
			switch rng.IntN(4) {
			case 0:
				l.Stop(all[i])
				due[i] = 0
			case 1:
				due[i] = l.now + int64(rng.IntN(int(time.Minute)))
				l.Set(all[i], due[i])
			case 2:
				due[i] = max(1, l.now+int64(rng.IntN(int(time.Second)))-int64(time.Second/2))
				l.Set(all[i], due[i])
			default:
				checkNext(t, l, due[:])
				l.now += int64(rng.IntN(int(time.Second) << rng.IntN(5)))
				l.wheel.advance(l)
				for i, d := range due {
					if d != 0 && d+int64(Tick) <= l.now && all[i].slot <= l.now/int64(Tick) {
						t.Fatalf("seed %d: timer %d, due at %d, not called at %d", seed, i, d, l.now)
					}
				}
			}
		}
	}
}

// checkNext shows that the wheel is looked at before any timer is a tick late.
func checkNext(t *testing.T, l *Loop, due []int64) {
	t.Helper()
	next, set := l.wheel.next(), false
	for i, d := range due {
		if d == 0 {
			continue
		}
		set = true
		if next == 0 || next > max(d, l.now)+2*int64(Tick) {
			t.Fatalf("timer %d is due at %d, the wheel looks again at %d (now %d)", i, d, next, l.now)
		}
	}
	if !set && next != 0 && l.wheel.count == 0 {
		t.Fatalf("there is no timer, the wheel looks again at %d", next)
	}
}

// TestTimerWakesLoop shows that a loop at rest gets up for a timer, also for
// one that is set earlier than what it waits for.
func TestTimerWakesLoop(t *testing.T) {
	l := start(t, nil)
	fired := make(chan int64, 2)
	late := &Timer{Do: expirerFunc(func() {})}
	soon := &Timer{Do: expirerFunc(func() { fired <- sock.Now() })}
	do(t, l, func() { l.Set(late, l.Now()+int64(time.Hour)) })
	do(t, l, func() {}) // it had to rest between the two
	var due int64
	for range 2 {
		do(t, l, func() { due = l.Now() + int64(2*Tick); l.Set(soon, due) })
		if at := receive(t, fired); at < due {
			t.Errorf("called %d ns too early", due-at)
		}
	}
	do(t, l, func() {
		if soon.Due() != 0 || late.Due() == 0 {
			t.Errorf("due: %d, %d", soon.Due(), late.Due())
		}
	})
}

// TestPuttingOffCostsNothing shows that to put a timer off is a store.
func TestPuttingOffCostsNothing(t *testing.T) {
	l := &Loop{now: sock.Now()}
	l.wheel.start(l.now)
	timer := &Timer{Do: expirerFunc(func() {})}
	l.Set(timer, l.now+int64(time.Second))
	slot := timer.slot
	if n := testing.AllocsPerRun(100, func() { l.Set(timer, timer.Due()+int64(time.Second)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if timer.slot != slot {
		t.Error("the timer was moved")
	}
}

// TestFarTimersAreGathered shows that any number of timers that are due much
// later wake the loop some 16 times in a round of 20 s.
func TestFarTimersAreGathered(t *testing.T) {
	l := &Loop{now: sock.Now()}
	l.wheel.start(l.now)
	timers := make([]Timer, 5000)
	for i := range timers {
		timers[i].Do = expirerFunc(func() { t.Error("called") })
		l.Set(&timers[i], l.now+int64(time.Hour))
		l.now += int64(time.Millisecond)
		l.wheel.advance(l)
	}
	wakes := 0
	for end := l.now + wheelSlots*int64(Tick); ; wakes++ {
		next := l.wheel.next()
		if next > end {
			break
		}
		l.now = next
		l.wheel.advance(l)
	}
	if wakes > wheelSlots/gathered+1 {
		t.Errorf("%d wakes in a round", wakes)
	}
}
