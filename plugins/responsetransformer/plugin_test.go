package responsetransformer_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/responsetransformer"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"field name to remove", `{remove: {headers: ["a b"]}}`, "'a b' is not a valid header"},
		{"rename without a new name", `{rename: {json: [a]}}`, `invalid value: a`},
		{"new name of a field", `{rename: {headers: ["a:b c"]}}`, "'b c' is not a valid header"},
		{"pair without a value", `{add: {json: [a]}}`, `invalid value: a`},
		{"field value", `{append: {headers: ["a:b\nc"]}}`, `has a control character`},
		{"type", `{add: {json: ["a:b"], json_types: [object]}}`, `json_types`},
		{"number", `{add: {json: ["a:b"], json_types: [number]}}`, `the value "b" is no number`},
		{"number in hexadecimal digits", `{add: {json: ["a:0x1"], json_types: [number]}}`, `the value "0x1" is no number`},
		{"boolean", `{replace: {json: ["a:yes"], json_types: [boolean]}}`, `the value "yes" is no boolean`},
		{"more types than values", `{append: {json: ["a:b"], json_types: [string, string]}}`, `there are more json_types than values of json`},
		{"unknown part", `{remove: {body: [a]}}`, `config.remove.body: unknown field`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: response-transformer, config: "+tt.config+"}]", tt.want)
		})
	}
}

// TestNoRoom refuses an answer before its head, by one that is edited itself.
func TestNoRoom(t *testing.T) {
	held := new(atomic.Int64)
	state := new(plugins.State)
	state.Value("response-transformer content", func() any { return held })
	built, err := responsetransformer.New(responsetransformer.Config{
		Add: responsetransformer.Values{JSON: []string{"added:1"}},
	}, plugins.Env{State: state})
	if err != nil {
		t.Fatal(err)
	}
	r := testkit.NewRig(t, built)
	r.Fields = []l7.Field{{Name: "Content-Type", Value: "application/json", ID: l7.FieldContentType}}
	held.Store(256 << 20)
	if a := r.Serve("GET", "/", "Accept: application/json"); a.Status != 502 || !strings.Contains(a.Body, `"added":"1"`) {
		t.Errorf("without room: %d %s", a.Status, a.Body)
	}
	if held.Load() != 256<<20 {
		t.Errorf("what was refused counts: %d", held.Load())
	}
}
