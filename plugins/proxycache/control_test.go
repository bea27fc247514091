package proxycache

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/l7"
)

func TestControlOf(t *testing.T) {
	none := noControl
	with := func(f func(*control)) control { c := none; f(&c); return c }
	tests := []struct {
		name   string
		fields []string
		want   control
	}{
		{"none", nil, none},
		{"empty", []string{"", " , ,"}, none},
		{"flags", []string{"no-store, NO-CACHE ,private", "public,must-revalidate, proxy-revalidate, only-if-cached"}, with(func(c *control) {
			c.noStore, c.noCache, c.private, c.public, c.mustRevalidate, c.proxyRevalidate, c.onlyIfCached = true, true, true, true, true, true, true
		})},
		{"times", []string{"max-age=1, s-maxage=2,max-stale=3 , min-fresh=4"}, with(func(c *control) { c.maxAge, c.sharedMaxAge, c.maxStale, c.minFresh = 1, 2, 3, 4 })},
		{"quoted time", []string{`max-age="10"`}, with(func(c *control) { c.maxAge = 10 })},
		{"max-stale without a time", []string{"max-stale"}, with(func(c *control) { c.maxStale = forever })},
		{"huge time", []string{"max-age=99999999999999999999999"}, with(func(c *control) { c.maxAge = forever })},
		{"the least of several", []string{"max-age=10, max-age=5", "max-age=7"}, with(func(c *control) { c.maxAge = 5 })},
		{"negative", []string{"max-age=-1"}, with(func(c *control) { c.broken = true })},
		{"unit", []string{"s-maxage=1s"}, with(func(c *control) { c.broken = true })},
		{"without a value", []string{"max-age"}, with(func(c *control) { c.broken = true })},
		{"names of fields", []string{`private="a, no-store", no-cache="x\", b"`}, with(func(c *control) { c.private, c.noCache = true, true })},
		{"comma in quotes", []string{`x="max-age=1, no-store", public`}, with(func(c *control) { c.public = true })},
		{"open quotes", []string{`x="max-age=1, no-store`}, none},
		{"unknown", []string{"immutable, stale=60, no-storex"}, none},
		{"stale ones", []string{"stale-if-error=60, stale-while-revalidate=5"}, with(func(c *control) { c.ifError, c.whileAsked = 60, 5 })},
		{"stale ones that cannot be read", []string{"stale-if-error, stale-while-revalidate=x"}, none},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h l7.Header
			for _, f := range tt.fields {
				h.Add("cache-control", f)
			}
			if diff := cmp.Diff(tt.want, controlOf(&h), cmp.AllowUnexported(control{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLifetimeAndAge(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	tests := []struct {
		name          string
		fields        []string
		lifetime, age int64
	}{
		{"nothing", nil, 0, 0},
		{"shared before own", []string{"Cache-Control: max-age=1, s-maxage=2"}, 2, 0},
		{"own before expires", []string{"Cache-Control: max-age=1", "Expires: " + at(time.Hour)}, 1, 0},
		{"broken", []string{"Cache-Control: max-age=x, s-maxage=9", "Expires: " + at(time.Hour)}, 0, 0},
		{"expires from now", []string{"Expires: " + at(time.Minute)}, 60, 0},
		{"expires from its date", []string{"Expires: " + at(time.Minute), "Date: " + at(-time.Minute)}, 120, 60},
		{"expired", []string{"Expires: " + at(-time.Minute)}, 0, 0},
		{"expires that is no date", []string{"Expires: 0"}, 0, 0},
		{"age", []string{"Age: 7"}, 0, 7},
		{"age and date, the greater", []string{"Age: 7", "Date: " + at(-9*time.Second)}, 0, 9},
		{"date in the future", []string{"Date: " + at(time.Hour)}, 0, 0},
		{"age that is no number", []string{"Age: x"}, 0, forever},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h l7.Header
			for _, f := range tt.fields {
				name, value, _ := strings.Cut(f, ": ")
				h.Add(name, value)
			}
			c := controlOf(&h)
			if got := c.lifetime(&h, now); got != tt.lifetime {
				t.Errorf("lifetime %d, want %d", got, tt.lifetime)
			}
			if got := ageOf(&h, now); got != tt.age {
				t.Errorf("age %d, want %d", got, tt.age)
			}
		})
	}
}

// FuzzControl looks for lists that are read other than directive by directive.
func FuzzControl(f *testing.F) {
	for _, seed := range []string{"", "no-store", "max-age=60, s-maxage=\"5\"", `private="a,b", no-cache`, `x="\",`, "max-stale", "max-age=,max-age==1", "min-fresh=999999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		var one, two l7.Header
		if !one.Add("Cache-Control", list) {
			return
		}
		for rest := list; rest != ""; {
			_, _, _, next := nextDirective(rest)
			if len(next) >= len(rest) {
				t.Fatalf("%q: no progress at %q", list, rest)
			}
			two.Add("Cache-Control", strings.TrimSuffix(rest[:len(rest)-len(next)], ","))
			rest = next
		}
		a, b := controlOf(&one), controlOf(&two)
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(control{})); diff != "" {
			t.Errorf("%q read at once and in parts differs:\n%s", list, diff)
		}
		for _, n := range []int64{a.maxAge, a.sharedMaxAge, a.maxStale, a.minFresh} {
			if n < -1 || n > forever {
				t.Errorf("%q gives the time %d", list, n)
			}
		}
	})
}
