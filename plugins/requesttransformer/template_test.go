package requesttransformer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTemplate(t *testing.T) {
	tests := []struct {
		name, text string
		want       []part
	}{
		{"empty", "", nil},
		{"text", "a b", []part{{literal: "a b"}}},
		{"dollar", "$5 $ ( )", []part{{literal: "$5 $ ( )"}}},
		{"dot", "$(headers.x_user)", []part{{choices: []operand{{tableHeaders, "x_user"}}}}},
		{"brackets", `$(headers['x-user'])`, []part{{choices: []operand{{tableHeaders, "x-user"}}}}},
		{"double quotes", `$(query_params["a b"])`, []part{{choices: []operand{{tableQuery, "a b"}}}}},
		{"number", `$(uri_captures[12])`, []part{{choices: []operand{{tableCaptures, "12"}}}}},
		{"spaces", `$( uri_captures[ 'a' ]	or 'b' )`, []part{{choices: []operand{{tableCaptures, "a"}, {tableNone, "b"}}}}},
		{"string", `$('a')`, []part{{choices: []operand{{tableNone, "a"}}}}},
		{"quotes and brackets in a string", `$('\'\\)"')`, []part{{choices: []operand{{tableNone, `'\)"`}}}}},
		{"several", `a$(headers.a)b$(query_params.b)c`, []part{
			{literal: "a"}, {choices: []operand{{tableHeaders, "a"}}}, {literal: "b"}, {choices: []operand{{tableQuery, "b"}}}, {literal: "c"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTemplate(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.parts, cmp.AllowUnexported(part{}, operand{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseTemplateErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "$()", `at byte 3: expected a string, headers,`},
		{"no end", "ab$(", `at byte 5: expected a string, headers,`},
		{"no end behind an operand", "$(headers.a", `at byte 12: expected "or" or ")"`},
		{"unknown name", "$(body.a)", `at byte 3: unknown name "body"`},
		{"shared", "$(shared.a)", `at byte 3: there is no kong.ctx.shared`},
		{"table alone", "$(headers)", `at byte 10: expected "." or "["`},
		{"no name", "$(headers.)", `at byte 11: expected a name`},
		{"empty name", "$(headers[''])", `at byte 11: expected a name`},
		{"name without quotes", "$(headers[a])", `at byte 11: expected a string in quotes`},
		{"number of a field", "$(headers[1])", `at byte 11: expected a string in quotes`},
		{"open bracket", "$(headers['a')", `at byte 14: expected "]"`},
		{"open string", "$(headers['a)", `at byte 11: the string has no end`},
		{"two operands", "$(headers.a headers.b)", `at byte 13: expected "or" or ")"`},
		{"or at the end", "$(headers.a or )", `at byte 16: expected a string, headers,`},
		{"call", "$(headers.a:upper())", `at byte 12: expected "or" or ")"`},
		{"and", "$(headers.a and 'b')", `at byte 13: expected "or" or ")"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseTemplate(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("parsing %s: error %v, want one with %q", tt.text, err, tt.want)
			}
		})
	}
}

// FuzzTemplate looks for templates whose text and places do not add up, and for
// errors that point nowhere.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "a", "$(headers.a)", `x$(query_params['a'] or uri_captures[1] or "z")y`, "$(", "$('", `$('\`, "$($(", "$(headers[')'])"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTemplate(text)
		if err != nil {
			return
		}
		literals := 0
		for _, p := range got.parts {
			literals += len(p.literal)
			if (p.literal == "") == (len(p.choices) == 0) {
				t.Errorf("%q has a part that is neither text nor place, or both: %+v", text, p)
			}
			if p.literal != "" && !strings.Contains(text, p.literal) {
				t.Errorf("%q has the text %q", text, p.literal)
			}
		}
		if got.fixed != (literals == len(text)) {
			t.Errorf("%q: fixed is %v with %d bytes of text", text, got.fixed, literals)
		}
		if got.fixed && got.text != text {
			t.Errorf("%q is fixed as %q", text, got.text)
		}
	})
}
