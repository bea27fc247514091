package config

import (
	"testing"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// The first three ids stand in Kong's own tests
// (spec/02-integration/04-admin_api/15-off_spec.lua).
func TestGeneratedIDs(t *testing.T) {
	c := mustLoad(t, `
services:
- name: my-service
  url: https://example.com
  plugins: [{name: echo}]
  routes: [{name: my-route, paths: [/], plugins: [{name: echo}]}]
consumers:
- username: my-user
  plugins: [{name: echo}]
upstreams: [{name: up, targets: [{target: 10.0.0.1}]}]
targets: [{upstream: up, target: "b:80"}]
plugins:
- name: echo
- {name: echo, service: my-service, consumer: my-user}
`)
	const service, route, user = "0855b320-0dd2-547d-891d-601e9b38647f", "481a9539-f49c-51b6-b2e2-fe99ee68866c", "4b1b701d-de2b-5588-9aa2-3b97061d9f52"
	root, _ := ParseID(idRoot)
	make5 := func(kind, key string) string { return schema.NameID(schema.NameID(root, kind), key).String() }
	upstream := make5("upstreams", "up")
	tests := []struct {
		name, got, want string
	}{
		{"service", c.Services.All()[0].ID.String(), service},
		{"route", c.Routes.All()[0].ID.String(), route},
		{"consumer", c.Consumers.All()[0].ID.String(), user},
		{"upstream", c.Upstreams.All()[0].ID.String(), upstream},
		{"nested target", c.Targets.All()[0].ID.String(), make5("targets", "targets:*:"+upstream+":10.0.0.1")},
		{"top-level target", c.Targets.All()[1].ID.String(), make5("targets", "targets:*:up:b:80")},
		{"plugin in service", c.Plugins.All()[0].ID.String(), make5("plugins", "plugins:*:echo::"+service+":")},
		{"plugin in route", c.Plugins.All()[1].ID.String(), make5("plugins", "plugins:*:echo:"+route+"::")},
		{"plugin in consumer", c.Plugins.All()[2].ID.String(), make5("plugins", "plugins:*:echo:::"+user)},
		{"global plugin", c.Plugins.All()[3].ID.String(), make5("plugins", "plugins:*:echo:::")},
		{"plugin with names", c.Plugins.All()[4].ID.String(), make5("plugins", "plugins:*:echo::my-service:my-user")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("id is %s, want %s", tt.got, tt.want)
			}
		})
	}
}

// Where Kong makes a random id, ours is stable, and differs between equals.
func TestContentIDs(t *testing.T) {
	src := `
routes:
- paths: [/a]
- paths: [/a]
- {paths: [/b]}
`
	first, again := mustLoad(t, src), mustLoad(t, "# a comment"+src)
	seen := make(map[ID]bool)
	for i, r := range first.Routes.All() {
		if r.ID.IsZero() || seen[r.ID] {
			t.Errorf("route %d has id %v", i, r.ID)
		}
		seen[r.ID] = true
		if got := again.Routes.All()[i].ID; got != r.ID {
			t.Errorf("route %d has id %v after a reload, and %v before", i, got, r.ID)
		}
	}
	other := mustLoad(t, "routes: [{paths: [/b]}]")
	if other.Routes.All()[0].ID != first.Routes.All()[2].ID {
		t.Error("the id of an unnamed route depends on its place")
	}
}

func TestHash(t *testing.T) {
	base := mustLoad(t, "services: [{name: a, host: h}]").Hash
	tests := []struct {
		name, src string
		same      bool
	}{
		{"layout and comments", "services:\n- name: a # why\n  host: \"h\"\n", true},
		{"node", "node: {drain: 1s}\nservices: [{name: a, host: h}]", true},
		{"content", "services: [{name: a, host: i}]", false},
		{"type", "services: [{name: a, host: h, tags: []}]", false},
	}
	if len(base) != 32 {
		t.Errorf("hash %q has not 32 digits", base)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustLoad(t, tt.src).Hash; (got == base) != tt.same {
				t.Errorf("hash is %s, that of the base %s", got, base)
			}
		})
	}
}
