package expr

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fieldList is a Header of "name: value" lines, with names in lower case.
type fieldList []string

func (l fieldList) Next(name string, from int) (string, int, bool) {
	for i := from; i < len(l); i++ {
		if value, ok := strings.CutPrefix(l[i], name+": "); ok {
			return value, i + 1, true
		}
	}
	return "", len(l), false
}

// sample is the request that most tests ask about.
func sample() *Fields {
	return &Fields{
		Protocol: "https", SNI: "sni.test", Method: "GET", Host: "api.example.test", Path: "/v1/Users/42/",
		Query:  "q=one&q=two&empty&plus=a+b&%70ct=%C3%89%2f&case=X",
		Header: fieldList{"x-one: Alpha", "x-two: a1", "x-two: a2", "x-none-of-mine: b"},
		Source: netip.MustParseAddrPort("192.0.2.7:4711"), Destination: netip.MustParseAddrPort("[2001:db8::1]:8443"),
	}
}

func TestEval(t *testing.T) {
	tests := []struct {
		text string
		want bool
	}{
		// Every operator of strings.
		{`http.method == "GET"`, true},
		{`http.method == "get"`, false},
		{`http.method == "GE"`, false},
		{`http.method != "POST"`, true},
		{`http.method != "GET"`, false},
		{`http.method != "GE"`, true},
		{`http.path ^= "/v1/"`, true},
		{`http.path ^= "/v2"`, false},
		{`http.path ^= ""`, true},
		{`http.path =^ "/42/"`, true},
		{`http.path =^ "/42"`, false},
		{`http.path contains "Users"`, true},
		{`http.path contains "users"`, false},
		{`http.path ~ "^/v[0-9]+/"`, true},
		{`http.path ~ "[0-9]+/$"`, true},
		{`http.path ~ "^/Users"`, false},

		// lower().
		{`lower(http.path) == "/v1/users/42/"`, true},
		{`lower(http.path) == "/v1/Users/42/"`, false},
		{`lower(http.path) != "/v1/users/42/"`, false},
		{`lower(http.path) != "/v1/Users/42/"`, true},
		{`lower(http.path) ^= "/v1/us"`, true},
		{`lower(http.path) =^ "sers/42/"`, true},
		{`lower(http.path) =^ "Sers/42/"`, false},
		{`lower(http.path) =^ "x/v1/users/42/"`, false},
		{`lower(http.path) contains "1/us"`, true},
		{`lower(http.path) contains "1/Us"`, false},
		{`lower(http.path) ~ "/users/"`, true},
		{`lower(http.path) ~ "U"`, false},
		{`lower(http.queries.pct) == "é/"`, true},
		{`lower(http.queries.pct) =^ "é/"`, true},
		{`lower(http.queries.pct) contains "é"`, true},

		// Every operator of numbers.
		{`net.src.port == 4711`, true},
		{`net.src.port == 0x1267`, true},
		{`net.src.port == 011147`, true},
		{`net.src.port != 4711`, false},
		{`net.src.port != -4711`, true},
		{`net.src.port > 4710`, true},
		{`net.src.port > 4711`, false},
		{`net.src.port >= 4711`, true},
		{`net.src.port >= 4712`, false},
		{`net.src.port < 4712`, true},
		{`net.src.port < 4711`, false},
		{`net.src.port <= 4711`, true},
		{`net.src.port <= -1`, false},
		{`net.dst.port == 8443`, true},
		{`net.port == 8443`, true},
		{`any(net.dst.port) == 8443`, true},

		// Every operator of addresses.
		{`net.src.ip == 192.0.2.7`, true},
		{`net.src.ip == ::ffff:192.0.2.7`, true},
		{`net.src.ip == 192.0.2.8`, false},
		{`net.src.ip != 192.0.2.8`, true},
		{`net.src.ip in 192.0.2.0/24`, true},
		{`net.src.ip in 198.51.100.0/24`, false},
		{`net.src.ip not in 198.51.100.0/24`, true},
		{"net.src.ip not\tin 192.0.2.0/24", false},
		{`net.src.ip in fd00::/8`, false},
		{`net.dst.ip == 2001:db8::1`, true},
		{`net.dst.ip in 2001:db8::/32`, true},

		// The other fields.
		{`net.protocol == "https"`, true},
		{`tls.sni == "sni.test"`, true},
		{`http.host == "api.example.test"`, true},
		{`http.host =^ ".example.test"`, true},

		// Segments.
		{`http.path.segments.0 == "v1"`, true},
		{`http.path.segments.1 == "Users"`, true},
		{`lower(http.path.segments.1) == "users"`, true},
		{`http.path.segments.2 == "42"`, true},
		{`http.path.segments.3 == ""`, false},
		{`http.path.segments.3 != "x"`, false},
		{`http.path.segments.0_1 == "v1/Users"`, true},
		{`http.path.segments.1_2 == "Users/42"`, true},
		{`http.path.segments.0_2 == "v1/Users/42"`, true},
		{`http.path.segments.2_3 != "x"`, false},
		{`http.path.segments.len == 3`, true},
		{`http.path.segments.len > 3`, false},

		// Header fields: all values must do, within any() one.
		{`http.headers.x_one == "Alpha"`, true},
		{`http.headers.X_One == "Alpha"`, true},
		{`lower(http.headers.x_one) == "alpha"`, true},
		{`http.headers.x_two ^= "a"`, true},
		{`http.headers.x_two == "a1"`, false},
		{`any(http.headers.x_two) == "a2"`, true},
		{`any(http.headers.x_two) == "a3"`, false},
		{`any(http.headers.x_two) != "a1"`, true},
		{`http.headers.x_two != "a1"`, false},
		{`any(lower(http.headers.x_one)) == "alpha"`, true},
		{`lower(any(http.headers.x_one)) == "alpha"`, true},
		{`http.headers.x_two contains "2"`, false},
		{`http.headers.missing == ""`, false},
		{`http.headers.missing != "a"`, false},
		{`any(http.headers.missing) != "a"`, false},
		{`!(http.headers.missing == "a")`, true},

		// Query arguments.
		{`http.queries.case == "X"`, true},
		{`http.queries.Case == "X"`, false},
		{`any(http.queries.q) == "two"`, true},
		{`http.queries.q == "two"`, false},
		{`http.queries.q != "three"`, true},
		{`http.queries.empty == ""`, true},
		{`http.queries.plus == "a b"`, true},
		{`http.queries.pct == "É/"`, true},
		{`http.queries.nothing != "a"`, false},

		// Strings as they are written.
		{`http.path == r#"/v1/Users/42/"#`, true},
		{`http.path ~ r#"/\w+/\d+/$"#`, true},
		{`http.path ~ "/\\w+/\\d+/$"`, true},
		{`http.path != "\"\\\n\r\t"`, true},
		{`http.path != r#"a"b\"#`, true},

		// Logic.
		{`http.method == "GET" && net.protocol == "https"`, true},
		{`http.method == "GET" && net.protocol == "http"`, false},
		{`http.method == "PUT" || net.protocol == "https"`, true},
		{`http.method == "PUT" || net.protocol == "http"`, false},
		{`!(http.method == "PUT")`, true},
		{`!(http.method == "GET" && net.protocol == "http")`, true},
		{`!(http.method == "PUT" || !(net.protocol == "http"))`, false},
		{`(http.method == "PUT" || http.method == "GET") && (tls.sni == "x" || http.host ^= "api.")`, true},
		{`http.method == "PUT" || (http.method == "GET" && !(http.host ^= "api."))`, false},
		{"((http.method\n==\"GET\"))&&(net.src.port>1)", true},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			e, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Eval(sample()); got != tt.want {
				t.Errorf("Eval = %v; want %v", got, tt.want)
			}
			if e.String() != tt.text {
				t.Errorf("String = %q", e.String())
			}
		})
	}
}

