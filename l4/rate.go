package l4

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// rateCells is how many counts a Rates has in each of its two rows: at 16 bytes
// each, 2 MB in all.
const rateCells = 1 << 16

// Rates bounds how often each client may do something, by a bucket of tokens
// for each. Its memory is fixed, whatever number of clients come: a client has
// two cells, found by hashes that nobody outside can guess, and is refused only
// when both are empty, so that it rarely pays for another. Safe for concurrent
// use.
type Rates struct {
	perSecond float64 // tokens that come back
	burst     float64 // tokens a cell holds
	seeds     [2]maphash.Seed
	locks     [64]sync.Mutex // of the cells, by their index
	cells     [2][]rateCell
}

type rateCell struct {
	tokens float64
	last   int64 // sock.Now when tokens was right; 0: never used, so full
}

// NewRates allows each client perSecond, on the average, and burst at once. Both
// are at least 1.
func NewRates(perSecond, burst int) *Rates {
	r := &Rates{perSecond: float64(perSecond), burst: float64(max(burst, 1))}
	for i := range r.cells {
		r.seeds[i] = maphash.MakeSeed()
		r.cells[i] = make([]rateCell, rateCells)
	}
	return r
}

// Allow takes a token of a client, and reports whether there was one. now is
// sock.Now.
func (r *Rates) Allow(client netip.Prefix, now int64) bool {
	first := r.take(0, client, now)
	return r.take(1, client, now) || first
}

func (r *Rates) take(row int, client netip.Prefix, now int64) bool {
	at := maphash.Comparable(r.seeds[row], client) % rateCells
	lock := &r.locks[at%uint64(len(r.locks))]
	lock.Lock()
	defer lock.Unlock()
	c := &r.cells[row][at]
	if c.last == 0 {
		c.tokens = r.burst
	} else if passed := time.Duration(now - c.last); passed > 0 {
		c.tokens = min(r.burst, c.tokens+passed.Seconds()*r.perSecond)
	}
	c.last = max(now, 1)
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}
