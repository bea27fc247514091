package requesttermination_test

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
		{"status too small", `{status_code: 199}`, `status_code`},
		{"status too large", `{status_code: 600}`, `status_code`},
		{"message and body", `{message: a, body: b}`, `message cannot be used with content_type or body`},
		{"message and type", `{message: a, content_type: b/c}`, `message cannot be used with content_type or body`},
		{"type without body", `{content_type: a/b}`, `content_type requires a body`},
		{"echo and message", `{echo: true, message: a}`, `echo cannot be used with message and body`},
		{"echo and body", `{echo: true, body: a}`, `echo cannot be used with message and body`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: request-termination, config: "+tt.config+"}]", tt.want)
		})
	}
}
