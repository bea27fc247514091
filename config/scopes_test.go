package config

import (
	"slices"
	"strings"
	"testing"
)

// scopedKinds are the plugins of the tests, each allowed where it is listed.
type scopedKinds struct {
	testKinds
	allowed map[string][]string
}

func (k scopedKinds) Allows(plugin, scope string) bool {
	return slices.Contains(k.allowed[plugin], scope)
}

func TestPluginScopes(t *testing.T) {
	const entities = `
services: [{name: s, host: h, routes: [{name: r, paths: [/]}]}]
consumers: [{username: c}]
`
	kinds := scopedKinds{newKinds(), map[string][]string{
		"echo":   {"", "service", "route"},
		"strict": {"consumer", "route"},
	}}
	tests := []struct {
		name, src string
		want      []string
	}{
		{"global", "plugins: [{name: echo}]", nil},
		{"service and route", "plugins: [{name: echo, service: s, route: r}]", nil},
		{"a consumer where none may be", "plugins: [{name: echo, consumer: c}]", []string{
			"5:34: plugins[0].consumer: value must be null (expected no consumer, since plugin 'echo' cannot be limited to one)",
		}},
		{"a consumer beside a route", "plugins: [{name: echo, route: r, consumer: c}]", []string{
			"5:44: plugins[0].consumer: value must be null (expected no consumer, since plugin 'echo' cannot be limited to one)",
		}},
		{"a service where none may be", "plugins: [{name: strict, config: {key: k}, service: s}]", []string{
			"5:53: plugins[0].service: value must be null (expected no service, since plugin 'strict' cannot be limited to one)",
		}},
		{"not global", "plugins: [{name: strict, config: {key: k}}]", []string{
			"5:18: plugins[0].name: plugin 'strict' cannot be global (expected a service, route or consumer to limit it to)",
		}},
		{"allowed beside each other", "plugins: [{name: strict, config: {key: k}, consumer: c, route: r}]", nil},
		{"unknown plugins are told of once", "plugins: [{name: nobody, consumer: c}]", []string{
			"5:18: plugins[0].name: plugin 'nobody' not enabled; add it to the 'plugins' configuration property",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := testOrigin{}.origin()
			_, err := Load(versioned(entities[1:]+"# line 4\n"+tt.src), kinds, origin)
			var got []string
			if err != nil {
				got = strings.Split(strings.ReplaceAll(err.Error(), origin.Path+":", ""), "\n")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("errors\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	t.Run("nested in a consumer", func(t *testing.T) {
		_, err := Load(versioned("consumers: [{username: c, plugins: [{name: echo}]}]"), kinds, testOrigin{}.origin())
		if err == nil || !strings.Contains(err.Error(), "consumers[0].plugins[0].consumer: value must be null") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("kinds that do not tell", func(t *testing.T) {
		mustLoad(t, entities+"plugins: [{name: echo, consumer: c}]")
	})
}
