package syntax

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/l7"
)

// readRequest does what an engine does: it gathers the pieces until a head is
// complete and parses it. rest is what follows the head.
func readRequest(t *testing.T, pieces []string, lim *Limits) (r *l7.Request, rest string, f fault) {
	t.Helper()
	var b []byte
	from := 0
	for i, piece := range pieces {
		b = append(b, piece...)
		start, end, err := FindRequestHead(b, from, lim)
		if err != nil {
			return nil, "", faultOf(t, err, l7.SideClient)
		}
		if end == 0 {
			from = len(b)
			continue
		}
		r = new(l7.Request)
		if err := ParseRequest(string(b[start:end]), lim, r); err != nil {
			return nil, "", faultOf(t, err, l7.SideClient)
		}
		return r, string(b[end:]) + strings.Join(pieces[i+1:], ""), faultNone
	}
	return nil, "", faultNone
}

// faultOf returns the fault in err, which must be an *l7.Error that blames side.
func faultOf(t *testing.T, err error, side l7.Side) fault {
	t.Helper()
	e, ok := errors.AsType[*l7.Error](err)
	if !ok {
		t.Fatalf("error is a %T, want *l7.Error: %v", err, err)
	}
	f, ok := e.Err.(fault)
	if !ok || f == faultNone || f >= faultCount {
		t.Fatalf("cause is %v, want a fault", e.Err)
	}
	if e.Side != side || e.Retryable {
		t.Fatalf("error blames side %d, retryable %v; want side %d, not retryable", e.Side, e.Retryable, side)
	}
	return f
}

// splits calls fn with s in two pieces at every border, and byte by byte.
func splits(s string, fn func(pieces []string)) {
	for i := 1; i < len(s); i++ {
		fn([]string{s[:i], s[i:]})
	}
	fn(strings.Split(s, ""))
}

// fieldsOf lists the fields of h in the form "Name: value".
func fieldsOf(h *l7.Header) []string {
	var lines []string
	for _, f := range h.Fields() {
		lines = append(lines, f.Name+": "+f.Value)
	}
	return lines
}

// plainRequest is r without its fields, for comparing.
func plainRequest(r *l7.Request) l7.Request {
	c := *r
	c.Header, c.Body = l7.Header{}, nil
	return c
}

var requestCmp = cmp.Options{cmp.AllowUnexported(l7.Header{})}

type goodRequest struct {
	name string
	head string
	want l7.Request // without Header and HeadSize
}

// get is the answer expected of the simplest request, changed by edit.
func get(edit func(r *l7.Request)) l7.Request {
	r := l7.Request{Method: "GET", Target: "/", Path: "/", Authority: "a", Proto: l7.HTTP11}
	edit(&r)
	return r
}

