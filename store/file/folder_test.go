package file

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWatchRulesFolder: a change of any file of node.waf.rules is told, and so are
// files that come and go, in folders that were empty too.
func TestWatchRulesFolder(t *testing.T) {
	t.Parallel()
	dir, rules := t.TempDir(), t.TempDir()
	for _, name := range []string{"after", "before"} {
		if err := os.Mkdir(filepath.Join(rules, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(rules, "after", "own.conf")
	write(t, own, "# one\n")
	path := filepath.Join(dir, "bulwark.yaml")
	write(t, path, "_format_version: \"3.0\"\nnode: {waf: {rules: "+rules+"}}\n")
	s := newStore(t, path)
	load := func() {
		t.Helper()
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
	}
	load()
	w := watch(t, s)
	w.quiet()
	for _, change := range []func(){
		func() { write(t, own, "# another\n") },
		func() { write(t, filepath.Join(rules, "before", "new.conf"), "# new\n") },
		func() {
			rename(t, filepath.Join(rules, "before", "new.conf"), filepath.Join(rules, "before", "newer.conf"))
		},
		func() { write(t, filepath.Join(rules, "recommended.conf"), "# base\n") },
	} {
		change()
		w.told()
		load()
	}
}
