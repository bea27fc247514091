//go:build !race

package waf_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
	"github.com/bulwark-edge/bulwark/waf"
)

// heap is what is live on the heap, in bytes.
func heap() int64 {
	// Twice: what a finalizer or a pool lets go of is freed by the next one.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// openText compiles the built-in rules with one more directive.
func openText(t *testing.T, s *waf.Engines, more string) *waf.Engine {
	t.Helper()
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := waf.NewRules(w.FS, w.Setup+more+"\n"+w.Core)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestMemory holds an engine with the Core Rule Set to 25 MB, and 200 profiles
// of differing settings to 10 MB more.
func TestMemory(t *testing.T) {
	const mb = 1_000_000
	start := heap()
	s := new(waf.Engines)
	e := openText(t, s, `SecAction "id:77,phase:1,pass,nolog"`)
	one := heap() - start
	var profiles []*waf.Profile
	for n := range 200 {
		profiles = append(profiles, profile(t, e, waf.Settings{
			Mode: waf.Mode(n % 2), ParanoiaLevel: 1 + n%4, InboundThreshold: 5 + n, OutboundThreshold: 4 + n,
			AllowedMethods: []string{"GET", "M" + strconv.Itoa(n)}, Packs: []string{rules.Packs()[n%len(rules.Packs())]},
			Exclusions: []waf.Exclusion{
				{IDs: []string{"942100-" + strconv.Itoa(942100+n), "942200-942999"}, Path: "/" + strconv.Itoa(n)},
				{Target: "ARGS:f" + strconv.Itoa(n), Tags: []string{"attack-xss"}},
			},
			RequestBody: waf.BodySettings{Limit: int64(1000 + n)},
		}))
	}
	all := heap() - start - one
	t.Logf("an engine has %.1f MB, 200 profiles %.2f MB", float64(one)/mb, float64(all)/mb)
	if one > 25*mb || all > 10*mb {
		t.Errorf("an engine has %d bytes, 200 profiles %d; want at most 25 and 10 MB", one, all)
	}
	runtime.KeepAlive(profiles)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestReloadsLeaveNoGrowth reloads rules of other texts, and ones that are
// refused between them, under an engine that stays.
func TestReloadsLeaveNoGrowth(t *testing.T) {
	reloads := 100
	if testing.Short() {
		reloads = 10
	}
	s := new(waf.Engines)
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	// One of the larger parts of the rule set shows a leak as well as the whole.
	open := func(more string, n int) (*waf.Engine, error) {
		r, err := waf.NewRules(w.FS, w.Setup+"Include crs/REQUEST-942-APPLICATION-ATTACK-SQLI.conf\n"+fmt.Sprintf(more, n))
		if err != nil {
			t.Fatal(err)
		}
		return s.Open(r)
	}
	const good, bad = `SecRule ARGS "@rx reload%d" "id:77,phase:2,deny"`, `SecRule ARGS "@rx (%d" "id:77,phase:2,deny"`
	current, err := open(good, 0)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(n int) {
		next, err := open(good, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := current.Close(); err != nil {
			t.Fatal(err)
		}
		current = next
		if _, err := open(bad, n); err == nil {
			t.Fatal("a bad rule is accepted")
		}
	}
	for n := range 5 {
		reload(1 + n)
	}
	before := heap()
	for n := range reloads {
		reload(100 + n)
	}
	// Coraza keeps a name for each new chain of transformations, and the runtime
	// what it likes: some hundred bytes a reload are no leak of a rule set.
	if grown := heap() - before; grown > int64(reloads)*2000+500_000 {
		t.Errorf("after %d reloads the heap has %d bytes more", reloads, grown)
	}
	if err := current.Close(); err != nil {
		t.Error(err)
	}
	if err := current.Close(); err == nil {
		t.Error("an engine can be closed more often than it was opened")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
