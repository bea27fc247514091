package compression

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
)

// TestEncoderBound takes encoders until there is no more room, and gives them
// back in both ways.
func TestEncoderBound(t *testing.T) {
	inUse := new(atomic.Int64)
	e, err := newEncoders(Levels{Zstd: 1, Br: 4, Gzip: 5}, inUse)
	if err != nil {
		t.Fatal(err)
	}
	f := e.take(codingBr)
	inUse.Store(maxEncoderBytes)
	for c := range codings {
		if e.take(c) != nil {
			t.Errorf("an encoder of %s beyond the bound", codingNames[c])
		}
	}
	if inUse.Load() != maxEncoderBytes {
		t.Errorf("what was refused counts: %d", inUse.Load())
	}
	inUse.Store(e.bytes[codingBr])
	var content bytes.Buffer
	if err := f.Write(&content, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(&content); err != nil || content.Len() == 0 || inUse.Load() != 0 {
		t.Errorf("closing: %v, %d bytes, %d in use", err, content.Len(), inUse.Load())
	}
	g := e.take(codingZstd)
	if err := g.Write(io.Discard, []byte("text")); err != nil {
		t.Fatal(err)
	}
	g.Abort()
	if inUse.Load() != 0 {
		t.Errorf("%d in use after all were given back", inUse.Load())
	}
}
