package rules

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write writes files below a directory of its own.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// includes are the files that a rule text reads.
func includes(t *testing.T, w *WAFRules) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(w.Directives) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Include ")
		if _, err := fs.Stat(w.FS, name); !ok || err != nil {
			t.Errorf("the line %q: %v", line, err)
		}
		names = append(names, name)
	}
	return names
}

func TestBuiltInWAFRules(t *testing.T) {
	w, err := WAF("")
	if err != nil {
		t.Fatal(err)
	}
	files := includes(t, w)
	if files[0] != "bulwark/recommended.conf" || files[1] != "bulwark/crs-setup.conf" || files[len(files)-1] != "bulwark/after.conf" {
		t.Errorf("the files are %q", files)
	}
	base, err := fs.ReadFile(w.FS, files[0])
	if err != nil {
		t.Fatal(err)
	}
	for id := 200000; id <= 200009; id++ {
		if !strings.Contains(string(base), fmt.Sprintf("id:%d,", id)) {
			t.Errorf("the base configuration has no rule %d", id)
		}
	}
	for _, want := range []Version{{"OWASP_CRS", "4.25.0"}, {"bulwark-recommended", "1.0.0"}} {
		if !slices.Contains(w.Versions, want) {
			t.Errorf("the versions %v lack %v", w.Versions, want)
		}
	}
	for _, name := range Packs() {
		if !slices.ContainsFunc(w.Versions, func(v Version) bool { return v.Name == "bulwark-pack-"+name && v.Version != "" }) {
			t.Errorf("the pack %q tells no version", name)
		}
	}
	if w.Setup+w.Core != w.Directives || !strings.HasPrefix(w.Core, "Include crs/") {
		t.Error("setup and core do not make the whole")
	}
}

// TestExternalWAFRules shows what a directory replaces and what it adds, and
// the order of both.
func TestExternalWAFRules(t *testing.T) {
	dir := write(t, map[string]string{
		"rules/REQUEST-901-INITIALIZATION.conf": "SecComponentSignature \"OWASP_CRS/4.28.0\"\n",
		"rules/words.data":                      "x\n",
		"crs-setup.conf":                        "",
		"plugins/fake-config.conf":              "",
		"plugins/fake-before.conf":              "",
		"plugins/fake-after.conf":               "SecComponentSignature \"fake-plugin/1.2\"\n",
		"plugins/README.md":                     "",
		"before/10-own.conf":                    "",
		"after/20-own.conf":                     "",
		"after/10-own.conf":                     "",
	})
	w, err := WAF(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bulwark/recommended.conf", "external/crs-setup.conf", "external/plugins/fake-config.conf", "external/plugins/fake-before.conf", "bulwark/before.conf",
		"bulwark/packs/drupal.conf", "bulwark/packs/graphql.conf", "bulwark/packs/grpc.conf", "bulwark/packs/nextcloud.conf", "bulwark/packs/phpmyadmin.conf", "bulwark/packs/wordpress.conf",
		"external/before/10-own.conf", "external/rules/REQUEST-901-INITIALIZATION.conf", "bulwark/after.conf", "external/plugins/fake-after.conf", "external/after/10-own.conf", "external/after/20-own.conf",
	}
	if got := includes(t, w); !slices.Equal(got, want) {
		t.Errorf("the files are\n%q, want\n%q", got, want)
	}
	for _, v := range []Version{{"OWASP_CRS", "4.28.0"}, {"fake-plugin", "1.2"}} {
		if !slices.Contains(w.Versions, v) {
			t.Errorf("the versions %v lack %v", w.Versions, v)
		}
	}
}

func TestExternalWAFRulesRefused(t *testing.T) {
	if _, err := WAF(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there is accepted")
	}
	if _, err := WAF(write(t, map[string]string{"rules/readme": ""})); err == nil || !strings.Contains(err.Error(), "no .conf files") {
		t.Errorf("a rule set without rules: %v", err)
	}
	outside := filepath.Join(write(t, map[string]string{"secret.conf": "SecRuleEngine Off"}), "secret.conf")
	dir := write(t, map[string]string{"before/ok.conf": ""})
	if err := os.Symlink(outside, filepath.Join(dir, "before", "link.conf")); err != nil {
		t.Fatal(err)
	}
	if _, err := WAF(dir); err == nil {
		t.Error("a link that leads out of the directory is followed")
	}
}
