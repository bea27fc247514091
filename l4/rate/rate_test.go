package rate

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// client returns the name of the i-th client.
func client(i int) (name [16]byte) {
	binary.BigEndian.PutUint64(name[:], uint64(i))
	return name
}

// allowed returns how many of n the i-th client may.
func (t *Table) allowed(i, n int, now time.Duration) (count int) {
	for range n {
		if t.Allow(client(i), int64(now)) {
			count++
		}
	}
	return count
}

func TestTable(t *testing.T) {
	type step struct {
		client int
		now    time.Duration
		want   int // of a hundred
	}
	for _, test := range []struct {
		name      string
		perSecond int
		steps     []step
	}{
		{"one", 1, []step{{1, 1, 1}, {1, time.Second, 0}, {1, time.Second + 1, 1}, {1, time.Hour, 1}}},
		{"five", 5, []step{
			{1, time.Second, 5},
			{2, time.Second, 5},
			{1, 1400 * time.Millisecond, 2},
			{1, time.Hour, 5},
			{1, time.Second, 0}, // the time went back
			{2, time.Hour - 1, 5},
		}},
		{"three, which a second is no multiple of", 3, []step{{1, 1, 3}, {1, 2 * time.Second, 3}, {1, 2*time.Second + 350*time.Millisecond, 1}}},
		{"less than one", 0, []step{{1, 1, 1}, {1, 2, 0}}},
		{"very many", 10_000_000, []step{{1, 1, 100}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := New(test.perSecond)
			for i, s := range test.steps {
				if n := table.allowed(s.client, 100, s.now); n != s.want {
					t.Errorf("step %d: %d, want %d", i, n, s.want)
				}
			}
		})
	}
}

// TestTableLikeABucket holds the table against a plain bucket of tokens.
func TestTableLikeABucket(t *testing.T) {
	const perSecond, clients = 8, 4
	each := time.Second / perSecond
	table, random := New(perSecond), rand.New(rand.NewPCG(7, 7))
	tokens, now := [clients]int{perSecond, perSecond, perSecond, perSecond}, each
	for range 100_000 {
		if random.IntN(4) == 0 {
			n := random.IntN(3)
			now += time.Duration(n) * each
			for i := range tokens {
				tokens[i] = min(perSecond, tokens[i]+n)
			}
		}
		i := random.IntN(clients)
		want := tokens[i] > 0
		if want {
			tokens[i]--
		}
		if got := table.Allow(client(i), int64(now)); got != want {
			t.Fatalf("at %v client %d: %t, want %t", now, i, got, want)
		}
	}
}

// TestTableIsShared lets more clients come than have buckets of their own: few of
// them pay for others, and no more than the buckets have are let in.
func TestTableIsShared(t *testing.T) {
	const many, fresh = cells / 8, 2000
	table := New(1)
	for i := range many {
		table.Allow(client(i), 1)
	}
	refused := 0
	for i := range fresh {
		if !table.Allow(client(many+i), 1) {
			refused++
		}
	}
	// Of the buckets of a row an eighth is empty at first, of the clients with two
	// such a 64th.
	if refused > fresh/16 {
		t.Errorf("%d of %d new clients pay for others", refused, fresh)
	}
	allowed := 0
	for i := range 16 * cells {
		if table.Allow(client(i), 1) {
			allowed++
		}
	}
	if allowed > 2*cells {
		t.Errorf("%d are let in by %d buckets", allowed, 2*cells)
	}
}

// TestTableConcurrent takes from many goroutines: no more come out than there
// are tokens, and one for each goroutine that was between its two buckets.
func TestTableConcurrent(t *testing.T) {
	const workers, tokens = 8, 1000
	table := New(tokens)
	var mu sync.Mutex
	total := 0
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			n := table.allowed(1, tokens, 1)
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	all.Wait()
	if total < tokens || total > tokens+workers {
		t.Errorf("%d allowed, want %d", total, tokens)
	}
}

func TestTableDoesNotAllocate(t *testing.T) {
	table, one := New(1), client(1)
	if n := testing.AllocsPerRun(100, func() { table.Allow(one, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
