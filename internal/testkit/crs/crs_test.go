package crs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const aFile = `---
meta:
  author: "somebody"
rule_id: 920100
tests:
  - test_id: 4
    desc: whatever
    stages:
      - input:
          dest_addr: "127.0.0.1"
          port: 80
          method: POST
          headers:
            X-Two: b
            Content-Length: 7
          uri: "/a?b"
          version: ""
          data: 'x={{ "12" | repeat 3 }}'
        output:
          status: 200
          retry_once: true
          log:
            no_expect_ids: [920100]
            match_regex: 'found \(in\)'
      - input:
          dest_addr: "127.0.0.1"
          autocomplete_headers: false
          encoded_request: "R0VUIC8="
        output:
          expect_error: true
          log:
            expect_ids: [1, 2]
`

func TestLoad(t *testing.T) {
	tests, err := Load(fstest.MapFS{
		"A/920100.yaml": {Data: []byte(aFile)},
		"A/920539.yaml": {Data: []byte("# No test.\n# ---\n")},
		"A/notes.txt":   {Data: []byte("no suite")},
	})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := []Test{{ID: "920100-4", Stages: []Stage{
		{
			Input: Input{
				Method: "POST", URI: "/a?b", Version: "", Data: "x=121212", Complete: true,
				Fields: []Field{{"X-Two", "b"}, {"Content-Length", "7"}},
			},
			Output: Output{Status: 200, NoIDs: []int{920100}, Match: regexp.MustCompile(`found \(in\)`)},
		},
		{
			Input:  Input{Method: "GET", URI: "/", Version: "HTTP/1.1", Raw: []byte("GET /")},
			Output: Output{NoResponse: &yes, IDs: []int{1, 2}},
		},
	}}}
	patterns := cmp.Comparer(func(a, b *regexp.Regexp) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
	if diff := cmp.Diff(want, tests, patterns); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"an input it does not know":  {"autocomplete_headers: false", "stop_magic: true", "stop_magic"},
		"an output it does not know": {"expect_error: true", "expect_panic: true", "expect_panic"},
		"a pattern that is none":     {`'found \(in\)'`, `'found (in'`, "pattern"},
		"a template that is none":    {"repeat 3", "env", "template"},
		"Base64 that is none":        {"R0VUIC8=", "R0VU*", "encoded_request"},
		"two contents":               {"autocomplete_headers: false", "data: x", "data and encoded_request"},
		"isolated with two ids":      {"expect_error: true", "isolated: true", "isolated"},
		"a test without stages":      {"  - test_id: 4", "  - test_id: 3\n  - test_id: 4", "no stage"},
		"two documents":              {"            expect_ids: [1, 2]\n", "            expect_ids: [1, 2]\n---\nrule_id: 2\n", "document"},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(aFile, c.from, c.to, 1)
			if src == aFile {
				t.Fatalf("the file has no %q", c.from)
			}
			_, err := Load(fstest.MapFS{"x.yaml": {Data: []byte(src)}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.yaml") {
				t.Errorf("the error is %v, without %q or the file", err, c.want)
			}
		})
	}
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Input
		want string
	}{
		{
			"a request without content",
			Input{Method: "GET", URI: "/", Version: "HTTP/1.1", Fields: []Field{{"Host", "x"}}, Complete: true},
			"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		},
		{
			"nothing is added",
			Input{Method: "POST", URI: "/", Version: "HTTP/1.1", Fields: []Field{{"Host", "x"}}, Data: "a=b c"},
			"POST / HTTP/1.1\r\nHost: x\r\n\r\na=b c",
		},
		{
			"a form in clear is encoded",
			Input{Method: "POST", URI: "/", Version: "HTTP/1.1", Data: "a=b c=d&e&f=ü", Complete: true},
			"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 20\r\n\r\na=b+c%3Dd&e&f=%C3%BC",
		},
		{
			"one that is encoded is left",
			Input{Method: "GET", URI: "/", Version: "HTTP/1.1", Data: "a=b+c'", Complete: true},
			"GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 6\r\n\r\na=b+c'",
		},
		{
			"one that cannot be decoded is left",
			Input{Method: "GET", URI: "/", Version: "HTTP/1.1", Data: "a=%zz b", Complete: true},
			"GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 7\r\n\r\na=%zz b",
		},
		{
			"what is there stays, what is empty does not count",
			Input{
				Method: "DELETE", URI: "/", Version: "HTTP/1.1", Complete: true,
				Fields: []Field{{"connection", "keep-alive"}, {"content-length", ""}, {"A", ""}},
			},
			"DELETE / HTTP/1.1\r\nconnection: keep-alive\r\nA: \r\nContent-Length: 0\r\n\r\n",
		},
		{
			"lines of multipart content",
			Input{
				Method: "POST", URI: "/", Version: "HTTP/1.1", Complete: true, Data: "--b\nA: b\n",
				Fields: []Field{{"Content-Type", "multipart/form-data; boundary=b"}, {"Connection", "close"}},
			},
			"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nConnection: close\r\nContent-Length: 11\r\n\r\n--b\r\nA: b\r\n",
		},
		{
			"as it is",
			Input{Method: "GET", Raw: []byte("\x00"), Complete: true, Data: "x"},
			"\x00",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(c.in.Bytes())
			want := c.want
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if again := string(c.in.Bytes()); again != got {
				t.Errorf("the second time it is %q", again)
			}
		})
	}
}

