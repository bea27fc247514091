package schema

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

type colour string

// sample has a field of every kind.
type sample struct {
	Name    string              `json:"name" required:"true" match:"^[a-z]+$" len_max:"8" doc:"A name."`
	Free    string              `json:"free" len_min:"0" default:"x"`
	Colour  colour              `json:"colour" default:"red" enum:"red,green,blue" unserved:"blue"`
	On      bool                `json:"on" default:"true"`
	Maybe   *bool               `json:"maybe" default:"true"`
	Count   int                 `json:"count" default:"3" min:"1" max:"9"`
	Code    int                 `json:"code" default:"1" enum:"1,2"`
	Small   uint8               `json:"small"`
	Ratio   float64             `json:"ratio" max:"1.5"`
	Wait    Duration            `json:"wait" default:"30s" min:"1s" max:"1h"`
	Size    Size                `json:"size" default:"16KiB" min:"1"`
	Nets    []Prefix            `json:"nets" len_max:"2"`
	Words   []string            `json:"words" default:"[a, b]" unique:"true" len_min:"1"`
	Heads   map[string][]string `json:"heads" keys:"header_name" check:"header_value"`
	Pattern Pattern             `json:"pattern"`
	Secret  Secret              `json:"secret"`
	Secrets []Secret            `json:"secrets"`
	ID      ID                  `json:"id"`
	Inner   inner               `json:"inner"`
	List    []inner             `json:"list"`
	Later   Unserved            `json:"later"`
	Flag    int                 `json:"flag" default:"7" unserved:"true" omit:"true"`
	Any     any                 `json:"any"`
	Owner   owner               `json:"owner"`
	private int
}

type inner struct {
	A int `json:"a" default:"1"`
	B int `json:"b" default:"2"`
}

func (i *inner) Validate(r *Report) {
	if i.A > i.B && !r.Bad("a") {
		r.Expect("a is greater than b", "a at most b", "a")
	}
}

type owner struct{ id ID }

func (o *owner) Target() (string, *ID) { return "owners", &o.id }

func decodeSample(t *testing.T, src string) (*sample, error) {
	t.Helper()
	v, err := Of[sample]().DecodeBytes([]byte(src))
	if err != nil {
		return nil, err
	}
	return v.(*sample), nil
}

func TestDefaults(t *testing.T) {
	for _, src := range []string{"name: a", "{name: a, colour: null, count: ~, words: null, inner: null, list: , later: null, wait: null}"} {
		s, err := decodeSample(t, src)
		if err != nil {
			t.Fatal(err)
		}
		if s.Free != "x" || s.Colour != "red" || !s.On || s.Maybe == nil || !*s.Maybe || s.Count != 3 || s.Wait.String() != "30s" ||
			s.Size != 16384 || len(s.Words) != 2 || s.Nets != nil || s.Inner != (inner{1, 2}) || s.Flag != 7 || s.private != 0 {
			t.Errorf("%s gave %+v", src, s)
		}
	}
	if s := Of[sample]().New().(*sample); s.Count != 3 || s.Inner.B != 2 {
		t.Errorf("a new one is %+v", s)
	}
}

