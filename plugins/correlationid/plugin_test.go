package correlationid_test

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
		{"generator", `{generator: snowflake}`, `generator`},
		{"empty name", `{header_name: ""}`, `header_name`},
		{"name that is no token", `{header_name: "a b"}`, `header_name`},
		{"unknown field", `{header: x}`, `config.header: unknown field`},
		{"type", `{echo_downstream: 1}`, `echo_downstream`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: correlation-id, config: "+tt.config+"}]", tt.want)
		})
	}
}
