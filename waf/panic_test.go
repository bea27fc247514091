package waf

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"github.com/bulwark-edge/bulwark/rules"
)

// panicking is an operator that panics, as a fault of the engine would.
type panicking struct{}

func (panicking) Evaluate(plugintypes.TransactionState, string) bool { panic("an operator's fault") }

// TestPanicEndsOneInspection lets the engine panic in each phase: that exchange
// is denied, or passes if the profile fails open; it is counted and told, leaves
// no file behind, and the next exchange is served.
func TestPanicEndsOneInspection(t *testing.T) {
	plugins.RegisterOperator("bulwarkTestPanic", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return panicking{}, nil })
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var engines Engines
	t.Cleanup(func() {
		if err := engines.Close(); err != nil {
			t.Error(err)
		}
	})
	for phase := range 5 {
		r, err := NewRules(nil, `SecRule REQUEST_HEADERS:X-Fault "@bulwarkTestPanic" "id:1,pass,nolog,phase:`+string(rune('1'+phase))+`"`)
		if err != nil {
			t.Fatal(err)
		}
		e, err := engines.Open(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, open := range []bool{false, true} {
			p, err := e.Profile(Settings{Mode: Block, FailOpen: open})
			if err != nil {
				t.Fatal(err)
			}
			before := e.Panics()
			verdicts, event := steps(p, true)
			want := Verdict{Action: Deny, Status: 500}
			if open {
				want = Verdict{}
			}
			last := verdicts[len(verdicts)-1]
			if phase < 4 && (last.Action != want.Action || last.Status != want.Status || last.Err == nil) {
				t.Errorf("phase %d, open %v: %+v", phase+1, open, last)
			}
			if e.Panics() != before+1 {
				t.Errorf("phase %d, open %v: %d panics are counted", phase+1, open, e.Panics()-before)
			}
			if event == nil || !strings.Contains(event.Error, "an operator's fault") || !slices.Contains(event.Uninspected, "error") {
				t.Errorf("phase %d, open %v: the event is %+v", phase+1, open, event)
			}
			if found, err := filepath.Glob(filepath.Join(dir, "*", "crzmp*")); err != nil || len(found) > 0 {
				t.Errorf("phase %d, open %v: the files %q are left, %v", phase+1, open, found, err)
			}
			if verdicts, event = steps(p, false); verdicts[len(verdicts)-1] != (Verdict{}) || event != nil {
				t.Errorf("phase %d, open %v: the next exchange: %+v, %+v", phase+1, open, verdicts, event)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// steps takes an upload through all steps of an inspection.
func steps(p *Profile, fault bool) ([]Verdict, *Event) {
	body := []byte("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n")
	f := sampleFields{{"Content-Type", "multipart/form-data; boundary=b"}}
	if fault {
		f = append(f, [2]string{"X-Fault", "1"})
	}
	i := p.Begin(sampleConnection)
	verdicts := []Verdict{
		i.RequestHead(&RequestHead{Method: "POST", Target: "/", Proto: "HTTP/1.1", Fields: &f}),
		i.RequestBody(body, true),
		i.ResponseHead(&ResponseHead{Status: 200, Proto: "HTTP/1.1", Fields: &sampleFields{}}),
		i.ResponseBody(nil, true),
	}
	return verdicts, i.End()
}

// TestOrderOfSteps shows that steps out of order, repeated or left out neither
// fail nor pass for inspected.
func TestOrderOfSteps(t *testing.T) {
	p, _ := measured(t, func(*rules.WAFRules) string { return smallRules })
	f := sampleFields{{"Host", "a"}}
	i := p.Begin(sampleConnection)
	if i.RequestBodyWanted() || i.ResponseBodyWanted() {
		t.Error("before the head a body is wanted")
	}
	if v := i.RequestBody([]byte("x"), true); v != (Verdict{}) {
		t.Errorf("a body before the head: %+v", v)
	}
	i.RequestHead(&RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: &f})
	i.RequestHead(&RequestHead{Method: "GET", Target: "/?a=again", Proto: "HTTP/1.1", Fields: &f})
	i.ResponseHead(&ResponseHead{Status: 200, Proto: "HTTP/1.1", Fields: &f})
	e := i.End()
	if e == nil || !slices.Contains(e.Uninspected, "request_body: not handed over") || e.Target != "/" {
		t.Errorf("the event is %+v", e)
	}
	if i.End() != nil {
		t.Error("an inspection ends twice")
	}
	if e := p.Begin(sampleConnection).End(); e != nil {
		t.Errorf("an inspection that has seen nothing has the event %+v", e)
	}
}
