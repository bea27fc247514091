package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// hashing returns a balancer of consistent hashing over targets.
func hashing(t *testing.T, list []Target, slots int) *Balancer {
	t.Helper()
	return NewBalancer(newSet(t), Spec{Targets: list, Algorithm: ConsistentHashing, Slots: slots}, nil)
}

const ringKeys = 20000

// homes returns where each of ringKeys requests goes.
func homes(t *testing.T, b *Balancer) []string {
	t.Helper()
	list := make([]string, ringKeys)
	for i := range list {
		list[i] = mustPick(t, b, choiceOf(i)).Target.Host
	}
	return list
}

// TestRingMoves adds a target to random ones, and takes it away again: only
// what goes to that target moves.
func TestRingMoves(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		weights := make([]int, 1+random.IntN(12))
		sum := 0
		for i := range weights {
			weights[i] = 100
			if round%2 == 1 { // near enough for the points of a weight to stay the same
				weights[i] = 100 + random.IntN(25)
			}
			sum += weights[i]
		}
		slots := 2000 + random.IntN(20000)
		list := targets(append(weights, 110)...)
		before := homes(t, hashing(t, list[:len(weights)], slots))
		random.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		after := homes(t, hashing(t, list, slots))
		added := fmt.Sprintf("192.0.2.%d", len(weights)+1)
		moved := 0
		for i := range before {
			if before[i] == after[i] {
				continue
			}
			if moved++; after[i] != added {
				t.Fatalf("round %d: request %d moved from %s to %s, and %s was added", round, i, before[i], after[i], added)
			}
		}
		share := float64(moved) / ringKeys
		if want := 110 / float64(sum+110); math.Abs(share-want) > 0.3*want {
			t.Errorf("round %d: %.3f of the requests moved, want about %.3f", round, share, want)
		}
	}
}

// TestRingHealth shows that an endpoint that goes down hands its requests to
// several others, and gets the same ones back.
func TestRingHealth(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1, 1, 1, 1), Algorithm: ConsistentHashing, Checks: passive(0)}, nil)
	before := homes(t, b)
	down := b.Endpoints()[2]
	down.Report(Outcome{Kind: OutcomeTimeout}, 1)
	heirs := make(map[string]int)
	for i, home := range homes(t, b) {
		switch {
		case before[i] == down.Target.Host:
			heirs[home]++
		case home != before[i]:
			t.Fatalf("request %d moved from %s to %s, and %s went down", i, before[i], home, down.Target.Host)
		}
	}
	for _, host := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5"} {
		if heirs[host] < ringKeys/5/4/3 {
			t.Errorf("%s inherited %d requests of about %d", host, heirs[host], ringKeys/5/4)
		}
	}
	down.Report(Outcome{Kind: OutcomeStatus, Status: 200}, 2)
	if !slices.Equal(homes(t, b), before) {
		t.Error("after the recovery the requests go elsewhere than before")
	}
}

// TestRingOrder shows that nodes with the same targets agree, in whatever order
// these come.
func TestRingOrder(t *testing.T) {
	list := targets(1, 20, 300, 4000, 5, 5)
	want := homes(t, hashing(t, list, 1000))
	slices.Reverse(list)
	if !slices.Equal(homes(t, hashing(t, list, 1000)), want) {
		t.Error("the order of the targets matters")
	}
}

func TestRingIsBounded(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		slots   int
	}{
		{"fewest slots", []int{1, 65535}, 10},
		{"more targets than slots", make([]int, 40), 10},
		{"heavy", []int{65535, 65535, 65535}, 65536},
		{"light", []int{1, 1, 1}, 65536},
		{"default", []int{100, 100}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.weights {
				tt.weights[i] = max(tt.weights[i], 1)
			}
			b := hashing(t, targets(tt.weights...), tt.slots)
			r := b.wheel.Load().ring
			slots := tt.slots
			if slots == 0 {
				slots = defaultSlots
			}
			if len(r.first) != slots || len(r.points) > slots || len(r.points) == 0 {
				t.Errorf("%d slots and %d points, want %d slots and at most as many points", len(r.first), len(r.points), slots)
			}
			for slot, at := range r.first {
				if int(at) >= len(r.points) {
					t.Fatalf("slot %d leads to point %d of %d", slot, at, len(r.points))
				}
			}
			for i := range 100 {
				mustPick(t, b, choiceOf(i))
			}
		})
	}
}

// TestRingWithoutHash shows that requests without anything to hash go anywhere.
func TestRingWithoutHash(t *testing.T) {
	b := hashing(t, targets(1, 1), 0)
	got := make(map[*Endpoint]int)
	for range 200 {
		got[mustPick(t, b, nil)]++
	}
	if len(got) != 2 {
		t.Errorf("all requests went to %d endpoint", len(got))
	}
}
