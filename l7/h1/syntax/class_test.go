package syntax

import (
	"strings"
	"testing"
)

// TestClasses holds the table against the grammars, written out.
func TestClasses(t *testing.T) {
	const (
		alnum      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		unreserved = alnum + "-._~"
		subDelims  = "!$&'()*+,;="
		visible    = alnum + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	)
	var high strings.Builder
	for c := 0x80; c <= 0xff; c++ {
		high.WriteByte(byte(c))
	}
	tests := []struct {
		name string
		bit  uint8
		set  string
	}{
		{"token", isToken, alnum + "!#$%&'*+-.^_`|~"},
		{"path", isPath, strings.NewReplacer("#", "", "?", "", "%", "", `\`, "").Replace(visible)},
		{"query", isQuery, strings.ReplaceAll(visible, "#", "")},
		{"host", isHost, unreserved + subDelims},
		{"value", isValue, visible + " \t" + high.String()},
		{"quoted", isQuoted, strings.NewReplacer(`"`, "", `\`, "").Replace(visible) + " \t" + high.String()},
		{"hex", isHex, "0123456789abcdefABCDEF"},
		{"digit", isDigit, "0123456789"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for c := range 256 {
				want := strings.IndexByte(tt.set, byte(c)) >= 0
				if got := classes[c]&tt.bit != 0; got != want {
					t.Errorf("byte %#02x: got %v, want %v", c, got, want)
				}
			}
		})
	}
}

// TestValueEnd holds that looking at eight bytes at a time sees what looking at
// each would: every byte, at every place, in front of every other stop.
func TestValueEnd(t *testing.T) {
	slow := func(s string, i int) int {
		for i < len(s) && classes[s[i]]&isValue != 0 {
			i++
		}
		return i
	}
	for _, fill := range []string{"a", "\t", " ", "\x80", "\xff", "~"} {
		for length := range 20 {
			base := strings.Repeat(fill, length)
			for at := range length {
				for c := range 256 {
					s := base[:at] + string([]byte{byte(c)}) + base[at+1:]
					for _, tail := range []string{"", "\r\n", "\x00", "\x7f\x1f"} {
						for from := range 3 {
							from = min(from, len(s))
							if got, want := valueEnd(s+tail, from), slow(s+tail, from); got != want {
								t.Fatalf("valueEnd(%q, %d) is %d, want %d", s+tail, from, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestValidField(t *testing.T) {
	tests := []struct {
		in          string
		name, value bool
	}{
		{"", false, true},
		{"X-Name", true, true},
		{"two words", false, true},
		{"a:b", false, true},
		{"a\r\nb: c", false, false},
		{"a\nb", false, false},
		{"a\x00", false, false},
		{"\x7f", false, false},
		{"a fairly long value \xe2\x98\x83\tand a tab", false, true},
		{"a fairly long value, then\r\nInjected: 1", false, false},
	}
	for _, tt := range tests {
		if got := ValidFieldName(tt.in); got != tt.name {
			t.Errorf("ValidFieldName(%q) is %v", tt.in, got)
		}
		if got := ValidFieldValue(tt.in); got != tt.value {
			t.Errorf("ValidFieldValue(%q) is %v", tt.in, got)
		}
	}
}

func TestNextElement(t *testing.T) {
	tests := []struct{ list, want string }{
		{"a", "a"},
		{"a,b", "a|b"},
		{" \ta\t ,\t b c ", "a|b c"},
		{",a,, b", "|a||b"},
		{" ", ""},
	}
	for _, tt := range tests {
		var got []string
		for rest := tt.list; rest != ""; {
			var element string
			element, rest = nextElement(rest)
			got = append(got, element)
		}
		if s := strings.Join(got, "|"); s != tt.want {
			t.Errorf("elements of %q are %q, want %q", tt.list, s, tt.want)
		}
	}
}
