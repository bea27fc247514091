package catalog

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
)

func TestCatalog(t *testing.T) {
	all := All()
	names := all.Names()
	if len(names) != len(all) || len(names) == 0 {
		t.Fatalf("names %q", names)
	}
	seen := make(map[string]bool)
	for i, kind := range all {
		if kind.Name == "" || seen[kind.Name] {
			t.Errorf("kind %d has the name %q, which is empty or taken", i, kind.Name)
		}
		seen[kind.Name] = true
		if kind.Scopes == 0 || kind.Speaks&(plugins.HTTP|plugins.Stream) == 0 || kind.Schema == nil {
			t.Errorf("%s: scopes %b, protocols %b", kind.Name, kind.Scopes, kind.Speaks)
		}
		if s, ok := all.Schema(kind.Name); !ok || s != kind.Schema {
			t.Errorf("%s: its schema is not found", kind.Name)
		}
		for _, scope := range []string{"", "service", "route", "consumer", "listener"} {
			if all.Allows(kind.Name, scope) != kind.Allows(scope) {
				t.Errorf("%s: the catalog and the kind differ about the scope %q", kind.Name, scope)
			}
		}
	}
	if _, ok := all.Schema("nobody"); ok || all.Allows("nobody", "") {
		t.Error("an unknown plugin is known")
	}
}

// TestOrder holds the order that Kong's users count on: ids before everything
// that may answer, addresses before answers.
func TestOrder(t *testing.T) {
	names := All().Names()
	want := []string{
		"correlation-id", "bot-detection", "ip-restriction", "cors", "request-size-limiting",
		"request-transformer", "response-transformer", "redirect", "proxy-cache",
		"prometheus", "file-log", "request-termination", "compression",
	}
	at := -1
	for _, name := range want {
		i := slices.Index(names, name)
		if i <= at {
			t.Errorf("the order is %q, want %q in it", names, want)
		}
		at = i
	}
}

// TestExamples loads every example as it stands.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples %q, %v", files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(src, All(), config.Origin{Path: path, Environ: func() []string { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Services.Len() == 0 || cfg.Routes.Len() == 0 {
				t.Error("the example has no service or no route")
			}
		})
	}
}