// withField is a GET with one more field line.
func withField(lines ...string) string {
	return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// post is a POST with these field lines.
func post(lines ...string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// atTarget is a GET of target.
func atTarget(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n" }

// atHost is a GET with this Host.
func atHost(host string) string { return "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }

func goodRequests() []goodRequest {
	unchanged := func(*l7.Request) {}
	target := func(target, path string) l7.Request {
		return get(func(r *l7.Request) { r.Target, r.Path = target, path })
	}
	query := func(target, path, query string) l7.Request {
		return get(func(r *l7.Request) { r.Target, r.Path, r.Query, r.HasQuery = target, path, query, true })
	}
	absolute := func(target, authority, path string) l7.Request {
		return get(func(r *l7.Request) { r.Target, r.Authority, r.Path = target, authority, path })
	}
	host := func(h string) l7.Request { return get(func(r *l7.Request) { r.Authority = h }) }
	posted := func(length int64) l7.Request {
		return get(func(r *l7.Request) { r.Method, r.ContentLength = "POST", length })
	}
	upgrade := func(protocol string) l7.Request { return get(func(r *l7.Request) { r.Upgrade = protocol }) }
	closing := get(func(r *l7.Request) { r.Close = true })
	http10 := func(authority string, closes bool) l7.Request {
		return get(func(r *l7.Request) { r.Proto, r.Authority, r.Close = l7.HTTP10, authority, closes })
	}
	return []goodRequest{
		{"plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", get(unchanged)},
		{"load generator", smallHead, get(func(r *l7.Request) {
			r.Target, r.Path, r.Query, r.HasQuery = "/api/v1/items?page=2", "/api/v1/items", "page=2", true
			r.Authority = "127.0.0.1:8000"
		})},
		{"any token is a method", "!#$%&'*+-.^_`|~aZ0 / HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) { r.Method = "!#$%&'*+-.^_`|~aZ0" })},
		{"longest method", strings.Repeat("M", 32) + " / HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) { r.Method = strings.Repeat("M", 32) })},
		{"method keeps its case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) { r.Method = "get" })},

		{"empty query", atTarget("/x?"), query("/x?", "/x", "")},
		{"query with question mark", atTarget("/x?a?b=/%zz"), query("/x?a?b=/%zz", "/x", "a?b=/%zz")},
		{"bytes of a path", atTarget("/-._~!$&'()*+,;=:@[]^|\"<>`{}"), target("/-._~!$&'()*+,;=:@[]^|\"<>`{}", "/-._~!$&'()*+,;=:@[]^|\"<>`{}")},
		{"bytes of a query", atTarget("/?\\^|\"<>`{}[]"), query("/?\\^|\"<>`{}[]", "/", "\\^|\"<>`{}[]")},
		{"escapes", atTarget("/%41%2f%00%fF"), target("/%41%2f%00%fF", "/%41%2f%00%fF")},
		{"two slashes", atTarget("//b/../c"), target("//b/../c", "//b/../c")},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) { r.Method, r.Target, r.Path = "OPTIONS", "*", "*" })},

		{"absolute", atTarget("http://a/b"), absolute("http://a/b", "a", "/b")},
		{"absolute without path", atTarget("http://a"), absolute("http://a", "a", "/")},
		{"absolute with query only", atTarget("http://a?q"), get(func(r *l7.Request) {
			r.Target, r.Query, r.HasQuery = "http://a?q", "q", true
		})},
		{"absolute with default port", atTarget("http://a:80/"), absolute("http://a:80/", "a:80", "/")},
		{"absolute https with default port", atTarget("https://a:443/"), absolute("https://a:443/", "a:443", "/")},
		{"absolute in capitals", atTarget("HTTP://A/"), absolute("HTTP://A/", "A", "/")},
		{"absolute, ports as numbers", "GET http://a:0080/ HTTP/1.1\r\nHost: a:80\r\n\r\n", absolute("http://a:0080/", "a:0080", "/")},
		{"absolute, address", "GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", absolute("http://[::1]:80/", "[::1]:80", "/")},
		{"absolute 1.0 without Host", "GET http://a/ HTTP/1.0\r\n\r\n", get(func(r *l7.Request) {
			r.Target, r.Proto, r.Close = "http://a/", l7.HTTP10, true
		})},
		{"absolute OPTIONS means asterisk", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) {
			r.Method, r.Target, r.Path = "OPTIONS", "http://a", "*"
		})},
		{"absolute OPTIONS with path", "OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", get(func(r *l7.Request) {
			r.Method, r.Target, r.Path = "OPTIONS", "http://a/", "/"
		})},

		{"host with port", atHost("a.example:8080"), host("a.example:8080")},
		{"host with underscore and sub-delims", atHost("a_b~!$&'()*+,;=c"), host("a_b~!$&'()*+,;=c")},
		{"host is an address", atHost("[2001:db8::1]:65535"), host("[2001:db8::1]:65535")},
		{"host is a mapped address", atHost("[::ffff:192.0.2.1]"), host("[::ffff:192.0.2.1]")},
		{"host with white space around", atHost(" \t a \t "), host("a")},
		{"no space behind the colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n", get(unchanged)},

		{"length", post("Content-Length: 10"), posted(10)},
		{"length zero", post("Content-Length: 0"), posted(0)},
		{"length with zeros", post("Content-Length: 0010"), posted(10)},
		{"greatest length", post("Content-Length: 9223372036854775807"), posted(1<<63 - 1)},
		{"chunked", post("Transfer-Encoding: chunked"), posted(-1)},
		{"chunked in capitals", post("transfer-encoding:\tCHUNKED\t"), posted(-1)},
		{"GET with content", withField("Content-Length: 3"), get(func(r *l7.Request) { r.ContentLength = 3 })},

		{"close", withField("Connection: close"), closing},
		{"close in a list", withField("Connection: foo , ,\tCLOSE,"), closing},
		{"close in a second field", withField("Connection: keep-alive", "Connection: close"), closing},
		{"empty connection", withField("Connection:"), get(unchanged)},
		{"proxy-connection does nothing", withField("Proxy-Connection: close"), get(unchanged)},
		{"1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", http10("a", true)},
		{"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", http10("", true)},
		{"1.0 keep-alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", http10("a", false)},
		{"1.0 ignores Expect, TE and Upgrade", "GET / HTTP/1.0\r\nHost: a\r\nExpect: x\r\nTE: trailers\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", http10("a", true)},

		{"expect", post("Content-Length: 1", "Expect: 100-Continue"), get(func(r *l7.Request) {
			r.Method, r.ContentLength, r.Expect100 = "POST", 1, true
		})},
		{"expect without content", withField("Expect: 100-continue"), get(unchanged)},
		{"TE", withField("TE: gzip;q=0.5, Trailers"), get(func(r *l7.Request) { r.TETrailers = true })},
		{"TE without trailers", withField("TE: xtrailers"), get(unchanged)},

		{"upgrade", withField("Connection: keep-alive, Upgrade", "Upgrade: WebSocket"), upgrade("WebSocket")},
		{"upgrade with version", withField("Connection: upgrade", "Upgrade: foo/2"), upgrade("foo/2")},
		{"upgrade not nominated", withField("Upgrade: websocket"), get(unchanged)},
		{"upgrade of nothing", withField("Connection: upgrade"), get(unchanged)},
		{"upgrade to a list", withField("Connection: upgrade", "Upgrade: websocket, foo"), get(unchanged)},
		{"upgrade twice", withField("Connection: upgrade", "Upgrade: websocket", "Upgrade: foo"), get(unchanged)},
		{"upgrade to h2c", withField("Connection: Upgrade, HTTP2-Settings", "Upgrade: H2C", "HTTP2-Settings: AAMAAABk"), get(unchanged)},

		{"empty value", withField("X:"), get(unchanged)},
		{"bytes of a value", withField("X: \x80\xff\t \"{}\\"), get(unchanged)},
		{"any token is a name", withField("!#$%&'*+-.^_`|~aZ0: 1"), get(unchanged)},
		{"names that look alike", withField("Content_Length: 1", "Transfer_Encoding: chunked", "XContent-Length: 3"), get(unchanged)},
	}
}

func TestParseRequest(t *testing.T) {
	for _, tt := range goodRequests() {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.HeadSize = len(tt.head)
			r, rest, f := readRequest(t, []string{tt.head + "next"}, &wideLimits)
			if f != faultNone || r == nil {
				t.Fatalf("refused or incomplete: %v", f)
			}
			if rest != "next" {
				t.Errorf("what follows the head is %q", rest)
			}
			if diff := cmp.Diff(tt.want, plainRequest(r), requestCmp); diff != "" {
				t.Errorf("request differs (-want +got):\n%s", diff)
			}
			splits("\r\n\r\n"+tt.head+"x", func(pieces []string) {
				s, rest, f := readRequest(t, pieces, &wideLimits)
				if f != faultNone || s == nil || rest != "x" {
					t.Fatalf("split as %q: fault %v, rest %q", pieces, f, rest)
				}
				if diff := cmp.Diff(r, s, requestCmp); diff != "" {
					t.Fatalf("split as %q differs:\n%s", pieces, diff)
				}
			})
		})
	}
}

