package lint

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// source loads the module these tests belong to.
func source(t *testing.T) *Tree {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func text(t *testing.T, tree *Tree, name string) string {
	t.Helper()
	src, err := fs.ReadFile(tree.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

func words(t *testing.T, tree *Tree) map[string]string {
	t.Helper()
	w, err := forbiddenWords(tree.FS)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// rules are all rules, by the name of the test that holds the code to them.
func rules(tree *Tree) map[string]func(*testing.T) []string {
	return map[string]func(*testing.T) []string{
		"floors":            func(*testing.T) []string { return checkFloors(tree) },
		"floor table":       func(t *testing.T) []string { return checkFloorTable(text(t, tree, architectureFile)) },
		"confined modules":  func(*testing.T) []string { return checkModules(tree) },
		"forbidden imports": func(*testing.T) []string { return checkForbiddenImports(tree) },
		"package comments":  func(*testing.T) []string { return checkPackageDocs(tree) },
		"tls folder":        func(*testing.T) []string { return checkTLSFolder(tree) },
		"file length":       func(*testing.T) []string { return checkLength(tree) },
		"forbidden code":    func(*testing.T) []string { return checkForbiddenCode(tree) },
		"notes":             func(*testing.T) []string { return checkTodos(tree) },
		"config fields":     func(*testing.T) []string { return checkFieldComments(tree) },
		"plugin folders":    func(*testing.T) []string { return checkPluginShape(tree) },
		"catalog":           func(*testing.T) []string { return checkCatalog(tree) },
		"error texts":       func(*testing.T) []string { return checkErrorTexts(tree) },
		"metric names":      func(*testing.T) []string { return checkMetricNames(tree) },
		"glossary":          func(t *testing.T) []string { return checkGlossary(tree, words(t, tree)) },
		"limits":            func(t *testing.T) []string { return checkLimits(tree, text(t, tree, limitsFile)) },
		"limit constants":   func(t *testing.T) []string { return checkConstants(tree, text(t, tree, limitsFile)) },
		"pitfalls":          func(t *testing.T) []string { return checkPitfalls(tree, text(t, tree, pitfallsFile)) },
		"links":             func(*testing.T) []string { return checkLinks(tree) },
	}
}

// TestRules holds the module to the rules.
func TestRules(t *testing.T) {
	tree := source(t)
	for name, check := range rules(tree) {
		t.Run(name, func(t *testing.T) {
			for _, violation := range check(t) {
				t.Error(violation)
			}
		})
	}
}

// TestRulesFind shows each rule finding what it is there to find, and nothing
// else, in a small module.
func TestRulesFind(t *testing.T) {
	const m = module
	tests := []struct {
		name, rule string
		files      map[string]string
		want       []string // parts of the violations, in order
	}{
		{"an import downward", "floors", map[string]string{
			"l7/a.go":     "package l7\nimport _ \"" + m + "/config\"",
			"config/a.go": "package config",
		}, nil},
		{"an import upward", "floors", map[string]string{
			"config/a.go": "package config\nimport _ \"" + m + "/l7\"",
		}, []string{`config/a.go: imports upward, "l7" on floor 6 from floor 2`}},
		{"an import sideways", "floors", map[string]string{
			"l7/h1/a.go": "package h1\nimport _ \"" + m + "/l7/forward\"",
		}, []string{`imports sideways, "l7/forward" on the same floor 7`}},
		{"a plugin that imports its sibling", "floors", map[string]string{
			"plugins/one/a.go": "package one\nimport _ \"" + m + "/plugins/two\"",
		}, []string{`imports sideways, "plugins/two"`}},
		{"the grammar between l7 and its engines", "floors", map[string]string{
			"l7/h1/a.go":        "package h1\nimport _ \"" + m + "/l7/h1/syntax\"",
			"l7/h1/syntax/a.go": "package syntax\nimport _ \"" + m + "/l7\"",
			"l7/a.go":           "package l7\nimport _ \"" + m + "/l7/h1/syntax\"",
		}, []string{`l7/a.go: imports upward`}},
		{"one family", "floors", map[string]string{
			"bench/load/a.go": "package load\nimport _ \"" + m + "/bench/origin\"",
			"bench/a.go":      "package bench\nimport _ \"" + m + "/admin\"",
		}, []string{`bench/a.go: imports sideways, "admin"`}},
		{"no floor", "floors", map[string]string{
			"util/a.go":   "package util",
			"config/a.go": "package config\nimport _ \"" + m + "/util\"",
		}, []string{`config/a.go: imports "util", which stands on no floor`, "util: the package stands on no floor"}},
		{"test support in the product", "floors", map[string]string{
			"l7/a.go":      "package l7\nimport _ \"" + m + "/internal/testkit\"",
			"l7/a_test.go": "package l7\nimport _ \"" + m + "/cmd/bulwark\"",
		}, []string{`l7/a.go: imports "internal/testkit", which is for tests only`}},

		{"a confined module", "confined modules", map[string]string{
			"l7/a.go":      "package l7\nimport _ \"golang.org/x/net/http2/hpack\"",
			"l7/a_test.go": "package l7\nimport _ \"golang.org/x/net/http2\"",
			"l7/h2/a.go":   "package h2\nimport _ \"golang.org/x/net/http2\"",
			"bench/a.go":   "package bench\nimport _ \"github.com/quic-go/quic-go/http3\"",
			"rules/a.go":   "package rules\nimport _ \"github.com/corazawaf/coraza-coreruleset/v4\"",
			"waf/a.go":     "package waf\nimport _ \"github.com/corazawaf/coraza/v3\"",
		}, []string{`l7/a.go: imports "golang.org/x/net/http2/hpack", which is confined to l7/h2`}},
		{"unsafe", "forbidden imports", map[string]string{
			"l7/a.go":      "package l7\nimport _ \"unsafe\"",
			"l7/a_test.go": "package l7\nimport \"unsafe\"",
			unsafeFile:     "package sock\nimport \"unsafe\"",
		}, []string{"l7/a.go", "l7/a_test.go"}},

		{"package comments", "package comments", map[string]string{
			"good/a.go":        "// Package good is good.\npackage good",
			"good/b.go":        "package good",
			"none/a.go":        "package none",
			"two/a.go":         "// Package two is one.\npackage two",
			"two/b.go":         "// Package two is two.\npackage two",
			"wrong/a.go":       "// This is wrong.\npackage wrong",
			"long/a.go":        "// Package long is\n" + strings.Repeat("// long\n", 12) + "package long",
			"cmd/tool/main.go": "// Command tool works.\npackage main",
			"tests/a_test.go":  "package tests",
		}, []string{"long/a.go: a package comment of over", "none: the package has no", "two/b.go: a second", `wrong/a.go: the package comment does not begin with "Package wrong "`}},
		{"Go in tls", "tls folder", map[string]string{
			"tls/a.go":       "package tls",
			"tls/hello/a.go": "package hello",
		}, []string{"tls/a.go"}},
		{"a long file", "file length", map[string]string{
			"l7/long.go":      "package l7\n" + strings.Repeat("\n", maxLines),
			"l7/ok.go":        "package l7\n" + strings.Repeat("\n", maxLines-1),
			"l7/long_test.go": "package l7\n" + strings.Repeat("\n", maxLines),
			"l7/long_gen.go":  "// Code generated by hand. DO NOT EDIT.\n\npackage l7\n" + strings.Repeat("\n", maxLines),
		}, []string{"l7/long.go: 601 lines"}},
		{"init, linkname, skips", "forbidden code", map[string]string{
			"l7/a.go":                 "package l7\nfunc init() {}\ntype T int\nfunc (T) init() {}\n//go:linkname x y\n",
			"l7/a_test.go":            "package l7\nfunc f() { t.Skip(1); t.SkipNow(); r.Skip(1); b.Skipf(2) }",
			"l7/b_test.go":            "//go:build !race\n\npackage l7\nfunc TestAllocs() {}\nfunc TestFast() {}\nfunc help() {}",
			"l7/c_test.go":            "//go:build race\n\npackage l7\nfunc TestSlow() {}",
			"internal/sock/b_test.go": "//go:build !race\n\npackage sock\nfunc TestAll() {}",
		}, []string{"l7/a.go:2: an init", "l7/a.go:5: go:linkname", "l7/a_test.go:2", "l7/a_test.go:2", "l7/a_test.go:2", "l7/b_test.go:5: a test that is not built"}},
		{"notes", "notes", map[string]string{
			"l7/a.go": "package l7\n// TODO: later\n\n// TODO(#12): what\n\n// FIXME\n\n// the TODOs\n",
		}, []string{"l7/a.go:2: TODO", "l7/a.go:6: FIXME"}},
		{"fields", "config fields", map[string]string{
			"config/a.go":             "package config\ntype A struct {\n\tB int\n\t// C is.\n\tC int\n\tD int // is\n\tE int `doc:\"Is.\"`\n\tf int\n}\ntype g struct { H int }",
			"plugins/one/config.go":   "package one\ntype Config struct { A int }",
			"plugins/one/plugin.go":   "package one\ntype Plugin struct { A int }",
			"config/schema/schema.go": "package schema\ntype A struct { B int }",
		}, []string{"config/a.go:3: the field A.B", "plugins/one/config.go:2: the field Config.A"}},
		{"plugin folders", "plugin folders", map[string]string{
			"plugins/good/doc.go":                "package good",
			"plugins/good/config.go":             "package good",
			"plugins/good/plugin.go":             "package good\nvar _ l7.RequestHook = (*Plugin)(nil)\nfunc Kind() plugins.Kind { return nil }",
			"plugins/good/plugin_test.go":        "package good",
			"plugins/good/testdata/a.txtar":      "x",
			"plugins/bad-name/plugin.go":         "package bad",
			"plugins/internal/counters/count.go": "package counters",
			"plugins/catalog/catalog.go":         "package catalog",
			"plugins/kind.go":                    "package plugins",
		}, []string{
			"plugins/bad-name: a plugin's folder", "doc.go is missing", "config.go is missing", "plugin_test.go is missing",
			"no golden script", "no func Kind()", "no guard",
		}},
		{"catalog", "catalog", map[string]string{
			"plugins/one/plugin.go":   "package one",
			"plugins/two/plugin.go":   "package two",
			"plugins/three/plugin.go": "package three",
			"plugins/catalog/catalog.go": "package catalog\nimport (\n\"" + m + "/plugins/one\"\ndeux \"" + m + "/plugins/two\"\n\"" + m + "/plugins/three\"\n)\n" +
				"func Kinds() []plugins.Kind { return []plugins.Kind{one.Kind(), deux.Kind(), one.Kind()} }",
		}, []string{"plugins/one: stands 2 times", "plugins/three: stands 0 times"}},

		{"error texts", "error texts", map[string]string{
			"l7/a.go": `package l7
var (
	_ = errors.New("the peer left")
	_ = errors.New("HTTP/2 preface on a HTTP/1.1 port")
	_ = errors.New("Host is missing")
	_ = fmt.Errorf("opening %q: %w", a, b)
	_ = errors.New("Opening x")
	_ = errors.New("failed to open")
	_ = errors.New("opening.")
	_ = fmt.Errorf("opening " + x + ".", 1)
	_ = errors.New(x)
	_ = other.New("Opening.")
)`,
		}, []string{"l7/a.go:7", "l7/a.go:8", "l7/a.go:9", "l7/a.go:10"}},
		{"metric names", "metric names", map[string]string{
			"l7/a.go": `package l7
var (
	_ = desc("bulwark_requests_total", "")
	_ = desc("bulwark_requests", "")
	_ = desc("bulwark_Requests_total", "")
	_ = get("bulwark_version")
)`,
		}, []string{"l7/a.go:4", "l7/a.go:5"}},
		{"glossary", "glossary", map[string]string{
			glossaryFile: "| Term | Meaning | Not |\n|---|---|---|\n| **client** | x | `downstream`, `peer` |\n",
			"l7/a.go": "package l7\ntype downstreamConn struct {\n\tA int `json:\"peer_name,omitempty\"`\n\tEchoDownstream bool `json:\"echo_downstream\"`\n}\n" +
				"func f(upstream int) { HTTPPeer := x.Downstream; peers := 1; a.peer = 2 }",
		}, []string{`l7/a.go:2: the name downstreamConn uses "downstream"; the glossary's word is "client"`, "l7/a.go:3: the name peer_name", "l7/a.go:6: the name HTTPPeer"}},
		{"limits", "limits", map[string]string{
			"config/node.go": "package config\ntype Limits struct {\n\tA int `json:\"a\" default:\"1\"`\n\tB int `json:\"b\" default:\"2\"`\n\tC int `json:\"c\" default:\"3\"`\n}",
			limitsFile:       "| Key | Default |\n|---|---|\n| `a` | 1 |\n| `b` | `3` |\n| `d` | 1 |\n",
		}, []string{`"b" is 3 by default, the code says 2`, `no key "d"`, `the key "c" of node.limits is missing`}},
		{"limit constants", "limit constants", map[string]string{
			"l7/a.go": "package l7\nconst most = 1\nconst (\n\tA = 2\n\tB = 3\n)\nvar other = 4",
			limitsFile: "| Constant | Value | Bounds | Where |\n|---|---|---|---|\n| `most` | 1 | x | [l7/a.go](../l7/a.go) |\n" +
				"| `l7.A` to `l7.B`, `other` | 2 | x | [l7/a.go](../l7/a.go) |\n| `A` | 2 | x | somewhere |\n",
		}, []string{`l7/a.go has no constant "other"`, "no link to the file of `A`"}},
		{"pitfalls", "pitfalls", map[string]string{
			"waf/a_test.go": "package waf\nfunc TestOne() {}\nfunc (T) TestTwo() {}",
			"waf/a.go":      "package waf\nfunc TestThree() {}",
			pitfallsFile: "| What went wrong | What | Tests |\n|---|---|---|\n| a | b | `TestOne` |\n| c | `TestOne` | by hand |\n" +
				"| d | e | `TestTwo`, `TestOne`, `TestThree` |\n",
		}, []string{`"c" has no test`, "no test TestTwo", "no test TestThree"}},
		{"no pitfalls", "pitfalls", map[string]string{pitfallsFile: "none"}, []string{"there is no table"}},
		{"links", "links", map[string]string{
			"docs/a.md": "[a](b.md#x) [c](../README.md) [d](https://example.com/) [e](#here) [f](none.md)\n```\n[g](no.md)\n```\n",
			"docs/b.md": "", "README.md": "",
		}, []string{`docs/a.md: links to "none.md"`}},
	}
	seen := map[string]bool{"floor table": true} // has a test of its own
	for _, tt := range tests {
		seen[tt.rule] = true
		t.Run(tt.name, func(t *testing.T) {
			fsys := make(fstest.MapFS)
			for name, src := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte(src)}
			}
			tree, err := Load(fsys)
			if err != nil {
				t.Fatal(err)
			}
			got := rules(tree)[tt.rule](t)
			for i := range max(len(got), len(tt.want)) {
				switch {
				case i >= len(got):
					t.Errorf("not found: %s", tt.want[i])
				case i >= len(tt.want):
					t.Errorf("found too much: %s", got[i])
				case !strings.Contains(got[i], tt.want[i]):
					t.Errorf("found %s\nwant  %s", got[i], tt.want[i])
				}
			}
		})
	}
	for name := range rules(nil) {
		if !seen[name] {
			t.Errorf("no test shows the rule %q finding anything", name)
		}
	}
}

func TestFloorTableRule(t *testing.T) {
	table := "| Floor | Packages |\n|---|---|\n"
	for _, f := range floors {
		table += "| " + f.name + " | `" + strings.Join(f.packages, "`, `") + "` |\n"
	}
	if got := checkFloorTable(table); len(got) != 0 {
		t.Errorf("the same table is found different: %v", got)
	}
	if got := checkFloorTable(strings.Replace(table, "`config`", "`konfig`", 1)); len(got) != 1 {
		t.Errorf("one difference is found %d times: %v", len(got), got)
	}
	if got := checkFloorTable(table + "| 14 | `more` |\n"); len(got) != 1 {
		t.Errorf("one more row is found %d times: %v", len(got), got)
	}
}

// TestEveryFloorHasOneOwner guards the table itself: each folder it names
// outright stands on one floor only, its own.
func TestEveryFloorHasOneOwner(t *testing.T) {
	for i, f := range floors {
		for _, pattern := range f.packages {
			dir := strings.TrimSuffix(strings.TrimSuffix(pattern, "/..."), "/*")
			if dir != pattern {
				dir += "/child"
			}
			if got, _, ok := floorOf(dir); !ok || got != i {
				t.Errorf("%s is found on floor %d, stands on floor %s", dir, got, f.name)
			}
			if isFree(dir) {
				t.Errorf("%s stands on floor %s and is free", dir, f.name)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	for name, want := range map[string]string{
		"downstreamConn": "downstream conn",
		"HTTPPeer":       "http peer",
		"PeerHTTP":       "peer http",
		"echo_down":      "echo down",
		"a":              "a",
		"":               "",
		"_":              "",
		"x2Y":            "x2 y",
	} {
		if got := strings.Join(split(name), " "); got != want {
			t.Errorf("split(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestLoadLeavesOut(t *testing.T) {
	tree, err := Load(fstest.MapFS{
		"a/a.go":                     {Data: []byte("package a")},
		"a/testdata/b.go":            {Data: []byte("broken")},
		".hidden/b.go":               {Data: []byte("broken")},
		"bin/b.go":                   {Data: []byte("broken")},
		"internal/devtools/go.mod":   {Data: []byte("module x")},
		"internal/devtools/tools.go": {Data: []byte("broken")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) != 1 || tree.Package("a") == nil || tree.Package("b") != nil {
		t.Errorf("packages %v", tree.Packages)
	}
	if _, err := Load(fstest.MapFS{"a/a.go": {Data: []byte("broken")}}); err == nil {
		t.Error("a file that does not parse is no error")
	}
}

// TestRunPlain holds the packages whose tests may be left out under the race detector
// against those of which `make plain` runs all.
func TestRunPlain(t *testing.T) {
	var got []string
	for line := range strings.Lines(text(t, source(t), "Makefile")) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "go" || words[1] != "test" || slices.Contains(words, "-race") || slices.Contains(words, "-run") {
			continue
		}
		for _, word := range words {
			if name, ok := strings.CutPrefix(word, "./"); ok && name != "internal/lint" {
				got = append(got, name)
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(runPlain, got); diff != "" {
		t.Errorf("of these packages all tests run without the race detector (-runPlain +Makefile):\n%s", diff)
	}
}
