package l4

import "testing"

// A memo keeps the last value of each owner, and of few owners.
func TestMemo(t *testing.T) {
	var m Memo
	owners := make([]int, memoRoom+1)
	if got := m.Get(&owners[0]); got != nil {
		t.Errorf("an empty memo has %v", got)
	}
	for i := range owners {
		m.Put(&owners[i], i)
		m.Put(&owners[i], -i)
	}
	for i := range owners {
		want := any(-i)
		if i == 0 {
			want = nil // driven out
		}
		if got := m.Get(&owners[i]); got != want {
			t.Errorf("owner %d has %v, want %v", i, got, want)
		}
	}
}
