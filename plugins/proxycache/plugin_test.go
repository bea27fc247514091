package proxycache_test

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
		{"no strategy", `{}`, `config.strategy: required field missing`},
		{"strategy", `{strategy: redis}`, `config.strategy`},
		{"status", `{strategy: memory, response_code: [99]}`, `response_code`},
		{"no status", `{strategy: memory, response_code: []}`, `response_code`},
		{"method", `{strategy: memory, request_method: [DELETE]}`, `request_method`},
		{"type", `{strategy: memory, content_type: ["a b"]}`, `invalid value: a b`},
		{"time", `{strategy: memory, cache_ttl: 0}`, `cache_ttl`},
		{"kept for less than fresh", `{strategy: memory, storage_ttl: 10}`, `cannot be less than cache_ttl`},
		{"field name", `{strategy: memory, vary_headers: ["a b"]}`, `vary_headers`},
		{"unknown field", `{strategy: memory, redis: {}}`, `config.redis: unknown field`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: proxy-cache, config: "+tt.config+"}]", tt.want)
		})
	}
}
