package rules

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// TestWAFReadsOnce changes a directory after it was read: what it was is what all
// who read it see.
func TestWAFReadsOnce(t *testing.T) {
	dir := write(t, map[string]string{"after/a.conf": "# first", "after/words.data": "first"})
	w, err := WAF(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := fs.ReadFile(w.FS, name)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if got := read("external/after/words.data"); got != "first" {
		t.Fatalf("the data file is %q", got)
	}
	for name, text := range map[string]string{"after/a.conf": "# second", "after/words.data": "second", "after/b.conf": "# new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := read("external/after/a.conf") + read("external/after/words.data"); got != "# firstfirst" {
		t.Errorf("the files are %q now", got)
	}
	if found, _ := fs.Glob(w.FS, "external/after/*.conf"); len(found) != 1 {
		t.Errorf("the folder has %q now", found)
	}
	if again, err := WAF(dir); err != nil || !strings.Contains(again.Directives, "external/after/b.conf") {
		t.Errorf("read anew: %v, %s", err, again.Directives)
	}
}

// TestReadOnce is a file system as any other.
func TestReadOnce(t *testing.T) {
	r := &readOnce{fsys: fstest.MapFS{"a/b.conf": {Data: []byte("b")}, "a/c.conf": {Data: []byte("c")}, "d": {Data: []byte("d")}}}
	if err := fstest.TestFS(r, "a/b.conf", "a/c.conf", "d"); err != nil {
		t.Error(err)
	}
	r = &readOnce{fsys: fstest.MapFS{"a": {Data: []byte("12")}, "b": {Data: []byte("3")}}, bytes: maxExternalBytes - 2}
	if _, err := fs.ReadFile(r, "a"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := fs.ReadFile(r, "b"); err == nil || !strings.Contains(err.Error(), "have more than") {
			t.Errorf("beyond the bound: %v", err)
		}
	}
}
