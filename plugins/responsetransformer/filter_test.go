package responsetransformer

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestFilterBound gathers content piece by piece up to the bound, and beyond.
func TestFilterBound(t *testing.T) {
	piece := bytes.Repeat([]byte(" "), 1<<20)
	f := &filter{rules: &rules{remove: []string{"gone"}}}
	var got strings.Builder
	for range maxContent/len(piece) - 1 {
		if err := f.Write(&got, piece); err != nil {
			t.Fatal(err)
		}
	}
	end := []byte(`{"gone":1,"kept":2}`)
	if err := f.Write(&got, append(piece[:len(piece)-len(end)], end...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(&got); err != nil || got.String() != `{"kept":2}` {
		t.Errorf("at the bound: %q, %v", got.String(), err)
	}

	f = &filter{rules: &rules{}}
	for range maxContent / len(piece) {
		if err := f.Write(&got, piece); err != nil {
			t.Fatal(err)
		}
	}
	got.Reset()
	err := f.Write(&got, []byte(" "))
	f.Abort()
	e, ok := errors.AsType[*l7.Error](err)
	if !ok || e.Reason != l7.ReasonOverLimit || e.Side != l7.SideUpstream || got.Len() != 0 {
		t.Errorf("beyond the bound: %v, %q", err, got.String())
	}
	if f.block != nil {
		t.Error("the storage was not given back")
	}
}

// wantNoRoom fails the test unless err says that the process holds too much.
func wantNoRoom(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*l7.Error](err)
	if !ok || e.Reason != l7.ReasonOverLimit || e.Side != l7.SideSelf {
		t.Errorf("no room: %v", err)
	}
}

// TestHeldBound gathers and edits content with and without room for it.
func TestHeldBound(t *testing.T) {
	content := []byte(`{"gone":1,"kept":"` + strings.Repeat("a", 1000) + `"}`)
	held := new(atomic.Int64)
	newFilter := func() *filter { return &filter{rules: &rules{remove: []string{"gone"}}, held: held} }

	f := newFilter()
	if err := f.Write(nil, content[:500]); err != nil {
		t.Fatal(err)
	}
	held.Add(maxHeldBytes)
	wantNoRoom(t, f.Write(nil, content[500:]))
	held.Add(-maxHeldBytes)
	f.Abort()
	if held.Load() != 0 {
		t.Errorf("%d bytes held after what was broken off", held.Load())
	}

	f = newFilter()
	if err := f.Write(nil, content); err != nil {
		t.Fatal(err)
	}
	held.Add(maxHeldBytes)
	wantNoRoom(t, f.Close(nil))
	if held.Load() != maxHeldBytes {
		t.Errorf("%d bytes held after what could not be edited", held.Load()-maxHeldBytes)
	}

	held.Store(0)
	f = newFilter()
	if err := f.Write(nil, content); err != nil {
		t.Fatal(err)
	}
	gathered := int64(len(f.block.B))
	next := writer(func(p []byte) {
		if n := held.Load(); f.block != nil || n != int64(len(content)) || n >= gathered {
			t.Errorf("%d bytes held while %d are written", n, len(p))
		}
	})
	if err := f.Close(next); err != nil || held.Load() != 0 {
		t.Errorf("%v, %d bytes held after the end", err, held.Load())
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
