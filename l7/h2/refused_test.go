package h2

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestMalformedIsSeenWhole shows that what is told of a malformed request does
// not end at its first fault, and that no field ends a line of it.
func TestMalformedIsSeenWhole(t *testing.T) {
	for _, tt := range []struct {
		name   string
		list   []string
		method string
		target string
		fields []string
	}{
		{"a field of the connection", get("/a?b", "x-a", "1", "te", "x", "x-b", "2"), "GET", "/a?b", []string{"host: a.test", "x-a: 1", "te: x", "x-b: 2"}},
		{"a byte in a value", get("/a", "x-a", "1\n\n2", "x-b", "2"), "GET", "/a", []string{"host: a.test", "x-a: 1\r\r2", "x-b: 2"}},
		{"a byte in a name", get("/a", "x\na", "1", "x-b", "2"), "GET", "/a", []string{"host: a.test", "x\ra: 1", "x-b: 2"}},
		{"a method behind a field", []string{":path", "/a", "x-a", "1", ":method", "PUT", "x-b", "2"}, "PUT", "/a", []string{"x-a: 1", "x-b: 2"}},
		{"two paths", []string{":method", "PUT", ":path", "/a", ":path", "/b", "x-b", "2"}, "PUT", "/a", []string{"path: /b", "x-b: 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := message{}
			c := &conn{settings: &Settings{}}
			c.settings.Limits.HeadBytes, c.settings.Limits.Fields = 16<<10, 100
			m.begin(headOpens, c)
			defer m.x.Release()
			for i := 0; i < len(tt.list); i += 2 {
				if !m.wanted() {
					t.Fatalf("what follows %s is not wanted", tt.list[i-2])
				}
				m.add(tt.list[i], tt.list[i+1])
			}
			if err := m.request(true); err != errBadHead {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(m.text(), "\n"), "\n")
			if want := tt.method + " " + tt.target + " HTTP/2.0"; lines[0] != want {
				t.Errorf("the first line is %q, want %q", lines[0], want)
			}
			if got, want := strings.Join(lines[1:], "|"), strings.Join(tt.fields, "|"); got != want {
				t.Errorf("the fields are %q, want %q", got, want)
			}
		})
	}
}

// TestMalformedIsKept shows that the whole of it is what a Log hook sees.
func TestMalformedIsKept(t *testing.T) {
	seen := make(chan *l7.RefusedHead, 1)
	e := start(t, echo, nil)
	e.site.look = func(x *l7.Exchange, err *l7.Error) {
		x.Fail(err)
		seen <- x.RefusedHead()
	}
	e.headers(1, true, get("/", "te", "x", "x-b", "2")...)
	e.want("RST_STREAM 1 PROTOCOL_ERROR")
	h := <-seen
	if h == nil || h.Method != "GET" || !slices.ContainsFunc(h.Header.Fields(), func(f l7.Field) bool { return f.Name == "x-b" }) {
		t.Errorf("what is seen is %+v", h)
	}
}
