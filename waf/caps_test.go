package waf

import (
	"encoding/json"
	"testing"
)

// depthOf is how deep a JSON value goes.
func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// FuzzJSONDepth holds the scan for depth against a parser: what is JSON is as
// deep as the scan says, but that of two values of one name the parser keeps
// one, so the scan may find more.
func FuzzJSONDepth(f *testing.F) {
	for _, s := range []string{`{}`, `[[[1]]]`, `{"a":"[[[\"[{"}`, `[{"a":[]},"\\"]`, `"\\\""`, `[1,[2,{"x":{"y":[3]}}]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if json.Unmarshal(b, &v) != nil {
			return
		}
		if d := depthOf(v); d > 0 && !jsonDeeper(b, d-1) {
			t.Errorf("%q is %d deep, the scan says less", b, d)
		}
		if jsonDeeper(b, len(b)) {
			t.Errorf("%q is deeper than long", b)
		}
	})
}

// FuzzScan holds the scan of rule texts to its lines: it never panics, and each
// directive stands where it says.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"SecRuleEngine On\n", "# c\n\nSecRule ARGS \\\n \"@rx x\" \"id:1\"\n", "SecDataset x `\na\nb\n`\n", "\\\n\\\n", "Include a*.conf"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := scan("x", b)
		if err != nil {
			return
		}
		last := 0
		for _, d := range found {
			if d.line <= last || d.raw == "" || d.file != "x" {
				t.Errorf("the directive %+v after line %d", d, last)
			}
			last = d.line
			_, _ = d.ruleID(), d.dataFiles()
		}
		_ = findSwitches(found)
	})
}
