package health

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// TestSlots holds who gets what there is of slots.
func TestSlots(t *testing.T) {
	s := newSlots(8)
	a, b := s.join(), s.join() // two for each alone, four for both
	takes := func(h *share, want int) {
		t.Helper()
		n := 0
		for n < 100 && h.take() {
			n++
		}
		if n != want {
			t.Fatalf("%d slots were to be had, want %d", n, want)
		}
	}
	takes(a, 6)
	takes(b, 2)
	a.give()
	takes(a, 1) // it has waited longer
	a.give()
	takes(b, 1)
	a.give()
	takes(b, 0)
	takes(a, 1)
	a.rest()
	b.rest()
	for range 3 {
		b.give()
	}
	takes(a, 1)
	c := s.join() // one for each alone, five for all, all of which a has
	takes(c, 1)
	for range 6 {
		a.give()
	}
	a.leave()
	c.give()
	c.leave()
	takes(b, 8)
	for range 8 {
		b.give()
	}
	b.leave()
	if s.extra != 0 || len(s.queue) != 0 || len(s.shares) != 0 {
		t.Errorf("left: %+v", s)
	}
}

// TestSlotsOfMany has more shares than there are slots: each has its turn.
func TestSlotsOfMany(t *testing.T) {
	s := newSlots(4)
	var all []*share
	for range 10 {
		all = append(all, s.join())
	}
	held := make([]*share, 0, 4)
	had := make(map[*share]int)
	for range 100 {
		for _, h := range all {
			if h.take() {
				held = append(held, h)
				had[h]++
			}
		}
		if len(held) != 4 {
			t.Fatalf("%d slots are taken, want 4", len(held))
		}
		for _, h := range held {
			h.give()
		}
		held = held[:0]
	}
	for i, h := range all {
		if had[h] < 30 {
			t.Errorf("share %d had %d slots, want about 40", i, had[h])
		}
	}
}

// TestHangingTargetsStarveNobody fills all slots with the probes of upstreams
// whose targets hang: those of another go on as ever.
func TestHangingTargetsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, hanging := newFake(), newFake()
		hanging.takes = time.Hour
		set, all := newSet(t), newSlots(maxProbes)
		begin := func(f *fake, net byte, endpoints int) {
			var addrs []string
			for i := range endpoints {
				addrs = append(addrs, netip.AddrFrom4([4]byte{192, net, byte(i >> 8), byte(i)}).String())
			}
			spec := Spec{Healthy: time.Second, Unhealthy: time.Second, Concurrency: maxProbes, Balancer: newBalancer(t, set, nil, addrs...)}
			c := startChecker(spec, f.send, all, new(telemetry.Counter), slog.New(slog.DiscardHandler))
			t.Cleanup(c.stop)
		}
		begin(hanging, 1, maxProbes)
		begin(hanging, 2, maxProbes)
		pass(30 * time.Second)
		begin(f, 3, 5)
		pass(30 * time.Second)
		for i := range 5 {
			if n := f.probes(fmt.Sprintf("192.3.0.%d", i)); n < 25 {
				t.Errorf("endpoint %d was probed %d times, want about 30", i, n)
			}
		}
	})
}
