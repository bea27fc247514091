package l7

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// refusedView is what a test compares of a RefusedHead.
type refusedView struct {
	Method, Target, Proto string
	Fields                []string // names and values in turn
}

func viewRefused(h *RefusedHead) refusedView {
	v := refusedView{Method: h.Method, Target: h.Target, Proto: h.Proto}
	for _, f := range h.Header.Fields() {
		v.Fields = append(v.Fields, f.Name, f.Value)
	}
	return v
}

func TestReadRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want refusedView
	}{
		"whole":                          {"GET /a?b HTTP/4.0\r\nHost: x\r\nA:  b \t\r\n\r\nC: d", refusedView{"GET", "/a?b", "HTTP/4.0", []string{"Host", "x", "A", "b"}}},
		"empty lines":                    {"\r\n\nGET / HTTP/1.1\r\n\r\n", refusedView{"GET", "/", "HTTP/1.1", nil}},
		"bare line feeds":                {"GET / HTTP/1.1\nA: b\n\nC: d", refusedView{"GET", "/", "HTTP/1.1", []string{"A", "b"}}},
		"spaces in target":               {"GET /a b\xff HTTP/1.1\r\n", refusedView{"GET", "/a b\xff", "HTTP/1.1", nil}},
		"no version":                     {"GET /\r\nA: b", refusedView{"GET", "/", "HTTP/0.9", []string{"A", "b"}}},
		"no version at all, and a space": {"GET /a b\r\n", refusedView{"GET", "/a b", "HTTP/0.9", nil}},
		"a folded line":                  {"GET / HTTP/1.1\r\nA: b\r\n c\r\n", refusedView{"GET", "/", "HTTP/1.1", []string{"A", "b", "A", "c"}}},
		"control bytes":                  {"GET / HTTP/1.1\r\nA: b\x00c\r\nd\x01\r\n", refusedView{"GET", "/", "HTTP/1.1", []string{"A", "b\x00c", "d\x01", ""}}},
		"nothing":                        {"\r\n", refusedView{"", "", "HTTP/0.9", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, viewRefused(readRefused(c.in))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if n := readRefused("GET / HTTP/1.1\n" + strings.Repeat("a:\n", 5000)).Header.Len(); n != maxRefusedFields {
		t.Errorf("%d fields are read", n)
	}
}

// FuzzReadRefused holds the reader to its bounds: nothing it gives out has a line
// feed, and there are not more fields than lines.
func FuzzReadRefused(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "\n\n", "GET / \nA", " : \n\t\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := viewRefused(readRefused(s))
		if n := len(v.Fields) / 2; n > strings.Count(s, "\n") || n > maxRefusedFields {
			t.Errorf("%q has %d fields", s, n)
		}
		for _, part := range append(v.Fields, v.Method, v.Target, v.Proto) {
			if strings.Contains(part, "\n") {
				t.Errorf("%q of %q goes over lines", part, s)
			}
		}
	})
}

// TestRefusedHead: only what was refused for itself, and before it was routed, has
// such a head.
func TestRefusedHead(t *testing.T) {
	client, self := &Error{Side: SideClient}, &Error{Side: SideSelf}
	parsed := Request{Method: "GET", Target: "/%00", Proto: HTTP11}
	for name, c := range map[string]struct {
		x    *Exchange
		want string // the target; "": none
	}{
		"by the engine":       {&Exchange{err: client, refused: "GET /a\xff HTTP/1.1\r\n\r\n"}, "/a\xff"},
		"for its path":        {&Exchange{err: client, Req: parsed}, "/%00"},
		"nothing came":        {&Exchange{err: client}, ""},
		"no error":            {&Exchange{Req: parsed}, ""},
		"an error of ours":    {&Exchange{err: self, Req: parsed}, ""},
		"after it was routed": {&Exchange{err: client, Req: parsed, Route: new(Route)}, ""},
	} {
		got := ""
		if h := c.x.RefusedHead(); h != nil {
			got = h.Target
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
