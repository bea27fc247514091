package cors_test

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
		{"origin", `{origins: ["*", "*.a.test"]}`, `config.origins[1]: '*.a.test' is not a valid regex`},
		{"origin with look-ahead", `{origins: ["(?=a)"]}`, `is not a valid regex`},
		{"empty origin", `{origins: [""]}`, `length must be at least 1`},
		{"method", `{methods: [get]}`, `expected one of: GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT`},
		{"age", `{max_age: "3600"}`, `config.max_age: expected a number`},
		{"header", `{headers: ["X-A\r\nX-B"]}`, `config.headers[0]: invalid value`},
		{"exposed header", `{exposed_headers: [X-A, "X\n"]}`, `config.exposed_headers[1]: invalid value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: cors, config: "+tt.config+"}]", tt.want)
		})
	}
	t.Run("consumer", func(t *testing.T) {
		testkit.WantConfigError(t, "consumers: [{username: ann, plugins: [{name: cors}]}]", "consumer")
	})
}
