package testkit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Tool returns a program that internal/devtools names, which is built if that was
// not done yet. Debian has none of them, or one that is too old.
func Tool(t testing.TB, name string) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where the sources are is not known")
	}
	devtools := filepath.Join(filepath.Dir(filepath.Dir(here)), "devtools")
	for _, file := range []string{"go.mod", "go.sum"} { // so that a kept result counts only for this version
		if _, err := os.ReadFile(filepath.Join(devtools, file)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "-C", devtools, "tool", "-n", name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
