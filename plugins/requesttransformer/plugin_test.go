package requesttransformer_test

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
		{"method in lower case", `{http_method: get}`, `invalid value: get`},
		{"method connect", `{http_method: CONNECT}`, `cannot be CONNECT`},
		{"field name to remove", `{remove: {headers: ["a b"]}}`, "'a b' is not a valid header"},
		{"rename without a new name", `{rename: {body: [a]}}`, `invalid value: a`},
		{"new name of a field", `{rename: {headers: ["a:b c"]}}`, "'b c' is not a valid header"},
		{"pair without a value", `{add: {querystring: [a]}}`, `invalid value: a`},
		{"pair without a name", `{add: {querystring: [":a"]}}`, `invalid value: :a`},
		{"field name", `{append: {headers: ["a b:c"]}}`, "'a b' is not a valid header"},
		{"field value", `{replace: {headers: ["a:b\u0001c"]}}`, `has a control character`},
		{"line end in a field", `{add: {headers: ["a:b\r\nc: d"]}}`, `has a control character`},
		{"template", `{add: {headers: ["a:x$(b)"]}}`, `cannot read the template at byte 4: unknown name "b"`},
		{"template of a path", `{replace: {uri: "/$("}}`, `cannot read the template at byte 4`},
		{"relative path", `{replace: {uri: "a"}}`, `should start with: /`},
		{"path from a template only", `{replace: {uri: "$(headers.a)"}}`, `should start with: /`},
		{"path with a query", `{replace: {uri: "/a?b"}}`, `should start with: /`},
		{"path with dot segments", `{replace: {uri: "/a/%2e./b"}}`, `should start with: /`},
		{"uri is only replaced", `{add: {uri: /a}}`, `config.add.uri: unknown field`},
		{"unknown part", `{add: {cookies: [a]}}`, `config.add.cookies: unknown field`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: request-transformer, config: "+tt.config+"}]", tt.want)
		})
	}
}
