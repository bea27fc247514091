package responsetransformer

import (
	"bytes"
	"errors"
	"strings"
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
