package iprestriction_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"neither list", `{}`, `at least one of these fields must be non-empty: 'allow', 'deny'`},
		{"empty lists", `{allow: [], deny: []}`, `at least one of these fields must be non-empty: 'allow', 'deny'`},
		{"no address", `{allow: [example.com]}`, `allow`},
		{"no mask", `{allow: [10.0.0.0/33]}`, `allow`},
		{"status", `{allow: [10.0.0.1], status: 99}`, `status`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: ip-restriction, config: "+tt.config+"}]", tt.want)
		})
	}
}
