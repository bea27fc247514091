//go:build !race

package waf

import (
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
)

// maxOverhead is how many allocations an inspection without a match may cost
// over the bare transaction.
const maxOverhead = 10

// TestAllocationsOverCoraza holds an inspection's allocations against those of
// a transaction without anything of ours.
func TestAllocationsOverCoraza(t *testing.T) {
	p, w := measured(t, func(*rules.WAFRules) string { return smallRules })
	for _, s := range samples() {
		const runs = 1000
		ours := testing.AllocsPerRun(runs, func() { inspected(t, p, s) })
		theirs := testing.AllocsPerRun(runs, func() { bare(t, w, s) })
		t.Logf("%s: %v allocations, Coraza's own %v", s.name, ours, theirs)
		if ours > theirs+maxOverhead {
			t.Errorf("%s: %v allocations, %v more than Coraza's own; want at most %d more", s.name, ours, ours-theirs, maxOverhead)
		}
	}
}
