package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counts picks n times and counts by address.
func counts(t *testing.T, b *Balancer, n int) map[string]int {
	t.Helper()
	m := make(map[string]int)
	for range n {
		e, err := b.Pick(nil)
		if err != nil {
			t.Fatal(err)
		}
		m[e.Addr.String()]++
	}
	return m
}

func targets(weights ...int) []Target {
	list := make([]Target, len(weights))
	for i, w := range weights {
		list[i] = Target{Host: fmt.Sprintf("192.0.2.%d", i+1), Port: 80, Weight: w}
	}
	return list
}

func TestBalancerWheel(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		turns   int
		want    map[string]int // in one turn of the wheel
	}{
		{"one", []int{100}, 1, map[string]int{"192.0.2.1:80": 1}},
		{"equal", []int{100, 100, 100}, 3, map[string]int{"192.0.2.1:80": 1, "192.0.2.2:80": 1, "192.0.2.3:80": 1}},
		{"1:2:7", []int{1, 2, 7}, 10, map[string]int{"192.0.2.1:80": 1, "192.0.2.2:80": 2, "192.0.2.3:80": 7}},
		{"1:2:7, reduced", []int{1000, 2000, 7000}, 10, map[string]int{"192.0.2.1:80": 1, "192.0.2.2:80": 2, "192.0.2.3:80": 7}},
		{"weight 0", []int{3, 0, 1}, 4, map[string]int{"192.0.2.1:80": 3, "192.0.2.3:80": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBalancer(newSet(t), Spec{Targets: targets(tt.weights...)}, nil)
			if n := len(b.wheel.Load().turns); n != tt.turns {
				t.Errorf("the wheel has %d turns, want %d", n, tt.turns)
			}
			for range 3 {
				if diff := cmp.Diff(tt.want, counts(t, b, tt.turns)); diff != "" {
					t.Errorf("one turn of the wheel (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestBalancerSpread shows that an endpoint's turns lie at even distances.
func TestBalancerSpread(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 2, 7)}, nil)
	run := 0
	for range 30 {
		e, err := b.Pick(nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Target.Weight == 7 {
			run++
		} else {
			run = 0
		}
		if run > 4 {
			t.Fatalf("%d turns in a row for the heaviest of 1:2:7", run)
		}
	}
}

func TestBalancerWheelIsBounded(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(65535, 65534, 1)}, nil)
	turns := b.wheel.Load().turns
	if n := len(turns); n > maxTurns+2 {
		t.Errorf("the wheel has %d turns, at most %d are wanted", n, maxTurns)
	}
	n := make(map[string]int)
	for _, e := range turns {
		n[e.Target.Host]++
	}
	if n["192.0.2.3"] != 1 {
		t.Errorf("the lightest has %d turns, want 1", n["192.0.2.3"])
	}
	if d := n["192.0.2.1"] - n["192.0.2.2"]; d < -1 || d > 1 {
		t.Errorf("nearly equal weights have %d and %d turns", n["192.0.2.1"], n["192.0.2.2"])
	}
}

func TestBalancerWithoutEndpoints(t *testing.T) {
	for name, list := range map[string][]Target{"no targets": nil, "all of weight 0": targets(0, 0)} {
		if _, err := NewBalancer(newSet(t), Spec{Targets: list}, nil).Pick(nil); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("%s: %v, want ErrNoEndpoint", name, err)
		}
	}
}

func TestBalancerTried(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(7, 2, 1)}, nil)
	tried := make(map[netip.AddrPort]bool)
	isTried := func(a netip.AddrPort) bool { return tried[a] }
	for range 3 {
		e, err := b.Pick(&Choice{Tried: isTried})
		if err != nil {
			t.Fatal(err)
		}
		if tried[e.Addr] {
			t.Fatalf("%v was picked again while others were left", e.Addr)
		}
		tried[e.Addr] = true
	}
	// All are tried: one of them is better than none.
	if e, err := b.Pick(&Choice{Tried: isTried}); err != nil || !tried[e.Addr] {
		t.Errorf("with all tried: %v, %v", e, err)
	}
}

func TestBalancerAdopts(t *testing.T) {
	s := newSet(t)
	b := NewBalancer(s, Spec{Targets: targets(1, 2)}, nil)
	if NewBalancer(s, Spec{Targets: targets(1, 2)}, b) != b {
		t.Error("a balancer of the same targets was not adopted")
	}
	for name, other := range map[string]*Balancer{
		"other weights": NewBalancer(s, Spec{Targets: targets(2, 1)}, b),
		"other targets": NewBalancer(s, Spec{Targets: targets(1, 2, 3)}, b),
		"another set":   NewBalancer(newSet(t), Spec{Targets: targets(1, 2)}, b),
	} {
		if other == b {
			t.Errorf("%s: the old balancer was adopted", name)
		}
	}
}

func TestEndpointHost(t *testing.T) {
	tests := []struct {
		target      Target
		http, https string
	}{
		{Target{Host: "192.0.2.1", Port: 80, Weight: 1}, "192.0.2.1", "192.0.2.1:80"},
		{Target{Host: "192.0.2.1", Port: 443, Weight: 1}, "192.0.2.1:443", "192.0.2.1"},
		{Target{Host: "192.0.2.1", Port: 8080, Weight: 1}, "192.0.2.1:8080", "192.0.2.1:8080"},
		{Target{Host: "2001:db8::1", Port: 80, Weight: 1}, "[2001:db8::1]", "[2001:db8::1]:80"},
	}
	for _, tt := range tests {
		e, err := NewBalancer(newSet(t), Spec{Targets: []Target{tt.target}}, nil).Pick(nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Host(false) != tt.http || e.Host(true) != tt.https {
			t.Errorf("%v: %q and %q, want %q and %q", tt.target, e.Host(false), e.Host(true), tt.http, tt.https)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 2, 7)}, nil)
	if n := testing.AllocsPerRun(1000, func() { _, _ = b.Pick(nil) }); n != 0 {
		t.Errorf("%v allocations per Pick, want none", n)
	}
}
