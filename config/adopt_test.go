package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// namesOf returns changed keys as the entities' lookup keys or ids, looked up
// in either configuration, sorted.
func namesOf(changed []Key, configs ...*Config) []string {
	list := []string{}
	for _, k := range changed {
		name := k.ID.String()
		for _, c := range configs {
			if e, ok := c.Services.Get(k.ID); ok {
				name = e.Name
			}
			if e, ok := c.Routes.Get(k.ID); ok {
				name = e.Name
			}
			if e, ok := c.Plugins.Get(k.ID); ok {
				name = e.Name
			}
			if e, ok := c.SNIs.Get(k.ID); ok {
				name = e.Name
			}
			if e, ok := c.Consumers.Get(k.ID); ok {
				name = e.Username
			}
		}
		list = append(list, k.Kind+" "+name)
	}
	slices.Sort(list)
	return list
}

func TestAdopt(t *testing.T) {
	const base = `services:
- {name: a, host: a.test, routes: [{name: r1, paths: [/1]}, {name: r2, paths: [/2]}]}
- {name: b, host: b.test}
consumers: [{username: c}]
plugins: [{name: echo, service: a, config: {token: one, match: "^x", labels: {k: v}, allow: [10.0.0.0/8]}}]
`
	tests := []struct {
		name, from, to string // an edit of the base
		want           []string
	}{
		{"nothing", "", "", nil},
		{"layout only", "consumers: [{username: c}]", "consumers:\n  - username:   c # a comment", nil},
		{"a route", "/2", "/two", []string{"routes r2"}},
		{"a service", "b.test", "bb.test", []string{"services b"}},
		{"a service with routes", "a.test", "aa.test", []string{"services a"}},
		{"an added route", "paths: [/2]}", "paths: [/2]}, {name: r3, paths: [/3]}", []string{"routes r3"}},
		{"a removed route", ", {name: r2, paths: [/2]}", "", []string{"routes r2"}},
		{"a renamed route", "r2", "r9", []string{"routes r2", "routes r9"}},
		{"the order", "{name: r1, paths: [/1]}, {name: r2, paths: [/2]}", "{name: r2, paths: [/2]}, {name: r1, paths: [/1]}", nil},
		{"a removed collection", "consumers: [{username: c}]", "", []string{"consumers c"}},
		{"an added collection", "consumers:", "snis: []\nupstreams: []\nconsumers:", nil},
		{"a secret", "token: one", "token: two", []string{"plugins echo"}},
		{"a pattern", "^x", "^y", []string{"plugins echo"}},
		{"a map", "k: v", "k: w", []string{"plugins echo"}},
		{"a prefix", "10.0.0.0/8", "10.0.0.0/9", []string{"plugins echo"}},
		{"a default that is written out", "config: {token", "enabled: true, config: {status: 200, token", nil},
		{"several", "r1, paths: [/1]", "r1, paths: [/one], strip_path: false", []string{"routes r1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, fresh := mustLoad(t, base), mustLoad(t, strings.Replace(base, tt.from, tt.to, 1))
			before := slices.Clone(fresh.Routes.All())
			got, changed := fresh.Adopt(old)
			if changed == nil {
				t.Error("the keys are nil, which stands for everything")
			}
			if diff := cmp.Diff(append([]string{}, tt.want...), namesOf(changed, old, fresh)); diff != "" {
				t.Errorf("changed keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(everything(t, fresh), everything(t, got)); diff != "" {
				t.Errorf("the result differs from what was loaded (-want +got):\n%s", diff)
			}
			if got.Hash != fresh.Hash {
				t.Errorf("hash %s, want %s", got.Hash, fresh.Hash)
			}
			checkAdopted(t, old, got, changed)
			if !slices.Equal(before, fresh.Routes.All()) {
				t.Error("the loaded configuration itself was changed")
			}
		})
	}
	cfg := mustLoad(t, base)
	if same, changed := cfg.Adopt(nil); same != cfg || changed != nil {
		t.Errorf("without an old one: %p and keys %v, want %p and nil", same, changed, cfg)
	}
}

// everything returns all entities as JSON, and what lookups find.
func everything(t *testing.T, c *Config) []string {
	t.Helper()
	var all []string
	for _, e := range c.Services.All() {
		byKey, _ := c.Services.Lookup(e.Name)
		byID, _ := c.Services.Get(e.ID)
		all = append(all, toJSON(t, e), toJSON(t, byKey), toJSON(t, byID))
	}
	for _, e := range c.Routes.All() {
		byKey, _ := c.Routes.Lookup(e.Name)
		byID, _ := c.Routes.Get(e.ID)
		all = append(all, toJSON(t, e), toJSON(t, byKey), toJSON(t, byID))
	}
	for _, e := range c.Plugins.All() {
		all = append(all, toJSON(t, e), e.Config.(*echoConfig).Token.Reveal())
	}
	for _, e := range c.Consumers.All() {
		all = append(all, toJSON(t, e))
	}
	return all
}

// checkAdopted checks that routes and services that did not change are the old
// pointers, and that none of the removed can be found.
func checkAdopted(t *testing.T, old, got *Config, changed []Key) {
	t.Helper()
	for _, e := range got.Routes.All() {
		before, known := old.Routes.Get(e.ID)
		if adopted := known && before == e; adopted == slices.Contains(changed, Key{KindRoute, e.ID}) {
			t.Errorf("route %q: adopted %t", e.Name, adopted)
		}
	}
	for _, e := range got.Services.All() {
		before, known := old.Services.Get(e.ID)
		if adopted := known && before == e; adopted == slices.Contains(changed, Key{KindService, e.ID}) {
			t.Errorf("service %q: adopted %t", e.Name, adopted)
		}
	}
	for _, e := range old.Routes.All() {
		byID, ok := got.Routes.Get(e.ID)
		if ok && !slices.Contains(got.Routes.All(), byID) {
			t.Errorf("route %q is found by its id and is not there", e.Name)
		}
		if byKey, ok := got.Routes.Lookup(e.Name); ok && !slices.Contains(got.Routes.All(), byKey) {
			t.Errorf("route %q is found by its name and is not there", e.Name)
		}
	}
}

// TestAdoptOtherKinds adopts across two descriptions of the same plugins: that
// of a configuration is no part of its content.
func TestAdoptOtherKinds(t *testing.T) {
	const src = "plugins: [{name: echo, config: {token: one}}]\n"
	if _, changed := mustLoad(t, src).Adopt(mustLoad(t, src)); len(changed) != 0 {
		t.Errorf("changed keys %v", changed)
	}
}

func TestAdoptCertificates(t *testing.T) {
	cert, key := testPair(t, nil)
	other, otherKey := testPair(t, nil)
	text := func(cert, key, snis string) string {
		return "certificates: [{id: 0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f01, cert: " + quoted(t, cert) + ", key: " + quoted(t, key) + ", snis: [" + snis + "]}]\n"
	}
	old := mustLoad(t, text(cert, key, "a.test"))
	id := "0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f01"
	tests := []struct {
		name, src string
		want      []string
	}{
		{"the same", text(cert, key, "a.test"), []string{}},
		{"another pair", text(other, otherKey, "a.test"), []string{"certificates " + id}},
		{"another name", text(cert, key, "b.test"), []string{"certificates " + id, "snis a.test", "snis b.test"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fresh := mustLoad(t, tt.src)
			got, changed := fresh.Adopt(old)
			if diff := cmp.Diff(tt.want, namesOf(changed, old, fresh)); diff != "" {
				t.Errorf("changed keys (-want +got):\n%s", diff)
			}
			leaf := got.Certificates.All()[0].Pairs()[0].Leaf
			if !leaf.Equal(fresh.Certificates.All()[0].Pairs()[0].Leaf) {
				t.Error("the certificate is not the loaded one")
			}
		})
	}
}

// TestAdoptVault notices a secret that changed behind the same reference.
func TestAdoptVault(t *testing.T) {
	load := func(value string) *Config {
		c, err := Load(versioned("plugins: [{name: echo, config: {token: \"{vault://env/token}\"}}]\n"), newKinds(),
			testOrigin{env: map[string]string{"TOKEN": value}}.origin())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := load("one")
	if _, changed := load("one").Adopt(old); len(changed) != 0 {
		t.Errorf("changed keys %v with the same secret", changed)
	}
	got, changed := load("two").Adopt(old)
	if len(changed) != 1 || got.Plugins.All()[0].Config.(*echoConfig).Token.Reveal() != "two" {
		t.Errorf("changed keys %v with another secret", changed)
	}
}
