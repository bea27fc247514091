package main

import (
	"runtime"
	"testing"
)

func TestPace(t *testing.T) {
	tests := []struct {
		name string
		live uint64
		want int
	}{
		{"nothing known", 0, 400},
		{"a small edge", 4 << 20, 400},
		{"as much as may be spare at most", 16 << 20, 400},
		{"many routes", 32 << 20, 200},
		{"as much as is spare", 64 << 20, 100},
		{"a large heap", 1 << 30, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := pace(tt.live); got != tt.want {
				t.Errorf("pace %d, want %d", got, tt.want)
			}
		})
	}
	runtime.GC()
	if live := liveHeap(); live == 0 {
		t.Error("the runtime does not tell the live heap")
	}
}
