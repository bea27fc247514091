package filelog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"no path", `{}`, `config.path: required field missing`},
		{"path with a wildcard", `{path: "/tmp/*.log"}`, `config.path: not a valid filename`},
		{"path with a shell's character", "{path: \"/tmp/`id`\"}", `config.path: not a valid filename`},
		{"Lua", `{path: /tmp/a, custom_fields_by_lua: {a: "return 1"}}`, `config.custom_fields_by_lua: not served by this version of Bulwark`},
		{"type", `{path: /tmp/a, reopen: 1}`, `config.reopen: expected a boolean`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: file-log, config: "+tt.config+"}]", tt.want)
		})
	}
}

// rig is an edge with two routes whose exchanges are logged to one file, and one
// that is not logged.
type rig struct {
	*testkit.Edge
	config string
	path   string
}

func start(t *testing.T, reopen bool) *rig {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(origin.Close)
	r := &rig{path: filepath.Join(t.TempDir(), "file.log")}
	r.config = fmt.Sprintf(`
services:
  - name: shop
    url: %[1]s
    routes:
      - {name: one, paths: [/one], plugins: [{name: file-log, config: {path: %[2]q, reopen: %[3]t, custom_fields_by_lua: null}}]}
      - {name: two, paths: [/two], plugins: [{name: file-log, config: {path: %[2]q}}, {name: request-termination}]}
      - {name: none, paths: [/none]}
`, origin.URL, r.path, reopen)
	r.Edge = testkit.StartEdge(t, r.config)
	return r
}

// get asks for a path and returns the status.
func (r *rig) get(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+r.At("http").String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // so that the edge has no connection to drain
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// lines waits until a file has as many lines and returns them.
func lines(t *testing.T, path string, n int) []string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		text, _ := os.ReadFile(path) // it may not exist yet
		if bytes.Count(text, []byte("\n")) >= n {
			return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q has %q, want %d lines", path, text, n)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLines: each exchange of the instances' routes makes one line, the same as
// in the access log, in a file with mode 0644.
func TestLines(t *testing.T) {
	r := start(t, false)
	for _, path := range []string{"/one?a=b", "/none", "/two", "/nowhere"} {
		r.get(t, path)
	}
	got := lines(t, r.path, 2)
	r.Stop()
	want := slices.DeleteFunc(r.AccessLog(), func(l string) bool {
		return strings.Contains(l, `"uri":"/none"`) || strings.Contains(l, `"uri":"/nowhere"`)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the lines differ from those of the access log (-want +got):\n%s", diff)
	}
	var entry struct {
		Response struct{ Status int }
		Route    struct{ Name string }
	}
	if err := json.Unmarshal([]byte(got[1]), &entry); err != nil || entry.Response.Status != 503 || entry.Route.Name != "two" {
		t.Errorf("the second line is %s: %v", got[1], err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if mode(t, r.path) != mode(t, other) {
		t.Errorf("the file's mode is %v, want %v", mode(t, r.path), mode(t, other))
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestReopenLogs moves the file away and tells the edge so.
func TestReopenLogs(t *testing.T) {
	r := start(t, false)
	r.get(t, "/one")
	lines(t, r.path, 1)
	if err := os.Rename(r.path, r.path+".1"); err != nil {
		t.Fatal(err)
	}
	r.get(t, "/one")
	lines(t, r.path+".1", 2)
	if err := r.ReopenLogs(); err != nil {
		t.Fatal(err)
	}
	r.get(t, "/two")
	lines(t, r.path, 1)
	r.Stop()
	if n := len(lines(t, r.path+".1", 2)); n != 2 {
		t.Errorf("the moved file has %d lines, want 2", n)
	}
}

// TestReopen moves the file away from an instance that looks for it.
func TestReopen(t *testing.T) {
	r := start(t, true)
	r.get(t, "/one")
	lines(t, r.path, 1)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.get(t, "/two") // the other instance shares the file
	if got := lines(t, r.path, 1); !strings.Contains(got[0], `"uri":"/two"`) {
		t.Errorf("the new file has %q", got)
	}
}

// TestShared: a file stays open for the instances that are left, and is closed
// with the last one.
func TestShared(t *testing.T) {
	before := testkit.Goroutines()
	t.Run("shared", func(t *testing.T) {
		r := start(t, false)
		r.get(t, "/one")
		logged := "name: one, paths: [/one], plugins: [{name: file-log"
		if err := r.Use(strings.ReplaceAll(r.config, logged, strings.ReplaceAll(logged, "{name", "{enabled: false, name"))); err != nil {
			t.Fatal(err)
		}
		r.get(t, "/one")
		r.get(t, "/two")
		got := lines(t, r.path, 2)
		if len(got) != 2 || !strings.Contains(got[1], `"uri":"/two"`) {
			t.Errorf("lines %q", got)
		}
	})
	if left := testkit.Leaked(before); len(left) > 0 {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	}
}

// TestUnwritable: a path that cannot be opened is an error of the configuration,
// and the old one serves on.
func TestUnwritable(t *testing.T) {
	r := start(t, false)
	err := r.Use(strings.ReplaceAll(r.config, r.path, filepath.Join(r.path, "below")))
	if err == nil || !strings.Contains(err.Error(), `opening file log "`+r.path+`/below"`) {
		t.Errorf("error %v", err)
	}
	r.get(t, "/one")
	lines(t, r.path, 1)
}
