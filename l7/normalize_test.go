package l7

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", "/"},
		{"root", "/", "/"},
		{"asterisk form", "*", "*"},
		{"plain", "/a/b/c", "/a/b/c"},
		{"final slash", "/a/b/c/", "/a/b/c/"},
		{"hidden name", "/.well-known/acme", "/.well-known/acme"},
		{"dots in a name", "/a.b/..c/...", "/a.b/..c/..."},

		{"unreserved decoded", "/%6B%6f%6e%67", "/kong"},
		{"reserved kept", "/a%2Fb%3F%23%25", "/a%2Fb%3F%23%25"},
		{"reserved in upper case", "/a%2fb%3f%5b", "/a%2Fb%3F%5B"},
		{"every reserved kept", "/%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%2F%3F%25%23%5B%5D", "/%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%2F%3F%25%23%5B%5D"},
		{"reserved unescaped kept", "/!*'();:@&=+$,[]", "/!*'();:@&=+$,[]"},
		{"space", "/a%20b", "/a b"},
		{"utf-8", "/endel%C3%B8st", "/endeløst"},
		{"bytes that are not utf-8", "/%99%af", "/\x99\xaf"},
		{"decoded once", "/%2541", "/%2541"},
		{"control byte", "/a%0Db", "/a\rb"},

		{"backslash is no slash", `/a\..\b`, `/a\..\b`},
		{"encoded backslash", "/a%5C..%5cb", `/a\..\b`},

		{"slashes merged", "//a///b//", "/a/b/"},
		{"only slashes", "/////", "/"},
		{"single dot", "/.", "/"},
		{"single dots", "/./a/./b/.", "/a/b/"},
		{"double dot", "/a/b/../c", "/a/c"},
		{"double dot at the end", "/a/b/..", "/a/"},
		{"to the root", "/a/..", "/"},
		{"above the root", "/../../a", "/a"},
		{"above the root and down", "/a/../../b/..", "/"},
		{"dots mixed", "/a/b/c/./../../g", "/a/g"},
		{"encoded dots", "/a/%2e%2E/b/%2e/c", "/b/c"},
		{"half encoded dots", "/a/.%2e/b/%2E./c", "/c"},
		{"slashes merge before dots", "/a//../b", "/b"},
		{"encoded slash is no segment border", "/a/..%2Fb", "/a/..%2Fb"},
		{"all at once", "/%C3%A4/a/%2e./a%2E//a/%2e/./a/../a/%2e%2E/%5f%99%af%2f%2F", "/ä/a./a/_\x99\xaf%2F%2F"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NormalizePath(tt.in)
			if err != nil || got != tt.want {
				t.Errorf("NormalizePath(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestNormalizePathRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"relative", "a/b", errPathForm},
		{"dot", ".", errPathForm},
		{"more than an asterisk", "*a", errPathForm},
		{"backslash first", `\a`, errPathForm},
		{"percent at the end", "/a%", errPathEscape},
		{"one digit", "/a%2", errPathEscape},
		{"no hex", "/a%zz", errPathEscape},
		{"second no hex", "/a%2g", errPathEscape},
		{"percent of a percent", "/%%41", errPathEscape},
		{"unicode escape", "/%u002f", errPathEscape},
		{"behind a dot segment", "/../%", errPathEscape},
		{"encoded nul", "/a%00b", errPathNUL},
		{"raw nul", "/a\x00b", errPathNUL},
		{"question mark", "/a?b", errPathForeign},
		{"hash", "/a#b", errPathForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := NormalizePath(tt.in); !errors.Is(err, tt.want) || got != "" {
				t.Errorf("NormalizePath(%q) = %q, %v; want error %v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestNormalizePathDoesNotAllocate(t *testing.T) {
	for _, path := range []string{"/", "/api/v1/users/42", "/.well-known/x..y/a%2Fb", "/a b/\x99"} {
		if n := testing.AllocsPerRun(100, func() {
			if got, err := NormalizePath(path); err != nil || got != path {
				t.Fatalf("NormalizePath(%q) = %q, %v", path, got, err)
			}
		}); n != 0 {
			t.Errorf("NormalizePath(%q) allocates %v times", path, n)
		}
	}
}

// naiveNormalize reads the rules one after the other.
func naiveNormalize(raw string) (string, bool) {
	switch {
	case raw == "":
		return "/", true
	case raw == "*":
		return raw, true
	case !strings.HasPrefix(raw, "/"), strings.ContainsAny(raw, "?#\x00"):
		return "", false
	}
	var decoded strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			decoded.WriteByte(raw[i])
			continue
		}
		if i+3 > len(raw) {
			return "", false
		}
		c, err := url.PathUnescape(raw[i : i+3])
		switch {
		case err != nil || c == "\x00":
			return "", false
		case strings.Contains("!*'();:@&=+$,/?%#[]", c):
			decoded.WriteString(strings.ToUpper(raw[i : i+3]))
		default:
			decoded.WriteString(c)
		}
		i += 2
	}
	var kept []string
	segments := strings.Split(decoded.String(), "/")
	for i, s := range segments {
		switch last := i == len(segments)-1; {
		case s == "..":
			kept = kept[:max(len(kept)-1, 0)]
		case s != "" && s != ".":
			kept = append(kept, s)
			if last {
				return "/" + strings.Join(kept, "/"), true
			}
		}
	}
	if len(kept) == 0 {
		return "/", true
	}
	return "/" + strings.Join(kept, "/") + "/", true
}

func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{
		"", "*", "/", "a", "//", "/a/../b", "/%2e%2e/%2F", "/a%5c..%5Cb", "/%zz", "/%00", "/%", "/%2", "/a?b",
		"/a//..//./b/.", "/..", "/%2541%2f", "/.a/..b/c.", "/\xff%99", "/a/.%2e", "/%25%2e%2e/", "/..;/a", "/a/..%2f..",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := NormalizePath(raw)
		want, ok := naiveNormalize(raw)
		if (err == nil) != ok || got != want {
			t.Fatalf("NormalizePath(%q) = %q, %v; want %q, %v", raw, got, err, want, ok)
		}
		if err != nil {
			return
		}
		if again, err := NormalizePath(got); err != nil || again != got {
			t.Errorf("normalising %q again gives %q, %v", got, again, err)
		}
		if strings.Contains(got, "//") || strings.ContainsAny(got, "\x00?#") {
			t.Errorf("NormalizePath(%q) = %q", raw, got)
		}
		for s := range strings.SplitSeq(got, "/") {
			if s == "." || s == ".." {
				t.Errorf("NormalizePath(%q) = %q has a dot segment", raw, got)
			}
		}
		escaped := EscapePath(got)
		if i := strings.IndexFunc(escaped, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }); i >= 0 {
			t.Errorf("EscapePath(%q) = %q holds %q", got, escaped, escaped[i])
		}
		if back, err := NormalizePath(escaped); err != nil || back != got {
			t.Errorf("escaping %q gives %q, which is normalised to %q, %v", got, escaped, back, err)
		}
	})
}

func BenchmarkNormalizePath(b *testing.B) {
	for name, path := range map[string]string{"normal": "/api/v1/users/42/orders", "rewritten": "/api/%761/users/./42//orders"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NormalizePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
