package waf_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScriptsInPart(t, "testdata/*.txtar", goldenStride) }

// TestConfigErrors holds what would switch the firewall off, or is wrong, against
// the words that refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"mode", `{mode: on}`, `config.mode: expected one of`},
		{"detection level", `{paranoia_level: 2, detection_paranoia_level: 1}`, `config.detection_paranoia_level: cannot be below paranoia_level`},
		{"empty exclusion", `{exclusions: [{paths: [/a]}]}`, `config.exclusions[0]: at least one of rules, tags and target is needed`},
		{"blocking rule", `{exclusions: [{rules: ["942100", "949110"]}]}`, `config.exclusions[0].rules[1]: rules 949000 to 949999 decide what is blocked`},
		{"range with a blocking rule", `{exclusions: [{rules: ["940000-960000"]}]}`, `config.exclusions[0].rules[0]: rules 949000 to 949999 decide`},
		{"no id", `{exclusions: [{rules: [sqli]}]}`, `config.exclusions[0].rules[0]: invalid value: sqli`},
		{"events", `{response_body: {types: [text/event-stream]}}`, `config.response_body.types[0]: cannot be inspected`},
		{"type", `{response_body: {types: ["text/*"]}}`, `config.response_body.types[0]: invalid value: text/*`},
		{"processor", `{content_types: {image/png: gif}}`, `config.content_types["image/png"]: expected one of`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: waf, config: "+tt.config+"}]", tt.want)
		})
	}
	t.Run("consumer", func(t *testing.T) {
		testkit.WantConfigError(t, "consumers: [{username: ann, plugins: [{name: waf}]}]", "consumer")
	})
}
