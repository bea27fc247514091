package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// dump prints a tree in one line.
func dump(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, n.Content[i].Value+":"+dump(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case yaml.SequenceNode:
		var parts []string
		for _, c := range n.Content {
			parts = append(parts, dump(c))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return strings.TrimPrefix(n.Tag, "!!") + " " + n.Value
}

func TestParse(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"empty", "", "{}"},
		{"comment", "# nothing", "{}"},
		{"scalars", "[a, 1, 1.5, true, yes, ~, null, '1', 2020-01-01]", "[str a,int 1,float 1.5,bool true,str yes,null ~,null null,str 1,str 2020-01-01]"},
		{"byte order mark", "\xef\xbb\xbfa: b", "{a:str b}"},
		{"alias", "a: &x [1]\nb: *x", "{a:[int 1],b:[int 1]}"},
		{"merge", "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", "{a:{k:int 1,l:int 2},b:{k:int 3,l:int 2}}"},
		{"merge of several", "a: &x {k: 1}\nb: &y {k: 2, l: 3}\nc: {<<: [*x, *y]}", "{a:{k:int 1},b:{k:int 2,l:int 3},c:{k:int 1,l:int 3}}"},
		{"alias as key", "&k a: 1\nb: {*k : 2}", "{a:int 1,b:{a:int 2}}"},
		{"json", "{\"a\": [1, -2.5e3, true, null, \"\\ud83d\\ude00\\/\"],\n\t\"b\": {}}", "{a:[int 1,float -2.5e3,bool true,null null,str 😀/],b:{}}"},
		{"known tags", "[!!str 1, !!int 2, !!null ~]", "[str 1,int 2,null ~]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Report{}
			n := Parse([]byte(tt.src), r)
			if n == nil || r.Failed() {
				t.Fatalf("errors are %v", joined(r))
			}
			if diff := cmp.Diff(tt.want, dump(n)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'l'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	tests := []struct {
		name, src, want string
		fatal           bool
	}{
		{"duplicate", "a: 1\nb: {c: 1, c: 2}", "2:11: b.c: duplicate key (expected each key once; it is first set on line 2)", false},
		{"many keys", "a: 1\n" + manyLines(20) + "k7: x", "22:1: k7: duplicate key (expected each key once; it is first set on line 9)", false},
		{"empty key", "{\"\": {\"\": 1, \"\": 2}}", "1:14: [\"\"][\"\"]: duplicate key (expected each key once; it is first set on line 1)", false},
		{"integer key", "1: a", "1:1: expected a string as key (found 1; expected a name, quoted if it looks like another type)", false},
		{"list as key", "? [a]\n: b", "1:3: expected a string as key (found a list; expected a name, quoted if it looks like another type)", false},
		{"null key", "~: a", "1:1: expected a string as key (found null; expected a name, quoted if it looks like another type)", false},
		{"cycle as key", "a: &a {*a}", "1:8: a: expected a string as key (found a; expected a name, quoted if it looks like another type)", false},
		{"merge of a list", "a: &x 1\nb: {<<: *x}", "1:4: b: expected a map (found 1; expected an alias of a map after the merge key <<)", false},
		{"tag", "a: !secret x", `1:4: a: unknown YAML tag (found "!secret"; expected a value without a tag)`, false},
		{"binary", "a: !!binary eA==", `1:4: a: unknown YAML tag (found "!!binary"; expected a value without a tag)`, false},
		{"two documents", "a: 1\n---\nb: 2", "2:1: the file holds more than one YAML document (expected one document)", true},
		{"syntax", "a: [1\nb: 2", "1:1: not valid YAML near this line: did not find expected ',' or ']'", true},
		{"syntax in a second document", "a: 1\n---\n[", "3:1: not valid YAML near this line: did not find expected node content", true},
		{"utf-8", "a: 1\nbc: \xff", "2:5: the document is not valid UTF-8", true},
		{"cycle", "a: &a [*a]", "1:4: a" + strings.Repeat("[0]", 32) + ": nested deeper than 64 levels", true},
		{"cycle by merge", "a: &a {<<: *a}", "", true},
		{"bomb", bomb, "1:14: f[0][6][8][9][0][2]: aliases stand for more than 200000 values", true},
		{"depth", strings.Repeat("[", 70) + strings.Repeat("]", 70), "1:66: " + strings.Repeat("[0]", 65) + ": nested deeper than 64 levels", true},
		{"depth of json", "{\"a\":" + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}", "1:70: a" + strings.Repeat("[0]", 64) + ": nested deeper than 64 levels", true},
		{"unknown anchor", "a: *b", "1:1: not valid YAML near this line: unknown anchor 'b' referenced", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Report{}
			n := Parse([]byte(tt.src), r)
			if (n == nil) != tt.fatal || !r.Failed() {
				t.Fatalf("tree is %v, errors are %v", n, joined(r))
			}
			if got := joined(r).Error(); tt.want != "" && got != tt.want {
				t.Errorf("errors are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	t.Run("size", func(t *testing.T) {
		r := &Report{}
		if n := Parse(make([]byte, MaxDocument+1), r); n != nil || joined(r).Error() != "1:1: the document has 67108865 bytes (expected at most 67108864)" {
			t.Errorf("errors are %v", joined(r))
		}
	})
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: x\n", i)
	}
	return b.String()
}

// The positions of JSON are those of the file.
func TestJSONPositions(t *testing.T) {
	r := &Report{}
	n := Parse([]byte("{\n  \"a\" : [1,\n\t\"x\"],\n  \"b\": {\"c\": null}\n}\n"), r)
	_, a := lookup(n, "a")
	_, b := lookup(n, "b")
	_, c := lookup(b, "c")
	for _, tt := range []struct {
		name         string
		n            *yaml.Node
		line, column int
	}{{"root", n, 1, 1}, {"a", a, 2, 9}, {"1", a.Content[0], 2, 10}, {"x", a.Content[1], 3, 2}, {"b", b, 4, 8}, {"c", c, 4, 14}} {
		if tt.n.Line != tt.line || tt.n.Column != tt.column {
			t.Errorf("%s is at %d:%d, want %d:%d", tt.name, tt.n.Line, tt.n.Column, tt.line, tt.column)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: &a {*a}", "a: &a [*a]", "{\"a\":1}", "x: &x {y: 1}\nz: {<<: [*x, *x]}", "? [a]\n: b", "- !!set {a}"} {
		f.Add([]byte(s))
	}
	typ := Of[sample]()
	f.Fuzz(func(t *testing.T, src []byte) {
		r := &Report{}
		n := Parse(src, r)
		if n == nil {
			if !r.Failed() {
				t.Fatal("no tree and no error")
			}
			return
		}
		typ.Decode(r, n, nil)
		if s := joined(r).Error(); r.Failed() && s == "" {
			t.Fatal("errors without text")
		}
	})
}
