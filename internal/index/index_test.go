package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMapIsAMap makes random changes to a map and to a plain one, and compares
// every version with what it was when it was made: later ones share with it.
func TestMapIsAMap(t *testing.T) {
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var m Map[int]
		plain := map[string]int{}
		var versions []Map[int]
		var wants []map[string]int
		for range 30 {
			changes := make([]Change[int], rnd.IntN(1+rnd.IntN(200)))
			for i := range changes {
				c := Change[int]{fmt.Sprint(rnd.IntN(800)), rnd.Int(), rnd.IntN(3) == 0}
				if c.Gone {
					delete(plain, c.Key)
				} else {
					plain[c.Key] = c.Value
				}
				changes[i] = c
			}
			m = m.With(changes)
			versions, wants = append(versions, m), append(wants, maps.Clone(plain))
		}
		for i := range versions {
			v := &versions[i]
			if diff := cmp.Diff(wants[i], maps.Collect(v.All())); diff != "" {
				t.Fatalf("seed %d, version %d (-want +got):\n%s", seed, i, diff)
			}
			if v.Len() != len(wants[i]) {
				t.Fatalf("seed %d, version %d: %d entries, want %d", seed, i, v.Len(), len(wants[i]))
			}
			for n := range 800 {
				key := fmt.Sprint(n)
				got, ok := v.Get(key)
				if want, there := wants[i][key]; got != want || ok != there {
					t.Fatalf("seed %d, version %d: %q is %d, %t; want %d, %t", seed, i, key, got, ok, want, there)
				}
			}
		}
	}
}

// TestMapShares holds what a change copies: the shard it lies in.
func TestMapShares(t *testing.T) {
	changes := make([]Change[int], 15_000)
	for i := range changes {
		changes[i] = Change[int]{Key: fmt.Sprint(i), Value: i}
	}
	var none Map[int]
	m := none.With(changes)
	next := m.With([]Change[int]{{Key: "7", Value: 8}, {Key: "7", Value: 9}})
	if len(m.shards) < len(changes)/mostPerShard || len(next.shards) != len(m.shards) {
		t.Fatalf("%d shards, then %d", len(m.shards), len(next.shards))
	}
	for i := range m.shards {
		entries := m.shards[i].entries
		if len(entries) > 2*mostPerShard || len(entries) == 0 {
			t.Fatalf("a shard has %d entries", len(entries))
		}
		holds := slices.ContainsFunc(entries, func(e entry[int]) bool { return e.key == "7" })
		if shared := &next.shards[i].entries[0] == &entries[0]; shared == holds {
			t.Errorf("shard %d is shared: %t; it holds what changed: %t", i, shared, holds)
		}
	}
	if same := m.With(nil); &same.shards[0] != &m.shards[0] {
		t.Error("no change copied something")
	}
}

func BenchmarkGet(b *testing.B) {
	plain := map[string]int{}
	var changes []Change[int]
	var keys []string
	for i := range 15_000 {
		key := fmt.Sprintf("host-%d.example.com", i)
		keys, plain[key] = append(keys, key), i
		changes = append(changes, Change[int]{Key: key, Value: i})
	}
	var none Map[int]
	m := none.With(changes)
	for _, spread := range []int{1, len(keys)} {
		b.Run(fmt.Sprintf("shards/keys=%d", spread), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i = (i + 7919) % spread {
				if _, ok := m.Get(keys[i]); !ok {
					b.Fatal("missing")
				}
			}
		})
		b.Run(fmt.Sprintf("plain/keys=%d", spread), func(b *testing.B) {
			for i := 0; b.Loop(); i = (i + 7919) % spread {
				if _, ok := plain[keys[i]]; !ok {
					b.Fatal("missing")
				}
			}
		})
	}
}