func TestValues(t *testing.T) {
	s, err := decodeSample(t, `
name: abc
free: ""
maybe: null
small: 255
ratio: -1.5e-1
wait: 1m30s
size: 1000
nets: [10.1.2.3/8, "::1"]
words: [b, a, b]
heads: {x-a: [v, ~*w]}
pattern: ^a
secret: s3cret
list: [{b: 5}, {}]
id: 0855B320-0dd2-547d-891d-601e9b38647f
later: []
flag: 7
any: {k: [1]}
inner: {a: -1}
`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Free != "" || s.Maybe != nil || s.Small != 255 || s.Ratio != -0.15 || s.Wait.Std().Seconds() != 90 || s.Size != 1000 {
		t.Errorf("scalars are %+v", s)
	}
	if s.Nets[0].Bits() != 8 || s.Nets[0].Addr().String() != "10.0.0.0" || s.Nets[0].String() != "10.1.2.3/8" || !s.Nets[1].IsSingleIP() {
		t.Errorf("nets are %v", s.Nets)
	}
	if diff := cmp.Diff([]string{"b", "a"}, s.Words); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if s.Heads["x-a"][1] != "~*w" || !s.Pattern.MatchString("ab") || s.Secret.Reveal() != "s3cret" || s.Inner.A != -1 {
		t.Errorf("values are %+v", s)
	}
	if diff := cmp.Diff([]inner{{1, 5}, {1, 2}}, s.List); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if n, ok := s.Any.(*yaml.Node); !ok || n.Kind != yaml.MappingNode {
		t.Errorf("any is %v", s.Any)
	}
}

// Every reason, with its position, what was found and what was expected.
func TestErrors(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"required", "free: a", "1:1: name: required field missing (expected a string)"},
		{"required null", "name:", "1:1: name: required field missing (expected a string)"},
		{"unknown", "name: a\nnmae: b", `2:1: nmae: unknown field (did you mean "name"?)`},
		{"unknown, nothing near", "name: a\nzzzzz: b", "2:1: zzzzz: unknown field"},
		{"string", "name: 5", `1:7: name: expected a string (found 5; expected text; quote it: "5")`},
		{"string from a list", "name: [a]", "1:7: name: expected a string (found a list)"},
		{"too short", `name: ""`, `1:7: name: length must be at least 1 (found "")`},
		{"too long", "name: abcdefghi", `1:7: name: length must be at most 8 (found "abcdefghi")`},
		{"match", "name: A", `1:7: name: invalid value: A (found "A"; expected a match of ^[a-z]+$)`},
		{"enum", "name: a\ncolour: pink", `2:9: colour: expected one of: red, green, blue (found "pink")`},
		{"unserved value", "name: a\ncolour: blue", `2:9: colour: not served by this version of Bulwark (found "blue"; expected red or green)`},
		{"boolean", "name: a\non: yes", `2:5: on: expected a boolean (found "yes"; expected true or false, without quotes)`},
		{"integer", "name: a\ncount: 3.5", "2:8: count: expected an integer (found 3.5; expected decimal digits, without quotes)"},
		{"quoted integer", "name: a\ncount: '3'", `2:8: count: expected an integer (found "3"; expected decimal digits, without quotes)`},
		{"octal", "name: a\ncount: 07", "2:8: count: expected an integer (found 07; expected decimal digits, without quotes)"},
		{"hexadecimal", "name: a\ncount: 0x7", "2:8: count: expected an integer (found 0x7; expected decimal digits, without quotes)"},
		{"underscores", "name: a\ncount: 1_0", "2:8: count: expected an integer (found 1_0; expected decimal digits, without quotes)"},
		{"integer range", "name: a\ncount: 10", "2:8: count: value should be between 1 and 9 (found 10)"},
		{"integer enum", "name: a\ncode: 3", "2:7: code: expected one of: 1, 2 (found 3)"},
		{"integer size", "name: a\nsmall: 256", "2:8: small: value should be between 0 and 255 (found 256)"},
		{"number", "name: a\nratio: .inf", "2:8: ratio: expected a number (found .inf; expected decimal digits, without quotes)"},
		{"number range", "name: a\nratio: 2", "2:8: ratio: value should be at most 1.5 (found 2)"},
		{"duration", "name: a\nwait: 30", `2:7: wait: expected a duration with a unit (found 30; expected a value such as "30s", "500ms" or "1m")`},
		{"duration range", "name: a\nwait: 2h", `2:7: wait: value should be between 1s and 1h (found "2h")`},
		{"size", "name: a\nsize: 5 KiB", `2:7: size: expected a size (found "5 KiB"; expected bytes as an integer, or a value such as "16KiB" or "64MB")`},
		{"size range", "name: a\nsize: 0", "2:7: size: value should be at least 1 (found 0)"},
		{"list", "name: a\nnets: 10.0.0.0/8", `2:7: nets: expected an array (found "10.0.0.0/8"; expected a list, such as [a, b])`},
		{"set", "name: a\nwords: {}", "2:8: words: expected a set (found a map; expected a list, such as [a, b])"},
		{"list too long", "name: a\nnets: ['::', '::', '::']", "2:7: nets: length must be at most 2 (found a list)"},
		{"set too short", "name: a\nwords: []", "2:8: words: length must be at least 1 (found a list)"},
		{"element", "name: a\nnets: [x]", `2:8: nets[0]: invalid ip or cidr range: 'x' (found "x"; expected an address or range such as "192.0.2.7", "10.0.0.0/8" or "2001:db8::/32")`},
		{"null element", "name: a\nwords: [~]", "2:9: words[0]: required field missing (found null; expected a string)"},
		{"map", "name: a\nheads: x", `2:8: heads: expected a map (found "x"; expected names and values)`},
		{"map key", "name: a\nheads: {a b: []}", `2:9: heads["a b"]: bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-' (found "a b")`},
		{"map null", "name: a\nheads: {a: }", "2:12: heads.a: required field missing (found null; expected an array)"},
		{"map element", "name: a\nheads: {a: [~*(]}", "2:13: heads.a[0]: invalid regex: '(' (RE2 returned: missing closing ): `(`) (found \"~*(\"; expected an expression in RE2 syntax, which has no look-around and no back-references)"},
		{"pattern", "name: a\npattern: (", "2:10: pattern: invalid regex: '(' (RE2 returned: missing closing ): `(`) (found \"(\"; expected an expression in RE2 syntax, which has no look-around and no back-references)"},
		{"secret", "name: a\nsecret: 12345", "2:9: secret: expected a string (found ***; expected text, in quotes)"},
		{"empty secret", "name: a\nsecret: ''", "2:9: secret: length must be at least 1 (found ***)"},
		{"uuid", "name: a\nid: 7", "2:5: id: expected a valid UUID (found 7; expected 8-4-4-4-12 hexadecimal digits)"},
		{"nil uuid", "name: a\nid: 00000000-0000-0000-0000-000000000000", `2:5: id: expected a valid UUID (found "00000000-0000-0000-0000-000000000000"; expected 8-4-4-4-12 hexadecimal digits)`},
		{"record", "name: a\ninner: x", `2:8: inner: expected a record (found "x"; expected a map of names to values)`},
		{"validate", "name: a\ninner: {a: 3}", "2:12: inner.a: a is greater than b (found 3; expected a at most b)"},
		{"no validate after an error", "name: a\ninner: {a: x, b: -1}", `2:12: inner.a: expected an integer (found "x"; expected decimal digits, without quotes)`},
		{"in a list", "name: a\nlist: [{}, {a: 3}]", "2:16: list[1].a: a is greater than b (found 3; expected a at most b)"},
		{"unserved field", "name: a\nlater: x", `2:8: later: not served by this version of Bulwark (found "x"; expected null)`},
		{"not the default", "name: a\nflag: 8", "2:7: flag: not served by this version of Bulwark (found 8; expected null or the default, 7)"},
		{"vault", "name: a\nfree: '{vault://env/a}'", `2:7: free: vault references cannot be used here (found "{vault://env/a}")`},
		{"reference", "name: a\nowner: []", "2:8: owner: expected the id or name of one of the owners (found a list; expected a string, {id: ...} or {name: ...})"},
		{"reference id", "name: a\nowner: {id: x}", `2:13: owner.id: expected a valid UUID (found "x")`},
		{"several", "colour: pink\ncount: 0", "1:9: colour: expected one of: red, green, blue (found \"pink\")\n2:8: count: value should be between 1 and 9 (found 0)\n1:1: name: required field missing (expected a string)"},
		{"long value", "name: " + strings.Repeat("é", 50), `1:7: name: length must be at most 8 (found "` + strings.Repeat("é", 30) + `"...)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeSample(t, tt.src)
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// References and vault values are left to the caller, who sees them all.
func TestPendingAndVault(t *testing.T) {
	r := &Report{Resolve: func(ref string) (string, error) {
		if ref == "{vault://env/bad}" {
			return "", errors.New("no such thing")
		}
		return "hidden value", nil
	}}
	n := Parse([]byte("name: a\nowner: joe\nfree: '{vault://env/a}'\nsecrets: [plain, '{vault://env/b}']\npattern: '{vault://env/bad}'"), r)
	v, refs := Of[sample]().Decode(r, n, nil)
	s := v.(*sample)
	if s.Free != "hidden value" || s.Secrets[1].Reveal() != "hidden value" {
		t.Errorf("values are %+v", s)
	}
	want := References{"free": "{vault://env/a}", "secrets[1]": "{vault://env/b}"}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	errs, _ := r.Errors()
	if len(errs) != 1 || errs[0].Reason != "no such thing" || errs[0].Path != "pattern" {
		t.Errorf("errors are %v", errs)
	}
	p := r.TakePending()
	if len(p) != 1 || p[0].Key != "joe" || p[0].Collection != "owners" || p[0].Field != "owner" || p[0].ID != &s.Owner.id {
		t.Errorf("pending is %+v", p)
	}
	b, err := Of[sample]().Marshal(s, refs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(b); strings.Contains(text, "hidden") || strings.Contains(text, "plain") || !strings.Contains(text, `"secrets":["***","{vault://env/b}"]`) {
		t.Errorf("marshalled as %s", text)
	}
}

// A value from a vault is not in the error about it.
func TestVaultValueIsNotPrinted(t *testing.T) {
	r := &Report{Resolve: func(string) (string, error) { return "HUNTER2", nil }}
	Of[sample]().Decode(r, Parse([]byte("{name: '{vault://env/a}', secret: '{vault://env/b}', nets: ['{vault://env/c}'], pattern: a}"), r), nil)
	errs, _ := r.Errors()
	if len(errs) != 2 {
		t.Errorf("errors are %v", errs)
	}
	for _, e := range errs {
		if strings.Contains(e.Error(), "HUNTER2") {
			t.Errorf("the value is in %v", e)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	src := "name: a\nwords: [" + strings.Repeat("1, ", maxErrors+9) + "1]"
	r := &Report{}
	Of[sample]().Decode(r, Parse([]byte(src), r), nil)
	errs, more := r.Errors()
	if len(errs) != maxErrors || more != 10 {
		t.Errorf("%d errors and %d more", len(errs), more)
	}
}

func TestMarshal(t *testing.T) {
	s, err := decodeSample(t, "{name: a, nets: [10.1.0.0/8], heads: {b: [], a: [x]}, secret: s, list: [{}], words: [<&>], id: 0855b320-0dd2-547d-891d-601e9b38647f}")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Of[sample]().Marshal(s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"a","free":"x","colour":"red","on":true,"maybe":true,"count":3,"code":1,"small":0,"ratio":0,"wait":"30s","size":"16KiB",` +
		`"nets":["10.1.0.0/8"],"words":["\u003c\u0026\u003e"],"heads":{"a":["x"],"b":[]},"pattern":null,"secret":"***","secrets":null,` +
		`"id":"0855b320-0dd2-547d-891d-601e9b38647f","inner":{"a":1,"b":2},"list":[{"a":1,"b":2}],"later":null,"any":null,"owner":null}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// Mistakes in tags are found when the program starts.
func TestBadTags(t *testing.T) {
	for name, of := range map[string]func(){
		"misspelt": func() {
			Of[struct {
				A int `json:"a" mni:"1"`
			}]()
		},
		"bad default": func() {
			Of[struct {
				A int `json:"a" default:"x"`
			}]()
		},
		"out of bounds": func() {
			Of[struct {
				A int `json:"a" default:"1" min:"2" max:"3"`
			}]()
		},
		"unknown check": func() {
			Of[struct {
				A string `json:"a" check:"x"`
			}]()
		},
		"bad pattern": func() {
			Of[struct {
				A string `json:"a" match:"("`
			}]()
		},
		"bad bound": func() {
			Of[struct {
				A Duration `json:"a" min:"5"`
			}]()
		},
		"bad flag": func() {
			Of[struct {
				A int `json:"a" required:"maybe"`
			}]()
		},
		"bad length": func() {
			Of[struct {
				A string `json:"a" len_min:"x"`
			}]()
		},
		"bad type": func() {
			Of[struct {
				A chan int `json:"a"`
			}]()
		},
		"bad map": func() {
			Of[struct {
				A map[int]int `json:"a"`
			}]()
		},
		"bad set": func() {
			Of[struct {
				A [][]int `json:"a" unique:"true"`
			}]()
		},
		"not a struct": func() { Of[int]() },
		"bad float": func() {
			Of[struct {
				A float64 `json:"a" min:"x"`
			}]()
		},
		"default, yaml": func() {
			Of[struct {
				A []int `json:"a" default:"["`
			}]()
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p, ok := recover().(string); !ok || !strings.HasPrefix(p, "BUG: ") {
					t.Errorf("recovered %v", p)
				}
			}()
			of()
		})
	}
}

func TestFieldsAndDocuments(t *testing.T) {
	typ := Of[sample]()
	fields := make(map[string]*Field)
	for _, f := range typ.Fields() {
		fields[f.Name] = f
	}
	if f := fields["words"]; f.Kind != "set" || f.Elements.Kind != "string" || f.LenMin != 1 || f.Default != "[a, b]" {
		t.Errorf("words is %+v", f)
	}
	if f := fields["owner"]; f.Kind != "foreign" || f.Reference != "owners" {
		t.Errorf("owner is %+v", f)
	}
	if f := fields["flag"]; !f.Refused || !f.Hidden {
		t.Errorf("flag is %+v", f)
	}
	b, err := json.Marshal(typ.JSONSchema())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"additionalProperties":false`, `"required":["name"]`,
		`"name":{"description":"A name.","maxLength":8,"minLength":1,"pattern":"(^[a-z]+$)|^\\{vault://.*\\}$","type":"string"}`,
		`"colour":{"default":"red","enum":["red","green",null],"type":["string","null"]}`,
		`"code":{"default":1,"enum":[1,2,null],"type":["integer","null"]}`,
		`"count":{"default":3,"maximum":9,"minimum":1,"type":["integer","null"]}`,
		`"size":{"default":"16KiB","type":["string","integer","null"]}`,
		`"heads":{"additionalProperties":{"items":{"minLength":1,"type":"string"},"type":"array"},"type":["object","null"]}`,
		`"later":{"type":"null"}`, `"flag":{"default":7,"enum":[7,null]}`,
		`"id":{"format":"uuid","type":["string","null"]}`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the JSON Schema lacks %s\n%s", want, b)
		}
	}
	table := typ.Markdown()
	for _, want := range []string{
		"| `name` | string | required | matches `^[a-z]+$`; at most 8 bytes | A name. |\n",
		"| `colour` | string | `red` | one of `red`, `green`; not served yet: `blue` |  |\n",
		"| `nets` | array of string |  | at most 2 |  |\n",
		"| `inner.a` | integer | `1` |  |  |\n", "| `list[].b` | integer | `2` |  |  |\n",
		"| `owner` | reference to owners |", "| `ratio` | number |  | at most 1.5 |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q\n%s", want, table)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	r := &Report{}
	n := Parse([]byte("{name: a, words: [x, y, z], heads: {a: [b]}, count: 5, inner: {a: 0}, nets: [10.0.0.0/8]}"), r)
	typ := Of[sample]()
	b.ReportAllocs()
	for b.Loop() {
		typ.Decode(r, n, nil)
	}
	if r.Failed() {
		b.Fatal(joined(r))
	}
}
