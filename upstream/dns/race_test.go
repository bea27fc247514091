package dns

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRace shows how long silence about one type of record holds up a name that
// has others, and which answer counts then.
func TestRace(t *testing.T) {
	const srv = "shop.test. 60 IN SRV 1 1 8001 a.test."
	tests := []struct {
		name  string
		zone  map[string][]string
		order []Type
		took  time.Duration
		want  string
		asked string // "-": not looked at
	}{
		{
			"SRV is silent",
			map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {shopA}},
			[]Type{SRV, A, AAAA},
			defaultTimeout, "192.0.2.1", "-",
		},
		{
			"SRV and A are",
			map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {"silence"}, "AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}},
			[]Type{SRV, A, AAAA},
			defaultTimeout, "2001:db8::1", "-",
		},
		{
			"A is, and comes after what SRV tells",
			map[string][]string{"SRV shop.test.": {srv}, "A shop.test.": {"silence"}, "A a.test.": {"a.test. 60 IN A 192.0.2.9"}},
			[]Type{SRV, A, AAAA},
			0, "192.0.2.9:8001(a.test)", "SRV shop.test.,A a.test.",
		},
		{
			"all are",
			map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {"silence"}, "AAAA shop.test.": {"silence"}},
			[]Type{SRV, A, AAAA},
			defaultAttempts*defaultTimeout + 2*askNext, "error", "SRV shop.test.,A shop.test.,AAAA shop.test.,SRV shop.test.,A shop.test.,AAAA shop.test.",
		},
		{
			"SRV is, and the name does not exist",
			map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {"NXDOMAIN"}},
			[]Type{SRV, A, AAAA},
			defaultAttempts * defaultTimeout, "error", "SRV shop.test.,A shop.test.,SRV shop.test.",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &table{zone: tt.zone}
				r := start(t, settings(order(tt.order...)), s)
				began := time.Now()
				if got := resolve(t, r, "shop.test"); got != tt.want {
					t.Errorf("resolved to %q, want %q", got, tt.want)
				}
				if d := time.Since(began); d != tt.took {
					t.Errorf("it took %v of the test's time, want %v", d, tt.took)
				}
				if asked := strings.Join(s.took(), ","); tt.asked != "-" && asked != tt.asked {
					t.Errorf("asked %s, want %s", asked, tt.asked)
				}
			})
		})
	}
}

// TestRaceIsOver shows that what a race has asked for, and did not wait for, is
// there for others, and ends with the resolver.
func TestRaceIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"SRV shop.test.": {"silence"}, "A shop.test.": {shopA}}}
		r := start(t, settings(order(SRV, A)), s)
		resolve(t, r, "shop.test")
		r.Close() // waits for the question about SRV, which is on its way
		synctest.Wait()
		if n := len(r.slots); n != 0 {
			t.Errorf("%d questions are under way after the end", n)
		}
	})
}

// TestCounts holds what is counted of look-ups.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}, "A bad.test.": {"SERVFAIL"}, "A bug.test.": {"panic"}}}
		r := start(t, settings(order(A)), s)
		want := func(when string, found, notFound, failed, stale, negative, panics uint64) {
			t.Helper()
			c := r.count
			got := [...]uint64{c.Found.Load(), c.NotFound.Load(), c.Failed.Load(), c.Stale.Load(), c.Negative.Load(), c.Panics.Load()}
			if got != [...]uint64{found, notFound, failed, stale, negative, panics} {
				t.Errorf("%s: counted %v", when, got)
			}
			if n := c.Duration.Count(); n != found+notFound+failed {
				t.Errorf("%s: %d durations", when, n)
			}
		}
		resolve(t, r, "shop.test")
		resolve(t, r, "shop.test")
		want("one that is known", 1, 0, 0, 0, 0, 0)
		resolve(t, r, "gone.test")
		resolve(t, r, "gone.test")
		want("one that is not there", 1, 1, 0, 0, 1, 0)
		resolve(t, r, "bad.test")
		resolve(t, r, "bug.test")
		want("trouble", 1, 1, 2, 0, 1, 1)
		s.set("A shop.test.", "SERVFAIL")
		time.Sleep(61 * time.Second)
		resolve(t, r, "shop.test")
		synctest.Wait()
		want("one past its time", 1, 1, 3, 1, 1, 1)
	})
}
