//go:build !race

package waf_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"

	"github.com/bulwark-edge/bulwark/internal/testkit/crs"
	"github.com/bulwark-edge/bulwark/rules"
	engine "github.com/bulwark-edge/bulwark/waf"
)

// Bars of memory, in bytes of heap. They are not asked under the race detector,
// which has a heap of its own beside this one.
const (
	maxEngine   = 25 << 20 // one engine with the Core Rule Set
	minEngine   = 8 << 20  // less is one that shares with another of the process
	maxSettings = 10 << 20 // 200 routes with settings of their own, beside it
	maxGrowth   = 1 << 20  // what a hundred reloads leave
)

// heap is what is in use when nothing is left to collect.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// coreRules are the built-in rules, with a text behind them.
func coreRules(t *testing.T, more string) *engine.Rules {
	t.Helper()
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := engine.NewRules(w.FS, w.Setup+"\n"+w.Core+"\n"+more)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wire are fields of a request of the rule set's tests.
type wire []crs.Field

func (f wire) Len() int                      { return len(f) }
func (f wire) At(i int) (name, value string) { return f[i].Name, f[i].Value }

// attacks returns every step-th request of the rule set's tests.
func attacks(t *testing.T, step int) []crs.Input {
	t.Helper()
	tests, err := crs.Load(crstests.FS)
	if err != nil {
		t.Fatal(err)
	}
	var found []crs.Input
	for n := 0; n < len(tests); n += step {
		found = append(found, tests[n].Stages[0].Input)
	}
	return found
}

// serve has a profile inspect requests.
func serve(t *testing.T, p *engine.Profile, requests []crs.Input) {
	t.Helper()
	denied := 0
	for n := range requests {
		in := &requests[n]
		fields := wire(in.Fields)
		i := p.Begin(engine.Connection{RequestID: "0123", Client: netip.MustParseAddrPort("192.0.2.1:1")})
		i.RequestHead(&engine.RequestHead{Method: in.Method, Target: in.URI, Proto: in.Version, Fields: &fields})
		i.RequestBody([]byte(in.Data), true)
		if i.Verdict().Action == engine.Deny {
			denied++
		}
		i.End()
	}
	if denied < len(requests)/4 {
		t.Errorf("of %d attacks only %d are denied", len(requests), denied)
	}
}

// aloneVar is set for a process that runs TestAllocatedByEngine and nothing else.
const aloneVar = "BULWARK_TEST_ALONE"

// TestAllocatedByEngine holds an engine, and settings of many routes, against the bars, new
// and after having met attacks of every kind. It has a process to itself, since an
// engine shares what is compiled with those that are open beside it.
func TestAllocatedByEngine(t *testing.T) {
	if os.Getenv(aloneVar) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAllocatedByEngine$", "-test.v")
		cmd.Env = append(os.Environ(), aloneVar+"=1")
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil || !strings.Contains(string(out), "200 settings: ") {
			t.Errorf("the process alone: %v", err)
		}
		return
	}
	requests := attacks(t, 6)
	var engines engine.Engines
	before := heap()
	e, err := engines.Open(coreRules(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Profile(engine.Settings{Mode: engine.Block})
	if err != nil {
		t.Fatal(err)
	}
	fresh := heap() - before
	serve(t, p, requests)
	used := heap() - before
	if fresh < minEngine || fresh > maxEngine || used > maxEngine {
		t.Errorf("the engine takes %d bytes when it is new and %d later, of %d to %d", fresh, used, minEngine, maxEngine)
	}
	profiles := make([]*engine.Profile, 200)
	for n := range profiles {
		profiles[n], err = e.Profile(engine.Settings{
			Mode: engine.Block, ParanoiaLevel: 1 + n%4, InboundThreshold: 5 + n, Packs: []string{"wordpress", "nextcloud"},
			Exclusions: []engine.Exclusion{{Tags: []string{"attack-sqli"}, Path: fmt.Sprint("/", n)}, {Target: fmt.Sprint("ARGS:a", n)}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	more := heap() - before - used
	if more > maxSettings {
		t.Errorf("200 settings take %d bytes, of %d", more, maxSettings)
	}
	t.Logf("the engine: %d bytes, %d after %d requests; 200 settings: %d", fresh, used, len(requests), more)
	runtime.KeepAlive(profiles)
	closeAll(t, &engines, e)
}

// TestAllocatedByReloads reloads the whole rule set a hundred times, each time
// with other rules beside it, and serves attacks between.
func TestAllocatedByReloads(t *testing.T) {
	requests := attacks(t, 800)
	var engines engine.Engines
	e, err := engines.Open(coreRules(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	var first int64
	for n := range 101 {
		next, err := engines.Open(coreRules(t, fmt.Sprintf(`SecRule ARGS "@rx reload %d(?:%s)" "id:%d,phase:2,deny"`, n, strings.Repeat("a|b", 20), 5000+n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = next
		p, err := e.Profile(engine.Settings{Mode: engine.Block})
		if err != nil {
			t.Fatal(err)
		}
		serve(t, p, requests)
		if n == 0 {
			first = heap()
		}
	}
	if grown := heap() - first; grown > maxGrowth {
		t.Errorf("a hundred reloads have left %d bytes", grown)
	} else {
		t.Logf("a hundred reloads: %d bytes", grown)
	}
	closeAll(t, &engines, e)
}

func closeAll(t *testing.T, engines *engine.Engines, e *engine.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := engines.Close(); err != nil {
		t.Error(err)
	}
}
