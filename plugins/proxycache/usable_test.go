package proxycache

import (
	"testing"
	"time"
)

// TestUsable holds when a stored answer satisfies a request, over its age.
func TestUsable(t *testing.T) {
	const second = int64(time.Second)
	none := noControl
	with := func(f func(*control)) control { c := none; f(&c); return c }
	tests := []struct {
		name    string
		control bool
		ask     control
		noStale bool
		age     int64 // seconds; the answer is fresh for 60
		want    bool
	}{
		{"fresh", true, none, false, 59, true},
		{"stale", true, none, false, 60, false},
		{"max-stale", true, with(func(c *control) { c.maxStale = 10 }), false, 70, true},
		{"more than max-stale", true, with(func(c *control) { c.maxStale = 10 }), false, 71, false},
		{"any staleness", true, with(func(c *control) { c.maxStale = forever }), false, 1 << 20, true},
		{"never stale", true, with(func(c *control) { c.maxStale = forever }), true, 60, false},
		{"max-age", true, with(func(c *control) { c.maxAge = 10 }), false, 10, true},
		{"more than max-age", true, with(func(c *control) { c.maxAge = 10 }), false, 11, false},
		{"min-fresh", true, with(func(c *control) { c.minFresh = 10 }), false, 50, true},
		{"less than min-fresh", true, with(func(c *control) { c.minFresh = 10 }), false, 51, false},
		{"min-fresh beats max-stale", true, with(func(c *control) { c.minFresh, c.maxStale = 1, 10 }), false, 65, false},
		{"what cannot be read", true, with(func(c *control) { c.broken = true }), false, 1, false},
		{"without cache_control, fresh", false, control{}, false, 59, true},
		{"without cache_control, stale", false, control{}, false, 60, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Plugin{cfg: Config{CacheControl: tt.control}}
			e := &entry{made: 5 * second, fresh: 60 * second, noStale: tt.noStale}
			if got := p.usable(e, e.made+tt.age*second, &tt.ask); got != tt.want {
				t.Errorf("at an age of %d s: %v", tt.age, got)
			}
		})
	}
}