// Nothing is known of an empty connection: every comparison is false.
func TestEvalWithoutValues(t *testing.T) {
	for _, text := range []string{
		`net.protocol != "x"`, `tls.sni != "x"`, `http.method != "x"`, `http.host != "x"`, `http.path != "x"`, `http.path.segments.0 != "x"`,
		`http.path.segments.len < 1`, `http.headers.x != "x"`, `http.queries.x != "x"`, `net.src.ip != ::1`, `net.src.port != 1`,
		`net.dst.ip not in ::/0`, `net.dst.port < 1`,
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if e.Eval(new(Fields)) {
			t.Errorf("%s holds without a value", text)
		}
	}
}

func TestSegments(t *testing.T) {
	for path, want := range map[string]string{
		"/": "0", "": "0", "*": "0", "/a": "1 a", "/a/": "1 a", "/a/b": "2 a b a/b", "/a/b/": "2 a b a/b", "/a/b/c": "3 a b c a/b b/c",
	} {
		got := fmt.Sprint(countSegments(path))
		for _, r := range [][2]uint16{{0, 0}, {1, 1}, {2, 2}, {0, 1}, {1, 2}} {
			if s, ok := segments(path, r[0], r[1]); ok {
				got += " " + s
			}
		}
		if got != want {
			t.Errorf("%q: %q; want %q", path, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", `line 1, column 1: missing field (found the end; expected a field, such as http.path)`},
		{"blank", " \n ", `line 2, column 2: missing field (found the end; expected a field, such as http.path)`},
		{"no field", `== "a"`, `line 1, column 1: missing field (found "=="; expected a field, such as http.path)`},
		{"unknown field", `http.pth == "a"`, `line 1, column 1: unknown field (found "http.pth"; expected a field, such as http.path)`},
		{"field without a name", `http.headers. == "a"`, `line 1, column 1: unknown field (found "http.headers."; expected a field, such as http.path)`},
		{"second line", "http.path == \"/\" &&\n  http.hots == \"a\"", `line 2, column 3: unknown field (found "http.hots"; expected a field, such as http.path)`},
		{"hyphen", `http.headers.x-y == "a"`, `line 1, column 15: field name with a hyphen (found "-y"; expected an underscore in its place)`},
		{"segments range", `http.path.segments.2_1 == "a"`, `line 1, column 1: illformed http.path.segments.* field (found "http.path.segments.2_1"; expected http.path.segments.N, .N_M with N less than M, or .len)`},
		{"segments number", `http.path.segments.01 == "a"`, `line 1, column 1: illformed http.path.segments.* field (found "http.path.segments.01"; expected http.path.segments.N, .N_M with N less than M, or .len)`},
		{"unknown function", `upper(http.path) == "a"`, `line 1, column 1: unknown function (found "upper"; expected lower or any)`},
		{"open function", `lower(http.path == "a"`, `line 1, column 17: parenthesis without an end (found "=="; expected ))`},
		{"lower of a number", `any(lower(net.src.port)) == 1`, `line 1, column 5: lower() of net.src.port, which is a number (found "lower"; expected a field that is a string)`},
		{"lower of an address", `lower(net.src.ip) == ::1`, `line 1, column 1: lower() of net.src.ip, which is an IP address (found "lower"; expected a field that is a string)`},
		{"no operator", `http.path`, `line 1, column 10: missing operator (found the end; expected ==, !=, ~, ^=, =^ or contains)`},
		{"unknown operator", `http.path = "a"`, `line 1, column 11: missing operator (found "="; expected ==, !=, ~, ^=, =^ or contains)`},
		{"not without in", `net.src.ip not 10.0.0.0/8`, `line 1, column 12: missing operator (found "not"; expected ==, !=, in or not in)`},
		{"word that begins as an operator", `net.src.ip inside ::/0`, `line 1, column 12: missing operator (found "inside"; expected ==, !=, in or not in)`},
		{"string in", `http.path in "/a"`, `line 1, column 11: operator does not fit http.path, which is a string (found "in"; expected ==, !=, ~, ^=, =^ or contains)`},
		{"string greater", `http.path > "/a"`, `line 1, column 11: operator does not fit http.path, which is a string (found ">"; expected ==, !=, ~, ^=, =^ or contains)`},
		{"number prefix", `net.src.port ^= 1`, `line 1, column 14: operator does not fit net.src.port, which is a number (found "^="; expected ==, !=, >, >=, < or <=)`},
		{"number contains", `net.src.port contains 1`, `line 1, column 14: operator does not fit net.src.port, which is a number (found "contains"; expected ==, !=, >, >=, < or <=)`},
		{"address less", `net.src.ip < ::1`, `line 1, column 12: operator does not fit net.src.ip, which is an IP address (found "<"; expected ==, !=, in or not in)`},
		{"address regex", `net.src.ip ~ "a"`, `line 1, column 12: operator does not fit net.src.ip, which is an IP address (found "~"; expected ==, !=, in or not in)`},
		{"no value", `http.path ==`, `line 1, column 13: not a string (found the end; expected a string, such as "/v1" or r#"/v1"#)`},
		{"string from a number", `http.path == 1`, `line 1, column 14: not a string (found "1"; expected a string, such as "/v1" or r#"/v1"#)`},
		{"string from an address", `http.host == 10.0.0.1`, `line 1, column 14: not a string (found "10.0.0.1"; expected a string, such as "/v1" or r#"/v1"#)`},
		{"number from a string", `net.src.port == "1"`, `line 1, column 17: not a number (found "\"1\""; expected a number of 64 bits, such as 443, -1, 0x1F or 017)`},
		{"number too large", `net.src.port == 9223372036854775808`, `line 1, column 17: not a number (found "9223372036854775808"; expected a number of 64 bits, such as 443, -1, 0x1F or 017)`},
		{"number with two signs", `net.src.port == 0x-1`, `line 1, column 17: not a number (found "0x-1"; expected a number of 64 bits, such as 443, -1, 0x1F or 017)`},
		{"bad octal", `net.src.port == 08`, `line 1, column 17: not a number (found "08"; expected a number of 64 bits, such as 443, -1, 0x1F or 017)`},
		{"address from a string", `net.src.ip == "::1"`, `line 1, column 15: not an address (found "\"::1\""; expected an address such as 192.0.2.1 or fd00::1)`},
		{"address from a range", `net.src.ip == 10.0.0.0/8`, `line 1, column 15: not an address (found "10.0.0.0/8"; expected an address such as 192.0.2.1 or fd00::1)`},
		{"bad address", `net.src.ip == 10.0.0.256`, `line 1, column 15: not an address (found "10.0.0.256"; expected an address such as 192.0.2.1 or fd00::1)`},
		{"range from an address", `net.src.ip in 10.0.0.0`, `line 1, column 15: not a range of addresses (found "10.0.0.0"; expected a range such as 10.0.0.0/8 or fd00::/8)`},
		{"range with host bits", `net.src.ip not in 10.0.0.1/8`, `line 1, column 19: range with bits behind its length (found "10.0.0.1/8"; expected 10.0.0.0/8)`},
		{"bad regex", `http.path ~ "("`, "line 1, column 13: invalid regex: '(' (RE2 returned: missing closing ): `(`) (found \"\\\"(\\\"\"; expected an expression in RE2 syntax, which has no look-around and no back-references)"},
		{"open string", `http.path == "a`, `line 1, column 16: string without an end (found the end; expected ")`},
		{"open raw string", `http.path == r#"a"`, `line 1, column 19: raw string without an end (found the end; expected "#)`},
		{"bad escape", `http.path == "a\d"`, `line 1, column 16: unknown escape (found "\\"; expected one of \" \\ \n \r \t; a raw string r#"..."# has no escapes)`},
		{"escape at the end", `http.path == "a\`, `line 1, column 16: unknown escape (found "\\"; expected one of \" \\ \n \r \t; a raw string r#"..."# has no escapes)`},
		{"mixed", `http.path == "a" || http.path == "b" && http.host == "c"`, `line 1, column 38: && and || side by side (found "&&"; expected parentheses that say which of them goes first)`},
		{"mixed the other way", `http.path == "a" && http.path == "b" || http.host == "c"`, `line 1, column 38: && and || side by side (found "||"; expected parentheses that say which of them goes first)`},
		{"not without parentheses", `!http.path == "a"`, `line 1, column 2: ! without parentheses (found "http.path"; expected ( after !)`},
		{"open parenthesis", `(http.path == "a"`, `line 1, column 18: parenthesis without an end (found the end; expected ), && or ||)`},
		{"closed too often", `(http.path == "a"))`, `line 1, column 19: expression goes on behind its end (found ")"; expected &&, || or the end)`},
		{"one ampersand", `http.path == "a" & http.path == "b"`, `line 1, column 18: expression goes on behind its end (found "&"; expected &&, || or the end)`},
		{"operator at the end", `http.path == "a" &&`, `line 1, column 20: missing field (found the end; expected a field, such as http.path)`},
		{"not UTF-8", "http.path == \"é\xff\"", `line 1, column 17: invalid utf-8 character sequence (found "\xff"; expected a text in UTF-8)`},
		{"too long", strings.Repeat(" ", maxExprBytes+1), `line 1, column 16385: expression too long (found " "; expected at most 16384 bytes)`},
		{"too deep", strings.Repeat("(", maxExprDepth+1), `line 1, column 65: parentheses too deep (found "("; expected at most 64 within each other)`},
		{"too many", strings.Repeat(`tls.sni=="" ||`, maxExprComparisons+1), `line 1, column 14337: too many comparisons (found "tls.sni"; expected at most 1024)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.text)
			if err == nil || e != nil {
				t.Fatalf("Parse = %v, %v; want an error", e, err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			var at *Error
			if !errors.As(err, &at) || (at.Field != "") != (at.Reason == "unknown field") {
				t.Errorf("error %#v", err)
			}
		})
	}
}

func TestBoundsAreReached(t *testing.T) {
	deep := strings.Repeat("(", maxExprDepth) + `http.path == "/"` + strings.Repeat(")", maxExprDepth)
	many := strings.TrimSuffix(strings.Repeat(`tls.sni=="" ||`, maxExprComparisons), "||")
	for _, text := range []string{deep, many, `http.path == "/"` + strings.Repeat(" ", maxExprBytes-16)} {
		if _, err := Parse(text); err != nil {
			t.Errorf("%.40s...: %v", text, err)
		}
	}
}

func TestFieldNames(t *testing.T) {
	for _, name := range FieldNames() {
		switch name {
		case segmentsPrefix:
			name += "0"
		case headersPrefix, queriesPrefix:
			name += "x"
		}
		if problem, ok := new(step).setField(name); !ok {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func TestMatchPath(t *testing.T) {
	tests := []struct {
		name, text, matched string
		captures            []string
	}{
		{"nothing of the path", `http.method == "GET"`, "", nil},
		{"prefix", `http.path ^= "/v1"`, "/v1", nil},
		{"equal", `http.path == "/v1/Users/42/"`, "/v1/Users/42/", nil},
		{"lowered prefix", `lower(http.path) ^= "/v1/users"`, "/v1/Users", nil},
		{"suffix is nothing to strip", `http.path =^ "/"`, "", nil},
		{"the last counts", `http.path ^= "/v1/Users" && http.path ^= "/v"`, "/v", nil},
		{"only what was evaluated", `http.path ^= "/v1" || http.path ^= "/"`, "/v1", nil},
		{"only what was true", `http.path ^= "/x" || http.path ^= "/"`, "/", nil},
		{"regex", `http.path ~ r#"^/v(?<version>\d+)/\w+"#`, "/v1/Users", []string{"/v1/Users", "1"}},
		{"lowered regex", `lower(http.path) ~ r#"^/v1/(\w+)"#`, "/v1/Users", []string{"/v1/users", "users"}},
		{"regex within", `http.path ~ r#"(\d+)/$"#`, "", []string{"42/", "42"}},
		{"regex then prefix", `http.path ~ r#"(\d+)/$"# && http.path ^= "/v"`, "/v", []string{"42/", "42"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			m := e.MatchPath(sample())
			var captures []string
			if m.Pattern != nil {
				captures = m.Pattern.FindStringSubmatch(m.Text)
			}
			if m.Matched != tt.matched || cmp.Diff(tt.captures, captures) != "" {
				t.Errorf("matched %q, captures %q; want %q, %q", m.Matched, captures, tt.matched, tt.captures)
			}
		})
	}
}

func TestImplied(t *testing.T) {
	tests := []struct {
		text     string
		hosts    []Host
		prefixes []string
	}{
		{`http.method == "GET"`, nil, nil},
		{`http.host == "a"`, []Host{{"a", HostIs}}, nil},
		{`http.host ^= "a."`, []Host{{"a.", HostBegins}}, nil},
		{`http.host =^ ".a"`, []Host{{".a", HostEnds}}, nil},
		{`http.host != "a"`, nil, nil},
		{`http.host ~ "^a$"`, nil, nil},
		{`lower(http.host) == "a"`, nil, nil},
		{`http.path == "/a"`, nil, []string{"/a"}},
		{`http.path ^= "/a"`, nil, []string{"/a"}},
		{`http.path ^= ""`, nil, nil},
		{`http.path =^ "/a"`, nil, nil},
		{`lower(http.path) ^= "/a"`, nil, nil},
		{`http.path ~ "^/a/[0-9]+"`, nil, []string{"/a/"}},
		{`http.path ~ "^/(a|b)"`, nil, []string{"/"}},
		{`http.path ~ "^/a|^/b"`, nil, nil},
		{`http.path ~ "/a"`, nil, nil},
		{`http.path ~ "^/a|b"`, nil, nil},
		{`http.path ~ "(?i)^/a"`, nil, nil},
		{`http.path ~ "(?m)^/a"`, nil, nil},
		{`http.host == "a" && http.path ^= "/b"`, []Host{{"a", HostIs}}, []string{"/b"}},
		{`(http.host == "a" || http.host == "b") && http.method == "GET"`, []Host{{"a", HostIs}, {"b", HostIs}}, nil},
		{`(http.host == "a" || http.host == "b") && http.host =^ "c"`, []Host{{"c", HostEnds}}, nil},
		{`http.host == "a" || http.path ^= "/b"`, nil, nil},
		{`(http.host == "a" && http.path ^= "/b") || (http.host == "c" && http.path ^= "/d")`, []Host{{"a", HostIs}, {"c", HostIs}}, []string{"/b", "/d"}},
		{`!(http.host == "a")`, nil, nil},
		{`!(!(http.host == "a"))`, nil, nil},
		{strings.TrimSuffix(strings.Repeat(`http.host == "a" || `, maxImplied+1), " || "), nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			e, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.hosts, e.Hosts()); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.prefixes, e.PathPrefixes()); diff != "" {
				t.Errorf("prefixes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvalDoesNotAllocate(t *testing.T) {
	f := sample()
	f.Query = "q=one&case=X"
	for _, text := range []string{
		`http.host == "api.example.test" && http.path ^= "/v1/" && http.method == "GET"`,
		`http.path ~ "^/v[0-9]+/" && http.path.segments.0_1 == "v1/Users" && http.path.segments.len == 3`,
		`lower(http.path) == "/v1/users/42/" && lower(http.path) =^ "users/42/" && lower(http.path) contains "users"`,
		`any(lower(http.headers.x_two)) == "a2" && http.queries.case == "X"`,
		`net.src.ip in 192.0.2.0/24 && net.dst.ip == 2001:db8::1 && !(net.src.port < 1024)`,
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if !e.Eval(f) {
			t.Errorf("%s does not hold", text)
		}
		// Regular expressions take their memory from a pool.
		pooled := raceEnabled && strings.Contains(text, " ~ ")
		if n := testing.AllocsPerRun(100, func() { e.Eval(f) }); n != 0 && !pooled {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

// fits reports whether a fact about a host is true.
func (h Host) fits(host string) bool {
	switch h.Form {
	case HostBegins:
		return strings.HasPrefix(host, h.Text)
	case HostEnds:
		return strings.HasSuffix(host, h.Text)
	}
	return host == h.Text
}

// FuzzParse checks that an expression is refused at a place within it, or
// agrees with itself: in parentheses, negated, and with what it is said to
// imply.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`http.path == "/"`, `!(http.host =^ ".a") || (net.src.ip not in ::/0)`, `any(lower(http.headers.x)) ~ r#"\d"#`,
		`http.path.segments.0_2 contains "a\n"`, `net.src.port >= -0x1f`, `http.host == "a" && (http.path ~ "^/a|^/b")`, `((`, `"`, `r#"`, `http.path == "\`,
	} {
		f.Add(text, "/v1/Users/42/", "api.example.test")
	}
	f.Fuzz(func(t *testing.T, text, path, host string) {
		fields := sample()
		fields.Path, fields.Host = path, host
		e, err := Parse(text)
		if err != nil {
			at := err.(*Error)
			lines := strings.Split(text, "\n")
			if at.Line < 1 || at.Line > len(lines) || at.Column < 1 || at.Column > len(lines[at.Line-1])+1 || at.Reason == "" || at.Found == "" || at.Expected == "" {
				t.Fatalf("%q: error %+v", text, at)
			}
			return
		}
		held := e.Eval(fields)
		for prefix, want := range map[string]bool{"(": held, "!(": !held, "!(!(": held} {
			again, err := Parse(prefix + text + strings.Repeat(")", strings.Count(prefix, "(")))
			if err != nil {
				if at := err.(*Error); strings.HasPrefix(at.Reason, "parentheses too deep") || strings.HasPrefix(at.Reason, "expression too long") {
					continue
				}
				t.Fatalf("%s%q: %v", prefix, text, err)
			}
			if again.Eval(fields) != want {
				t.Errorf("%s%q: want %v", prefix, text, want)
			}
		}
		if m := e.MatchPath(fields); !strings.HasPrefix(path, m.Matched) {
			t.Errorf("%q matched %q of %q", text, m.Matched, path)
		}
		if !held {
			return
		}
		implied := e.Hosts() == nil
		for _, h := range e.Hosts() {
			implied = implied || h.fits(host)
		}
		if !implied {
			t.Errorf("%q holds for host %q, but implies %v", text, host, e.Hosts())
		}
		implied = e.PathPrefixes() == nil
		for _, p := range e.PathPrefixes() {
			implied = implied || strings.HasPrefix(path, p)
		}
		if !implied {
			t.Errorf("%q holds for path %q, but implies %q", text, path, e.PathPrefixes())
		}
	})
}

func BenchmarkEval(b *testing.B) {
	e, err := Parse(`http.host == "api.example.test" && http.path ^= "/v1/" && any(lower(http.headers.x_two)) == "a2"`)
	if err != nil {
		b.Fatal(err)
	}
	f := sample()
	b.ReportAllocs()
	for b.Loop() {
		if !e.Eval(f) {
			b.Fatal("does not hold")
		}
	}
}
