package waf

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweepUnready removes what a start has left that ended before it had its
// directory locked, and leaves alone what may still be locked, and what is none.
func TestSweepUnready(t *testing.T) {
	parent := t.TempDir()
	old := time.Now().Add(-2 * tempUnreadyTime)
	for name, at := range map[string]time.Time{"bulwark-new-1": old, "bulwark-new-2": time.Now(), "other-new-3": old} {
		path := filepath.Join(parent, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(parent, "other-new-3"), filepath.Join(parent, "bulwark-new-4")); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	for name, stays := range map[string]bool{"bulwark-new-1": false, "bulwark-new-2": true, "other-new-3": true, "bulwark-new-4": true} {
		if _, err := os.Lstat(filepath.Join(parent, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
