package l7

import (
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
)

// idDigits is the length of a request id in hex digits.
const idDigits = 32

// idsPerBatch is how many ids one allocation holds.
const idsPerBatch = 64

// ids hands out request ids, each 128 random bits in hex. It cuts them from a
// batch, so that an id costs no allocation of its own. Safe for concurrent
// use; the zero value is ready.
type ids struct {
	batch atomic.Pointer[idBatch]
}

type idBatch struct {
	text string
	used atomic.Int32
}

func (s *ids) next() string {
	for {
		b := s.batch.Load()
		if b != nil {
			if i := int(b.used.Add(1)) - 1; i < idsPerBatch {
				return b.text[i*idDigits : (i+1)*idDigits]
			}
		}
		s.batch.CompareAndSwap(b, newIDBatch())
	}
}

func newIDBatch() *idBatch {
	var raw [idsPerBatch * idDigits / 2]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return &idBatch{text: hex.EncodeToString(raw[:])}
}
