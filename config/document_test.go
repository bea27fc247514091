package config

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJSONSchema(t *testing.T) {
	var doc struct {
		Schema     string                     `json:"$schema"`
		Properties map[string]json.RawMessage `json:"properties"`
		Defs       map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
			AllOf      []json.RawMessage          `json:"allOf"`
			Additional *bool                      `json:"additionalProperties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(JSONSchema(newKinds()), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("dialect is %q", doc.Schema)
	}
	for name, k := range entityKinds(&Config{}) {
		def, ok := doc.Defs[name]
		if !ok || doc.Properties[name] == nil {
			t.Errorf("collection %s is missing", name)
			continue
		}
		if def.Additional == nil || *def.Additional {
			t.Errorf("collection %s takes unknown keys", name)
		}
		for _, f := range k.typ.Fields() {
			if def.Properties[f.Name] == nil {
				t.Errorf("%s.%s is missing", name, f.Name)
			}
		}
		for child := range k.children {
			if def.Properties[child] == nil {
				t.Errorf("%s.%s is missing", name, child)
			}
		}
	}
	if n := len(doc.Defs[KindPlugin].AllOf); n != 2 {
		t.Errorf("%d plugins are described, want 2", n)
	}
	const retries = `"default":5,"description":"Further tries after a connection to the upstream fails or times out.","maximum":32767,"minimum":0,"type":["integer","null"]`
	var compact strings.Builder
	_ = json.NewEncoder(&compact).Encode(doc.Defs[KindService].Properties["retries"])
	if !strings.Contains(compact.String(), retries) {
		t.Errorf("services.retries is %s", compact.String())
	}
	if len(JSONSchema(nil)) == 0 {
		t.Error("no document without plugins")
	}
}

// Every field that can be written stands in the tables, with some prose.
func TestMarkdown(t *testing.T) {
	text := Markdown(newKinds())
	for _, want := range []string{
		"## services\n", "## node\n", "## plugin echo\n",
		"| `retries` | integer | `5` | 0 to 32767 | Further tries after a connection to the upstream fails or times out. |\n",
		"| `limits.head_bytes` | size | `16KiB` | 1KiB to 1MiB |",
		"| `listeners[].serve` | string | `http` | one of `http`, `https`, `tcp`, `tls`, `udp` |",
		"| `healthchecks.active.healthy.interval` | number | `0` | 0 to 65535 |",
		"| `listeners[].http3` | boolean | `false` | not served yet |",
		"| `redis.password` | secret string |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q", want)
		}
	}
	for line := range strings.Lines(text) {
		plugin := strings.Contains(line, "## plugin")
		if plugin {
			break // the plugins of the tests have no prose
		}
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(strings.TrimSpace(line), "|  |") {
			t.Errorf("no prose in %s", line)
		}
	}
}
