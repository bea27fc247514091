package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// JSONSchema returns a JSON Schema (draft 2020-12) document of the declarative
// file, with the configuration of every plugin whose name kinds tells.
func JSONSchema(kinds Kinds) []byte {
	types := entityKinds(&Config{})
	defs := make(map[string]any)
	properties := maps.Clone(headerType.JSONSchema()["properties"].(map[string]any))
	properties["node"] = nodeSchema(kinds)
	for name, k := range types {
		defs[name] = entitySchema(k, kinds)
		properties[name] = listOf(name)
	}
	doc := map[string]any{
		"$schema": schema.Dialect, "title": "Bulwark declarative configuration", "$defs": defs,
		"type": "object", "properties": properties, "additionalProperties": false,
		"required": []string{"_format_version"},
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("BUG: marshalling the schema: " + err.Error())
	}
	return append(b, '\n')
}

// nodeSchema describes the node as it is written in a file.
func nodeSchema(kinds Kinds) map[string]any {
	node := nullable(nodeType.JSONSchema())
	s := node
	for _, list := range []string{"listeners", "plugins"} {
		s = s["properties"].(map[string]any)[list].(map[string]any)["items"].(map[string]any)
	}
	tieConfig(s, kinds)
	return node
}

// entitySchema describes an entity as it is written in a file.
func entitySchema(k *kind, kinds Kinds) map[string]any {
	s := k.typ.JSONSchema()
	properties := s["properties"].(map[string]any)
	for _, f := range k.typ.Fields() {
		if f.Kind == "foreign" && f.Required {
			// It is left out where the entity is nested in its parent.
			delete(s, "required")
			var required []string
			for _, g := range k.typ.Fields() {
				if g.Required && g.Kind != "foreign" {
					required = append(required, g.Name)
				}
			}
			if len(required) > 0 {
				s["required"] = required
			}
		}
	}
	for child := range k.children {
		properties[child] = listOf(child)
	}
	properties["_comment"] = map[string]any{"type": "string"}
	properties["_ignore"] = map[string]any{"type": "array"}
	switch k.name {
	case KindService:
		properties["url"] = map[string]any{
			"type": []string{"string", "null"}, "description": "Shorthand for protocol, host, port and path.",
		}
		delete(s, "required")
		s["anyOf"] = []any{
			map[string]any{"required": []string{"host"}}, map[string]any{"required": []string{"url"}},
		}
	case KindCertificate:
		properties[KindSNI] = map[string]any{
			"type": []string{"array", "null"},
			"items": map[string]any{"oneOf": []any{
				map[string]any{"type": "string"}, map[string]any{"$ref": "#/$defs/" + KindSNI},
			}},
		}
	case KindPlugin:
		tieConfig(s, kinds)
	}
	return s
}

// tieConfig ties the configuration in a plugin's schema to its name.
func tieConfig(s map[string]any, kinds Kinds) {
	if all := pluginSchemas(kinds); len(all) > 0 {
		s["allOf"] = all
	}
	s["properties"].(map[string]any)["config"] = map[string]any{"type": []string{"object", "null"}}
}

// pluginSchemas describes the configuration of each plugin.
func pluginSchemas(kinds Kinds) []any {
	var all []any
	for _, name := range names(kinds) {
		t, ok := kinds.Schema(name)
		if !ok {
			continue
		}
		all = append(all, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"name": map[string]any{"const": name}}},
			"then": map[string]any{"properties": map[string]any{"config": nullable(t.JSONSchema())}},
		})
	}
	return all
}

func nullable(s map[string]any) map[string]any {
	s["type"] = []string{"object", "null"}
	return s
}

func listOf(kind string) map[string]any {
	return map[string]any{"type": []string{"array", "null"}, "items": map[string]any{"$ref": "#/$defs/" + kind}}
}

// Markdown returns the tables of everything that a file may hold.
func Markdown(kinds Kinds) string {
	var b strings.Builder
	table := func(title, intro string, t *schema.Type) {
		b.WriteString("## " + title + "\n\n")
		if intro != "" {
			b.WriteString(intro + "\n\n")
		}
		b.WriteString(t.Markdown() + "\n")
	}
	b.WriteString("# Configuration\n\n")
	table("The file", "", headerType)
	table("node", "What belongs to this process. An environment variable such as `BULWARK_NODE_LOG_LEVEL` overrides the key `node.log.level`.", nodeType)
	types := entityKinds(&Config{})
	for _, name := range slices.Sorted(maps.Keys(types)) {
		k := types[name]
		intro := ""
		if len(k.children) > 0 {
			intro = "May hold nested: `" + strings.Join(slices.Sorted(maps.Keys(k.children)), "`, `") + "`."
		}
		if name == KindService {
			intro += " `url` is a shorthand for protocol, host, port and path."
		}
		table(name, intro, k.typ)
	}
	for _, name := range names(kinds) {
		if t, ok := kinds.Schema(name); ok {
			table("plugin "+name, "", t)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
