package waf

import (
	"regexp"
	"strings"
	"testing"
)

// BenchmarkMask is what masking costs: of a usual form, and of a text of
// maxSearched bytes that is made to cost as much as any can.
func BenchmarkMask(b *testing.B) {
	for name, text := range map[string]string{
		"Form":  strings.Repeat("name=value&city=K%C3%B6ln&", 10) + "password=hunter22&x=1",
		"JSON":  strings.Repeat(`{"name":"value","user":{"token":"abcdef"},"list":[1,2,3]},`, maxSearched/58),
		"Words": strings.Repeat("passwor", maxSearched/7) + "=",
		"Dots":  strings.Repeat("a.", maxSearched/2-1) + "=",
		"Pairs": strings.Repeat("key=value&", maxSearched/10),
		"Quote": `password="` + strings.Repeat(`\"`, maxSearched/2-6),
		"Blank": strings.Repeat(`token `, maxSearched/6-1) + "=",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				maskPairs(text)
			}
		})
	}
}

// TestMaskPairs masks what has a secret name, wherever it stands, and nothing
// else.
func TestMaskPairs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"a=1&b=2":                             "a=1&b=2",
		"user%5Bpin%5D=x%21y&b=2":             "user%5Bpin%5D=***&b=2",
		"p%61ssword=x&%zz=1":                  "p%61ssword=***&%zz=1",
		"a%20pin=x&a%pin=y&100%access_key=z":  "a%20pin=***&a%pin=***&100%access_key=***",
		"password=hunter22":                   "password=***",
		"a=1&Password=hunter22&b=2":           "a=1&Password=***&b=2",
		"user[pass]=x;y=1":                    "user[pass]=***;y=1",
		"json.user.token: abc, x":             "json.user.token: ***, x",
		`{"access_token":"a\"b","n":1}`:       `{"access_token":***,"n":1}`,
		`{"access_token" : 'a', "n":1}`:       `{"access_token" : ***, "n":1}`,
		`{"secret": 12}`:                      `{"secret": ***}`,
		`secret="open`:                        `secret=***`,
		`secret="open\`:                       `secret=***`,
		"compass=1":                           "compass=1",
		"key=1&monkey=2":                      "key=***&monkey=2",
		"next=/a?token=b":                     "next=/a?token=***",
		"token=&a=b":                          "token=&a=b",
		"token=":                              "token=",
		"token =\t":                           "token =\t",
		`cookie=token="x;y"&a=1`:              `cookie=******&a=1`,
		"token==a":                            "token=***",
		"Authorization: Basic":                "Authorization: ***",
		"https://h/?x=1&api_key=2#a":          "https://h/?x=1&api_key=***",
		"pin=1234 otp:5678":                   "pin=*** otp:***",
		"x\x00token\xff=1":                    "x\x00token\xff=1",
		"my-client-secret-2=z, password  = q": "my-client-secret-2=***, password  = ***",
	} {
		if got := maskPairs(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzMaskPairs holds the search for secrets against a regular expression that
// finds the plain ones, slowly: what that finds must be masked.
func FuzzMaskPairs(f *testing.F) {
	reference := regexp.MustCompile(`(?i)[\w.\[\]-]*(?:` + strings.Join(secretParts, "|") + `)[\w.\[\]-]*["']?\s*[=:]\s*("(?:[^"\\]|\\(?s:.))*"?|[^&;,\s"'}]+)`)
	for _, s := range []string{"a=1&password=x", `{"token":"a\"b"}`, `cookie=token="x;y"`, "secret : x", "token==a=b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		masked := make([]bool, len(text))
		last := 0
		for at, end := range secretPairs(text) {
			if at < last || end <= at || end > len(text) {
				t.Fatalf("%q: [%d:%d] behind %d", text, at, end, last)
			}
			for i := at; i < end; i++ {
				masked[i] = true
			}
			last = end
		}
		for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
			for i := m[2]; i < m[3]; i++ {
				if !masked[i] {
					t.Fatalf("%q: %q is not masked", text, text[m[2]:m[3]])
				}
			}
		}
	})
}
