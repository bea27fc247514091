package rules_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/bulwark-edge/bulwark/rules"
)

// TestPitfallAttributesOfXML: whatever rule of the Core Rule Set looks at the text
// of XML looks at its attributes, and nothing else is changed.
func TestPitfallAttributesOfXML(t *testing.T) {
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(w.FS, "crs/*")
	if err != nil {
		t.Fatal(err)
	}
	textAlone := regexp.MustCompile(`XML:/\*([^|]|\|[^X]|\|X[^M]|\|XML:[^/]|\|XML:/[^/])`)
	changed := 0
	for _, name := range names {
		got, err := fs.ReadFile(w.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := fs.ReadFile(coreruleset.FS, "@owasp_"+name)
		if err != nil {
			t.Fatal(err)
		}
		if m := textAlone.Find(got); m != nil {
			t.Errorf("%s has %q", name, m)
		}
		n := strings.Count(string(got), "|XML://@*")
		changed += n
		if without := func(b []byte) string { return strings.ReplaceAll(string(b), "|XML://@*", "") }; without(want) != without(got) {
			t.Errorf("%s differs in something else", name)
		}
		f, err := w.FS.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(f, got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		info, err := f.Stat()
		if err != nil || info.Size() != int64(len(got)) || !strings.HasSuffix(name, "/"+info.Name()) {
			t.Errorf("%s is described as %v, %v", name, info, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if changed < 100 {
		t.Errorf("only %d rules look at attributes", changed)
	}
}
