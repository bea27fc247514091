//go:build !race

package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestRefusals: what would switch the firewall off is refused, with the reason.
func TestRefusals(t *testing.T) {
	at := origin(t, noContent)
	e := testkit.StartEdge(t, guarded(at, "", ""))
	for _, tt := range []struct{ config, want string }{
		{`directives: "SecRuleEngine DetectionOnly"`, "SecRuleEngine"},
		{`directives_after: "SecRuleRemoveById 949110"`, "949110"},
		{`directives: 'SecAction "id:100001,phase:1,pass,ctl:ruleEngine=Off"'`, "ctl:ruleEngine"},
		{`exclusions: [{tags: [OWASP_CRS]}]`, "OWASP_CRS"},
		{`packs: [nosuch]`, "nosuch"},
		{`directives: "SecNonsense On"`, "secnonsense"},
	} {
		if err := e.Use(guarded(at, "", tt.config)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s is answered with: %v", tt.config, err)
		}
	}
	wantStatus(t, e, attack, 403)
}
