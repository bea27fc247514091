package l4

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestBans(t *testing.T) {
	var b Bans
	addr := netip.MustParseAddr
	if b.Has(addr("192.0.2.1")) {
		t.Error("an empty table has a ban")
	}
	b.Add(addr("192.0.2.1"), time.Hour, "rate")
	b.Add(addr("2001:db8::1"), time.Hour, "rate")
	b.Add(addr("::ffff:192.0.2.9"), time.Minute, "glitch")
	b.Add(addr("192.0.2.8"), 0, "nothing")
	for a, want := range map[string]bool{
		"192.0.2.1": true, "::ffff:192.0.2.1": true, "192.0.2.2": false, "192.0.2.8": false, "192.0.2.9": true,
		"2001:db8::1": true, "2001:db8::ffff:1%eth0": true, "2001:db8:0:1::1": false,
	} {
		if got := b.Has(addr(a)); got != want {
			t.Errorf("%s banned: %t, want %t", a, got, want)
		}
	}
	if b.Len() != 3 {
		t.Errorf("%d bans, want 3", b.Len())
	}
}

// TestBansEnd lets a ban end: it is gone at the next look.
func TestBansEnd(t *testing.T) {
	var b Bans
	a := netip.MustParseAddr("192.0.2.1")
	b.Add(a, time.Nanosecond, "rate")
	time.Sleep(time.Millisecond)
	if b.Has(a) || b.Len() != 0 {
		t.Error("a ban outlives its time")
	}
}

// TestBansBound fills the table: it stays within its bound, and the longest bans
// stay.
func TestBansBound(t *testing.T) {
	var b Bans
	for i := range 2 * maxBans {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.Add(a, time.Hour+time.Duration(i)*time.Second, "rate")
	}
	if n := b.Len(); n > maxBans || n < maxBans/2 {
		t.Errorf("%d bans, want at most %d", n, maxBans)
	}
	last := 2*maxBans - 1
	if !b.Has(netip.AddrFrom4([4]byte{10, byte(last >> 16), byte(last >> 8), byte(last)})) {
		t.Error("the longest ban was dropped")
	}
	counted := 0
	for i := range b.shards {
		counted += len(b.shards[i].bans)
	}
	if counted != b.Len() {
		t.Errorf("%d bans are counted, there are %d", b.Len(), counted)
	}
}

func TestRates(t *testing.T) {
	r := NewRates(10, 5)
	client := func(i int) netip.Prefix { return ClientOf(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i))) }
	allowed := func(i int, now time.Duration) (n int) {
		for range 100 {
			if r.Allow(client(i), int64(now)) {
				n++
			}
		}
		return n
	}
	if n := allowed(1, time.Second); n != 5 {
		t.Errorf("%d at once, want 5", n)
	}
	if n := allowed(2, time.Second); n != 5 {
		t.Errorf("%d of another client, want 5", n)
	}
	if n := allowed(1, 1200*time.Millisecond); n != 2 {
		t.Errorf("%d after 200 ms, want 2", n)
	}
	if n := allowed(1, time.Hour); n != 5 {
		t.Errorf("%d after an hour, want 5", n)
	}
	if n := allowed(1, time.Second); n != 0 {
		t.Errorf("%d with a time that went back, want 0", n)
	}
}

// TestRatesConcurrent takes from many goroutines: no more come out than there
// are tokens, and one for each goroutine that was between its two cells.
func TestRatesConcurrent(t *testing.T) {
	r := NewRates(1, 1000)
	client := ClientOf(netip.MustParseAddr("2001:db8::1"))
	var mu sync.Mutex
	total := 0
	var all sync.WaitGroup
	const workers = 8
	for range workers {
		all.Go(func() {
			n := 0
			for range 1000 {
				if r.Allow(client, 1) {
					n++
				}
			}
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	all.Wait()
	if total < 1000 || total > 1000+workers {
		t.Errorf("%d allowed, want 1000", total)
	}
}

func TestRatesDoNotAllocate(t *testing.T) {
	r := NewRates(1, 1)
	client := ClientOf(netip.MustParseAddr("2001:db8::1"))
	if n := testing.AllocsPerRun(100, func() { r.Allow(client, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