func TestParseRequestFields(t *testing.T) {
	head := "GET / HTTP/1.1\r\nhost: a\r\nX-Two:one\r\nX-Two: \t two words \t\r\nEmpty: \r\nSnowman: \xe2\x98\x83\r\n\r\n"
	var r l7.Request
	if err := ParseRequest(head, &wideLimits, &r); err != nil {
		t.Fatal(err)
	}
	want := []l7.Field{
		{Name: "host", Value: "a", ID: l7.FieldHost},
		{Name: "X-Two", Value: "one"},
		{Name: "X-Two", Value: "two words"},
		{Name: "Empty"},
		{Name: "Snowman", Value: "\xe2\x98\x83"},
	}
	if diff := cmp.Diff(want, r.Header.Fields()); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
}

func TestParseRequestReuses(t *testing.T) {
	r := l7.Request{Query: "old", HasQuery: true, Close: true, Expect100: true, TETrailers: true, Upgrade: "old", ContentLength: 9}
	r.Header.Add("Old", "1")
	if err := ParseRequest(atTarget("/"), &wideLimits, &r); err != nil {
		t.Fatal(err)
	}
	want := get(func(r *l7.Request) { r.HeadSize = len(atTarget("/")) })
	if diff := cmp.Diff(want, plainRequest(&r), requestCmp); diff != "" {
		t.Errorf("request differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Host: a"}, fieldsOf(&r.Header)); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
}
