package udp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTable holds the table against a map, under random changes of few keys and
// of many.
func TestTable(t *testing.T) {
	for _, test := range []struct {
		name string
		keys int
	}{
		{"few", 12},
		{"around the first growth", 40},
		{"many", 5000},
	} {
		t.Run(test.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(test.keys)))
			keys := make([]key, test.keys)
			for i := range keys {
				keys[i] = key{client: [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(i >> 8), 14: byte(i)}, port: uint32(1 + i%7)}
			}
			got, want := newTable(), make(map[key]*Flow)
			for step := range 20 * test.keys {
				k := keys[random.IntN(len(keys))]
				// Some rounds rather fill it, others rather empty it.
				if filling := step/(4*test.keys)%2 == 0; random.IntN(4) > 0 == filling {
					f := &Flow{key: k}
					got.put(f)
					want[k] = f
				} else {
					got.remove(&k)
					delete(want, k)
				}
				wantSame(t, &got, want, &keys[random.IntN(len(keys))])
			}
			for i := range keys {
				wantSame(t, &got, want, &keys[i])
			}
			wantAll(t, &got, want)
		})
	}
}

func wantSame(t *testing.T, got *table, want map[key]*Flow, k *key) {
	t.Helper()
	if f := got.find(k); f != want[*k] {
		t.Fatalf("%v is flow %p, want %p", k.clientAddr(), f, want[*k])
	}
	if got.n != len(want) {
		t.Fatalf("%d flows, want %d", got.n, len(want))
	}
}

func wantAll(t *testing.T, got *table, want map[key]*Flow) {
	t.Helper()
	all := got.all()
	for _, f := range want {
		if !slices.Contains(all, f) {
			t.Fatalf("the flow of %v is not among all", f.key.clientAddr())
		}
	}
	if len(all) != len(want) {
		t.Fatalf("%d flows in all, want %d", len(all), len(want))
	}
}

// TestTableCrowded removes from the midst of runs that wrap around the end.
func TestTableCrowded(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		got, want := newTable(), make(map[key]*Flow)
		for range 12 { // as full as it gets without growing
			f := &Flow{key: key{port: random.Uint32()}}
			got.put(f)
			want[f.key] = f
		}
		if len(got.entries) != leastEntries {
			t.Fatalf("%d entries, want %d", len(got.entries), leastEntries)
		}
		for _, f := range got.all() {
			got.remove(&f.key)
			delete(want, f.key)
			got.remove(&f.key) // which is not there any more
			for k := range want {
				wantSame(t, &got, want, &k)
			}
			wantSame(t, &got, want, &f.key)
		}
	}
}
