package l4

import (
	"net/netip"
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
