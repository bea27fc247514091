//go:build !race

package waf_test

import (
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// broken is an operator that breaks an invariant of the engine.
type broken struct{}

func (broken) Evaluate(plugintypes.TransactionState, string) bool { panic("BUG: in a test") }

// TestEngineFails: a panic within the engine ends one inspection, which is closed
// unless the configuration says otherwise, and nothing else.
func TestEngineFails(t *testing.T) {
	plugins.RegisterOperator("testPanic", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return broken{}, nil })
	for _, tt := range []struct {
		phase, mode string
		want        int
	}{
		{"1", "closed", 500},
		{"2", "closed", 500},
		{"3", "closed", 500},
		{"4", "closed", 500},
		{"1", "open", 204},
		{"4", "open", 204},
	} {
		t.Run(tt.phase+tt.mode, func(t *testing.T) {
			rules := `directives: 'SecRule REQUEST_URI "@beginsWith /panic" "id:100001,phase:` + tt.phase + `,pass,nolog,chain"` + "\n\n" + `          SecRule REQUEST_URI "@testPanic" "t:none"'`
			e := testkit.StartEdge(t, guarded(origin(t, noContent), "", rules+", fail_mode: "+tt.mode))
			wantStatus(t, e, "/panic", tt.want)
			wantStatus(t, e, "/", 204)
			wantStatus(t, e, attack, 403)
			e.Stop()
			if n := scrape(t, e.Metrics())["bulwark_waf_panics_total"]; n != "1" {
				t.Errorf("%s panics are counted", n)
			}
			if lines := e.WAFLog(); len(lines) != 2 || !strings.Contains(strings.Join(lines, ""), `"error":`) {
				t.Errorf("the log tells %q", lines)
			}
			if strings.Contains(e.Log.String(), "recovering from a panic") {
				t.Error("the panic reached the exchange")
			}
		})
	}
}
