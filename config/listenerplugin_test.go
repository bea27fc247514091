package config

import (
	"slices"
	"strings"
	"testing"
)

func TestListenerPlugins(t *testing.T) {
	kinds := scopedKinds{newKinds(), map[string][]string{"echo": {"", ScopeListener}, "strict": {""}}}
	tests := []struct {
		name, plugins string
		want          []string
	}{
		{"none", "[]", nil},
		{"one", "[{name: echo}]", nil},
		{"a reference", "[{name: echo, config: {group: c}}]", nil},
		{"null", "null", nil},
		{"without a name", "[{config: {}}]", []string{
			"3:55: node.listeners[0].plugins[0].name: required field missing (expected a string)",
		}},
		{"not known", "[{name: ehco}]", []string{
			"3:62: node.listeners[0].plugins[0].name: plugin 'ehco' not enabled; add it to the 'plugins' configuration property (did you mean \"echo\"?)",
		}},
		{"a wrong configuration", "[{name: echo, config: {status: 9}}]", []string{
			"3:85: node.listeners[0].plugins[0].config.status: value should be between 100 and 599 (found 9)",
		}},
		{"a dangling reference", "[{name: echo, config: {group: x}}]", []string{
			"3:84: node.listeners[0].plugins[0].config.group: invalid reference 'group: x' (no such entry in 'consumers') (did you mean \"c\"?)",
		}},
		{"a key of an entity", "[{name: echo, route: r}]", []string{
			"3:68: node.listeners[0].plugins[0].route: unknown field",
		}},
		{"twice", "[{name: echo}, {name: echo}]", []string{
			"3:76: node.listeners[0].plugins[1].name: plugin 'echo' is on this listener already (expected another plugin)",
		}},
		{"a plugin that cannot", "[{name: strict, config: {key: k}}]", []string{
			"3:62: node.listeners[0].plugins[0].name: plugin 'strict' cannot act on a listener (expected one of: echo)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := testOrigin{}.origin()
			src := "consumers: [{username: c}]\nnode: {listeners: [{name: a, address: ':1', plugins: " + tt.plugins + "}]}"
			_, err := Load(versioned(src), kinds, origin)
			var got []string
			if err != nil {
				got = strings.Split(strings.ReplaceAll(err.Error(), origin.Path+":", ""), "\n")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("errors\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestListenerPluginConfig shows what the edge is given.
func TestListenerPluginConfig(t *testing.T) {
	src := versioned("consumers: [{username: c}]\nnode: {listeners: [{name: a, address: ':1', plugins: [{name: echo, config: {status: 404, group: c}}]}]}")
	cfg, err := Load(src, newKinds(), testOrigin{}.origin())
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Node.Listeners[0].Plugins[0].Config.(*echoConfig)
	if got.Status != 404 || got.Header != "X-Echo" || got.Group.ID != cfg.Consumers.All()[0].ID {
		t.Errorf("configuration %+v", got)
	}
}

func TestRealIPSettings(t *testing.T) {
	tests := []struct {
		name, src, header string
		recursive         bool
		err               string
	}{
		{"default", "{}", "X-Real-IP", false, ""},
		{"list", "{real_ip_header: X-Forwarded-For, real_ip_recursive: true}", "X-Forwarded-For", true, ""},
		{"connection", "{real_ip_header: proxy_protocol}", RealIPConnection, false, ""},
		{"no name", "{real_ip_header: 'a b'}", "", false, "node.real_ip_header: bad header name 'a b'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := Load(versioned("node: "+tt.src), newKinds(), testOrigin{}.origin())
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := cfg.Node; n.RealIPHeader != tt.header || n.RealIPRecursive != tt.recursive {
				t.Errorf("%q, recursive %v", n.RealIPHeader, n.RealIPRecursive)
			}
		})
	}
}
