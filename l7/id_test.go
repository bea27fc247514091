package l7

import (
	"regexp"
	"sync"
	"testing"
)

func TestIDs(t *testing.T) {
	const workers, each = 4, 5000
	hex := regexp.MustCompile(`^[0-9a-f]{32}$`)
	var mu sync.Mutex
	seen := make(map[string]bool)
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			own := make([]string, each)
			for i := range own {
				own[i] = NewID()
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range own {
				if !hex.MatchString(id) {
					t.Errorf("id %q is not 32 hex digits", id)
				}
				seen[id] = true
			}
		})
	}
	work.Wait()
	if len(seen) != workers*each {
		t.Errorf("%d ids of %d are unique", len(seen), workers*each)
	}
}

// TestIDsUseAllDigits shows that every digit of an id varies.
func TestIDsUseAllDigits(t *testing.T) {
	var at [IDDigits]map[byte]bool
	for range 1000 {
		id := NewID()
		for i := range at {
			if at[i] == nil {
				at[i] = make(map[byte]bool)
			}
			at[i][id[i]] = true
		}
	}
	for i := range at {
		if len(at[i]) != 16 {
			t.Errorf("digit %d takes %d values in 1000 ids", i, len(at[i]))
		}
	}
}

func TestPutIDDoesNotAllocate(t *testing.T) {
	var b [IDDigits]byte
	if n := testing.AllocsPerRun(1000, func() { PutID(b[:]) }); n != 0 {
		t.Errorf("%v allocations per id", n)
	}
}