func TestWhole(t *testing.T) {
	for request, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                          true,
		"GET / HTTP/1.1\r\nHost: x\r\n":                                              false,
		"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab":                             false,
		"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc":                            true,
		"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n":                               true,
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n":          false,
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n": true,
	} {
		if got := whole([]byte(request)); got != want {
			t.Errorf("whole(%q) = %t", request, got)
		}
	}
}

func TestReflector(t *testing.T) {
	type answer struct {
		Status            int
		Type, Other, Body string
	}
	for name, c := range map[string]struct {
		method, path, content string
		want                  answer
	}{
		"anything":          {"GET", "/get?x", "", answer{200, "", "", ""}},
		"reflect by GET":    {"GET", "/reflect", `{"status":404}`, answer{200, "", "", ""}},
		"status and fields": {"POST", "/reflect", `{"status":404,"headers":{"X-Other":"1","Content-Type":"text/plain"},"body":"no"}`, answer{404, "text/plain", "1", "no"}},
		"encoded content":   {"POST", "/reflect/below", `{"encodedBody":"PGh0bWw+","logMessage":"hello"}`, answer{200, "text/html; charset=utf-8", "", "<html>"}},
		"no JSON":           {"POST", "/reflect", `{`, answer{400, "text/plain; charset=utf-8", "", "this cannot be reflected\n"}},
		"no Base64":         {"POST", "/reflect", `{"encodedBody":"*"}`, answer{400, "text/plain; charset=utf-8", "", "this cannot be reflected\n"}},
		"no status":         {"POST", "/reflect", `{"status":600}`, answer{400, "text/plain; charset=utf-8", "", "this cannot be reflected\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Reflector(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.content)))
			resp := w.Result()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := answer{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("X-Other"), string(body)}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadLines(t *testing.T) {
	got := ReadLines("start\n[client 127.1.0.1] one [id \"1\"] [id \"1\"]\n[client \"::1\"] two\n[client 127.1.0.1] x [id \"12\"]\n[client 1.2] no\n")
	want := Lines{
		netip.MustParseAddr("127.1.0.1"): {`[client 127.1.0.1] one [id "1"] [id "1"]`, `[client 127.1.0.1] x [id "12"]`},
		netip.MustParseAddr("::1"):       {`[client "::1"] two`},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 12}, IDs(got[netip.MustParseAddr("127.1.0.1")])); diff != "" {
		t.Errorf("ids (-want +got)\n%s", diff)
	}
}

func TestJudge(t *testing.T) {
	yes, no := true, false
	lines := []string{`one [id "100"] found within ARGS:x`, `two [id "200"]`}
	ok := Sent{Status: 403, Response: []byte("HTTP/1.1 403\r\n\r\ndenied")}
	broken := Sent{Err: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		name string
		sent Sent
		out  Output
		want string // In the fault; "": none.
	}{
		{"nothing asked for", ok, Output{}, ""},
		{"no response", broken, Output{}, "unexpected EOF"},
		{"a response, as wanted", ok, Output{NoResponse: &no}, ""},
		{"no response, as wanted", broken, Output{NoResponse: &yes, IDs: []int{1}}, ""},
		{"a response, not wanted", ok, Output{NoResponse: &yes}, "answered 403"},
		{"the status", ok, Output{Status: 403}, ""},
		{"another status", ok, Output{Status: 200}, "403, not 200"},
		{"the content", ok, Output{ResponseContains: regexp.MustCompile("den.ed$")}, ""},
		{"other content", ok, Output{ResponseContains: regexp.MustCompile("^denied")}, "nothing like"},
		{"both rules", ok, Output{IDs: []int{200, 100}, NoIDs: []int{10, 300}}, ""},
		{"a rule that is missing", ok, Output{IDs: []int{100, 300}}, "300 is not"},
		{"a rule too many", ok, Output{NoIDs: []int{300, 200}}, "200 is in"},
		{"not alone", ok, Output{IDs: []int{100}, Isolated: true}, "[100 200]"},
		{"a line", ok, Output{Match: regexp.MustCompile(`100.*ARGS:x$`)}, ""},
		{"no such line", ok, Output{Match: regexp.MustCompile(`100.*200`)}, "no line"},
		{"a line that must not be", ok, Output{NoMatch: regexp.MustCompile(`^two`)}, "a line"},
		{"no such line, as wanted", ok, Output{NoMatch: regexp.MustCompile(`three`)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sent.Stage = &Stage{Output: c.out}
			err := c.sent.Judge(lines)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("the fault is %v, wanted %q", err, c.want)
			}
		})
	}
}

// TestRun lets a server tell what it got of whom.
func TestRun(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(499)
			return
		}
		_, _ = io.WriteString(w, r.RemoteAddr[:strings.LastIndex(r.RemoteAddr, ":")]+" "+r.Method+" "+r.URL.Path+" "+string(body))
	}))
	defer srv.Close()
	stage := func(raw string) Stage { return Stage{Input: Input{Raw: []byte(raw)}} }
	tests := []Test{
		{ID: "1-1", Stages: []Stage{stage("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), stage("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")}},
		{ID: "1-2", Stages: []Stage{stage("POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhi")}},
		{ID: "1-3", Stages: []Stage{stage("nonsense")}},
	}
	r := Runner{Address: srv.Listener.Addr().String(), Workers: 2}
	type seen struct {
		Test   string
		Number int
		Status int
		Body   string
	}
	var got []seen
	for _, s := range r.Run(t.Context(), tests) {
		_, body, _ := strings.Cut(string(s.Response), "\r\n\r\n")
		got = append(got, seen{s.Test, s.Number, s.Status, strings.ReplaceAll(body, s.Client.String(), "<client>")})
	}
	want := []seen{
		{"1-1", 0, 200, "<client> GET /a "},
		{"1-1", 1, 200, "<client> POST /b hi"},
		{"1-2", 0, 499, ""},
		{"1-3", 0, 400, "400 Bad Request"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestClients(t *testing.T) {
	seen := make(map[netip.Addr]bool)
	for n := range 5000 {
		seen[client(n)] = true
	}
	if len(seen) != 5000 || !seen[netip.MustParseAddr("127.1.0.1")] || !seen[netip.MustParseAddr("127.1.19.136")] {
		t.Errorf("5000 stages come from %d addresses", len(seen))
	}
}
