package testkit

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

func TestMain(m *testing.M) { Main(m) }

func TestDecodeAndRender(t *testing.T) {
	tests := []struct{ name, text, bytes string }{
		{"nothing", "", ""},
		{"lines", "a\nb\n\n", "a\r\nb\r\n\r\n"},
		{"no end", "a\\\n", "a"},
		{"an empty end", "a\n\\\n", "a\r\n"},
		{"a bare LF", `a\nb` + "\n", "a\nb\r\n"},
		{"a bare CR at the end", `a\r\` + "\n", "a\r"},
		{"bytes", `\x01\0\t\xff` + "\n", "\x01\x00\t\xff\r\n"},
		{"a backslash", `a\\` + "\n", "a\\\r\n"},
		{"a backslash without an end", `a\\\` + "\n", `a\`},
		{"a long run", "<70*a>b\n", strings.Repeat("a", 70) + "b\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.bytes {
				t.Errorf("decoded %q, want %q", got, tt.bytes)
			}
			again, err := decode(render(got))
			if err != nil {
				t.Fatal(err)
			}
			if string(again) != tt.bytes {
				t.Errorf("rendered %q, which decodes to %q", render(got), again)
			}
		})
	}
	for _, text := range []string{`\q`, `\x1`, `\xzz`} {
		if b, err := decode(text + "\n"); err == nil {
			t.Errorf("decoding %q: got %q, want an error", text, b)
		}
	}
}

func TestCanonical(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := []struct{ name, stream, want string }{
		{"not chunked", "HTTP/1.1 200 OK\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"several chunks", head + "1\r\na\r\n2;x\r\nbc\r\n0\r\n\r\n", head + "3\r\nabc\r\n0\r\n\r\n"},
		{"no content", head + "0\r\n\r\n", head + "0\r\n\r\n"},
		{"trailer", head + "1\r\na\r\n0\r\nX: y\r\n\r\n", head + "1\r\na\r\n0\r\nX: y\r\n\r\n"},
		{"the next answer", head + "1\r\na\r\n0\r\n\r\n" + head + "1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", head + "1\r\na\r\n0\r\n\r\n" + head + "2\r\nbc\r\n0\r\n\r\n"},
		{"cut", head + "1\r\na\r\n5\r\nbc", head + "1\r\na\r\n5\r\nbc"},
		{"broken", head + "1\r\na\r\nzz\r\n", head + "1\r\na\r\nzz\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(canonical([]byte(tt.stream))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNormalize(t *testing.T) {
	in := `Host: 127.0.0.1:4711
X-Forwarded-Port: 8000
X-Kong-Proxy-Latency: 12
X-Kong-Request-Id: 0123456789abcdef0123456789abcdef
Kong-Request-ID: 01234567-89ab-cdef-0123-456789abcdef#17
Tracker: 127.0.0.1-8000-99-1-1-1700000000.123
Date: Sun, 06 Nov 1994 08:49:37 GMT
X-Other: 54711 47110 0123456789abcdef
`
	want := `Host: 127.0.0.1:<upstream-port>
X-Forwarded-Port: <port>
X-Kong-Proxy-Latency: <ms>
X-Kong-Request-Id: <id>
Kong-Request-ID: <uuid>#<n>
Tracker: <tracker>
Date: Sun, 06 Nov 1994 08:49:37 GMT
X-Other: 54711 47110 0123456789abcdef
`
	if diff := cmp.Diff(want, normalize(in, "4711", "<upstream-port>", "8000", "<port>")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSplitsCoverEveryBorder(t *testing.T) {
	text := "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 100) + "\r\n\r\n"
	p := part{bytes: []byte(text), breaks: breaks([]byte(text))}
	borders := make(map[int]bool)
	for i := range len(p.breaks) {
		pieces := split{at: i}.pieces(&p)
		if len(pieces) != 2 || string(pieces[0])+string(pieces[1]) != text || len(pieces[0]) == 0 {
			t.Fatalf("border %d: pieces %q", i, pieces)
		}
		borders[len(pieces[0])] = true
	}
	run := strings.Index(text, "aaa")
	for i := 1; i < len(text); i++ {
		if !borders[i] && (i <= run+1 || i >= run+99) {
			t.Errorf("no split before byte %d", i)
		}
	}
	if all := (split{each: true}).pieces(&p); len(all) != len(p.breaks)+1 {
		t.Errorf("%d pieces byte by byte, want %d", len(all), len(p.breaks)+1)
	}
	if one := whole().pieces(&p); len(one) != 1 {
		t.Errorf("the whole is %d pieces", len(one))
	}
}

func TestScriptErrors(t *testing.T) {
	for _, src := range []string{
		"options: no-such\n",
		"-- nothing --\n",
		"-- reply --\n",
		"-- client --\n-- reply --\n-- reply --\n",
		"-- client --\n<wait soon>\n",
		"-- answer --\n\\q\n",
	} {
		if _, err := parseScript([]byte(src)); err == nil {
			t.Errorf("reading %q: no error", src)
		}
	}
}

// TestDifferencesAreFound runs a right script with expectations that are not,
// one after the other.
func TestDifferencesAreFound(t *testing.T) {
	const right = `-- config.yaml --
services: [{name: s, url: "http://$UPSTREAM", routes: [{name: r, paths: [/]}]}]
node: {headers: ["off"]}
-- client --
GET /a HTTP/1.1
Host: a

-- answer --
HTTP/1.1 200 OK
Content-Length: 2
Date: Sun, 06 Nov 1994 08:49:37 GMT

ok\
-- reply --
HTTP/1.1 200 OK
Date: Sun, 06 Nov 1994 08:49:37 GMT
Content-Length: 2
Connection: keep-alive

ok\
-- log --
200 - 200 upstream
`
	tests := []struct {
		name, old, new string
		ok             bool
	}{
		{"right", "", "", true},
		{"content", "ok\\\n-- log", "no\\\n-- log", false},
		{"content that is not there", "ok\\\n-- log", "ok and more\\\n-- log", false},
		{"end", "ok\\\n-- log", "ok\\\n<close>\n-- log", false},
		{"field", "Connection: keep-alive", "Connection: close", false},
		{"log", "200 - 200 upstream", "200 - 200 kong", false},
		{"upstream", "-- log", "-- upstream --\n-- log", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := parseScript([]byte(strings.Replace(right, tt.old, tt.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			f := new(faults)
			g := newGolden(t, s)
			g.patience = 500 * time.Millisecond
			g.check(f, []run{{"whole", whole(), whole()}})
			if ok := f.n.Load() == 0; ok != tt.ok {
				t.Errorf("passes: %v, want %v", ok, tt.ok)
			}
		})
	}
}

// faults counts what a script finds.
type faults struct{ n atomic.Int64 }

func (f *faults) Helper()               {}
func (f *faults) Errorf(string, ...any) { f.n.Add(1) }
func (f *faults) Logf(string, ...any)   {}

func TestLeaked(t *testing.T) {
	before := Goroutines()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		<-stop
	}()
	if left := leak.Within(50*time.Millisecond, before); len(left) != 1 || !strings.Contains(left[0], "TestLeaked") {
		t.Errorf("found %d goroutines, want the one of this test: %s", len(left), strings.Join(left, "\n"))
	}
	close(stop)
	<-done
	if left := Leaked(before); len(left) != 0 {
		t.Errorf("found goroutines that have ended: %s", strings.Join(left, "\n"))
	}
}
