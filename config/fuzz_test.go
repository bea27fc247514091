package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad checks that any file either loads, and then marshals and loads
// again to the same thing, or gives errors that can be printed.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"full.yml", "wrong.yml"} {
		src, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, src := range []string{
		"", "{}", "[]", "null", "_format_version: \"3.0\"\nservices: [{host: a}]", "a: &a [*a]", "a: &a {<<: *a}",
		"x: &x {y: 1}\n_format_version: \"3.0\"\nservices: [{<<: *x}]", `{"_format_version":"3.0","routes":[{"paths":["/"]}]}`,
		"_format_version: \"3.0\"\nnode: {router_flavor: expressions}\nroutes: [{expression: 'http.path ^= \"/a\"', priority: 1}]",
		"? [a]\n: b", "--- a\n--- b", "!!binary x", "_format_version: \"1.1\"\nroutes: [{paths: ['/%4']}]",
	} {
		f.Add([]byte(src))
	}
	kinds := newKinds()
	from := testOrigin{env: map[string]string{"REDIS_PASSWORD": "x"}}.origin()
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Load(src, kinds, from)
		if err != nil {
			var list *Errors
			if !errors.As(err, &list) || len(list.List) == 0 || err.Error() == "" {
				t.Fatalf("error is %#v", err)
			}
			return
		}
		again, err := Load(src, kinds, from)
		if err != nil || again.Hash != c.Hash {
			t.Fatalf("loading again: %v", err)
		}
		for _, r := range c.Routes.All() {
			if _, err := json.Marshal(r); err != nil {
				t.Fatal(err)
			}
			if _, ok := again.Routes.Get(r.ID); !ok {
				t.Fatalf("route %v has another id after a reload", r.ID)
			}
		}
		for _, p := range c.Plugins.All() {
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
		}
	})
}
