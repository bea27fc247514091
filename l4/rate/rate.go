// Package rate bounds how often each of any number of clients may do something,
// in memory of a fixed size.
package rate

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// cells is how many buckets a Table has in each of its two rows: at 8 bytes
// each, 1 MB in all.
const cells = 1 << 16

// Table is a bucket of tokens for each client. Its memory is fixed, whatever
// number of clients come: a client has two buckets, found by hashes that nobody
// outside can guess, and is refused only when both are empty, so that it rarely
// pays for another. Safe for concurrent use, without a lock.
type Table struct {
	each  int64 // nanoseconds until a token comes back
	most  int64 // how far ahead of now a bucket that still has a token may be
	seeds [2]maphash.Seed
	// rows are the buckets, each by the time at which it is full again; one that
	// has as many tokens less is ahead of now by as many times each.
	rows [2][]atomic.Int64
}

// New allows each client perSecond, which is at least 1, on the average, and as
// many at once.
func New(perSecond int) *Table {
	n := int64(max(perSecond, 1))
	t := &Table{each: max(int64(time.Second)/n, 1)}
	t.most = (n - 1) * t.each
	for i := range t.rows {
		t.seeds[i] = maphash.MakeSeed()
		t.rows[i] = make([]atomic.Int64, cells)
	}
	return t
}

// Allow takes a token of a client, which is named by the first address of its
// network, and reports whether there was one. now is sock.Now.
func (t *Table) Allow(client [16]byte, now int64) bool {
	first := t.take(0, &client, now)
	return t.take(1, &client, now) || first
}

func (t *Table) take(row int, client *[16]byte, now int64) bool {
	bucket := &t.rows[row][maphash.Bytes(t.seeds[row], client[:])%cells]
	for {
		full := bucket.Load()
		from := max(full, now)
		if from-now > t.most {
			return false
		}
		if bucket.CompareAndSwap(full, from+t.each) {
			return true
		}
	}
}
