package botdetection_test

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
		{"expression", `{deny: ["a(b"]}`, `config.deny[0]: invalid regex: 'a(b'`},
		{"look-ahead", `{allow: ["a", "a(?!b)"]}`, `config.allow[1]: invalid regex: 'a(?!b)'`},
		{"type", `{allow: curl}`, `config.allow: expected an array`},
		{"old name", `{whitelist: [curl]}`, `config.whitelist: unknown field`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: bot-detection, config: "+tt.config+"}]", tt.want)
		})
	}
	t.Run("consumer", func(t *testing.T) {
		testkit.WantConfigError(t, "consumers: [{username: ann, plugins: [{name: bot-detection}]}]", "consumer")
	})
}
