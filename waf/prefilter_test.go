package waf

import (
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
)

// TestPrefilterLosesMatches is why SecRxPreFilter is off, and refused: with it
// Coraza does not see what rule 942220 looks for. Should this fail with another
// version of Coraza, the filter may be worth another look: with the whole
// regression suite, filtered and unfiltered.
func TestPrefilterLosesMatches(t *testing.T) {
	for filter, want := range map[string]int{"On": 0, "Off": 1} {
		tx := kept.prefilter[filter].NewTransactionWithID("t")
		tx.AddGetRequestArgument("i", "2.2250738585072011e-308")
		tx.ProcessRequestHeaders()
		if got := len(tx.MatchedRules()); got != want {
			t.Errorf("with the filter %s there are %d matches, want %d", filter, got, want)
		}
		if err := tx.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRuleOfThePrefilterMatches shows that the built-in rules match it.
func TestRuleOfThePrefilterMatches(t *testing.T) {
	p, _ := measured(t, func(w *rules.WAFRules) string { return w.Directives })
	f := sampleFields{{"Host", "shop.test"}, {"User-Agent", "test"}, {"Accept", "*/*"}}
	i := p.Begin(sampleConnection)
	i.RequestHead(&RequestHead{Method: "GET", Target: "/get?i=2.2250738585072011e-308", Proto: "HTTP/1.1", Fields: &f})
	v := i.RequestBody(nil, true)
	if e := i.End(); v.Action != Deny || e == nil || e.Matches[0].Rule != 942220 {
		t.Errorf("the verdict is %+v, the event %+v", v, e)
	}
}
