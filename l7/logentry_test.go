package l7

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// entry is the log entry of an exchange that was served, decoded.
func entry(t *testing.T, x *Exchange) map[string]any {
	t.Helper()
	text := x.AppendLogEntry(nil)
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

// at walks to a value by keys and indices.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestLogEntry(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: onReq(func(x *Exchange) Verdict {
		x.SetConsumer(&config.Consumer{Username: "alice"})
		x.AddLogValue("correlation_id", "c-1")
		return Next
	})}))
	x, _ := request(t, "POST", "/shop/a%20b?x=1&x=2&flag&n=a%2Bb+c&=none", "X-One: 1", "x-one: 2", "Authorization: Basic c2VjcmV0", "Proxy-Authorization: secret")
	x.Req.ContentLength = 23
	x.Conn.TLS = &l4.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	f.Serve(x)
	x.AddTry(netip.MustParseAddrPort("[2001:db8::5]:81"), x.started).Err = &Error{Status: 502, Reason: ReasonUpstreamConnect}
	x.AddTry(netip.MustParseAddrPort("192.0.2.81:80"), x.started).Cancelled = true
	x.AddTry(netip.MustParseAddrPort("192.0.2.82:80"), x.started).Hedge = true
	m := entry(t, x)

	for _, tt := range []struct {
		path []any
		want any
	}{
		{[]any{"request", "id"}, x.ID},
		{[]any{"request", "method"}, "POST"},
		{[]any{"request", "uri"}, "/shop/a%20b?x=1&x=2&flag&n=a%2Bb+c&=none"},
		{[]any{"request", "url"}, "https://shop.test:8000/shop/a%20b?x=1&x=2&flag&n=a%2Bb+c&=none"},
		{[]any{"request", "querystring"}, map[string]any{"x": "1", "flag": true, "n": "a+b c"}},
		{[]any{"request", "headers", "host"}, "Shop.Test:8000"},
		{[]any{"request", "headers", "x-one"}, []any{"1", "2"}},
		{[]any{"request", "headers", "authorization"}, "REDACTED"},
		{[]any{"request", "headers", "proxy-authorization"}, "REDACTED"},
		{[]any{"request", "size"}, 123.0},
		{[]any{"request", "tls"}, map[string]any{"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "client_verify": "NONE"}},
		{[]any{"response", "status"}, 200.0},
		{[]any{"response", "size"}, 2.0},
		{[]any{"response", "headers", "content-type"}, "text/plain"},
		{[]any{"upstream_uri"}, "/a%20b?x=1&x=2&flag&n=a%2Bb+c&=none"},
		{[]any{"upstream_status"}, "200, 502, -, -"},
		{[]any{"tries", 0, "ip"}, "192.0.2.80"},
		{[]any{"tries", 0, "port"}, 80.0},
		{[]any{"tries", 1, "ip"}, "2001:db8::5"},
		{[]any{"tries", 1, "state"}, "failed"},
		{[]any{"tries", 1, "code"}, 502.0},
		{[]any{"tries", 1, "reason"}, "upstream_connect"},
		{[]any{"tries", 1, "hedge"}, nil},
		{[]any{"tries", 2, "state"}, "cancelled"},
		{[]any{"tries", 2, "hedge"}, nil},
		{[]any{"tries", 3, "state"}, nil},
		{[]any{"tries", 3, "hedge"}, true},
		{[]any{"route", "name"}, "shop"},
		{[]any{"service", "name"}, "shop"},
		{[]any{"consumer", "username"}, "alice"},
		{[]any{"consumer", "custom_id"}, nil},
		{[]any{"client_ip"}, "192.0.2.7"},
		{[]any{"source"}, "upstream"},
		{[]any{"workspace_name"}, "default"},
		{[]any{"correlation_id"}, "c-1"},
		{[]any{"reason"}, nil},
	} {
		if diff := cmp.Diff(tt.want, at(m, tt.path...)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.path, diff)
		}
	}
	for _, name := range []string{"request", "kong", "proxy", "receive"} {
		if ms, ok := at(m, "latencies", name).(float64); !ok || ms < 0 || ms > 60_000 {
			t.Errorf("latencies.%s is %v", name, at(m, "latencies", name))
		}
	}
	for _, name := range []string{"balancer_start", "balancer_start_ns", "balancer_latency", "balancer_latency_ns"} {
		if _, ok := at(m, "tries", 0, name).(float64); !ok {
			t.Errorf("tries[0].%s is missing", name)
		}
	}
	if ms, _ := m["started_at"].(float64); time.Since(time.UnixMilli(int64(ms))).Abs() > time.Minute {
		t.Errorf("started_at %v", m["started_at"])
	}
}

// TestLogQueryNamesOnce writes the name of an argument in several ways: the entry
// must not have it twice, since readers differ about which one counts.
func TestLogQueryNamesOnce(t *testing.T) {
	for query, want := range map[string]string{
		"a=1&%61=2":          `{"a":"1"}`,
		"%61=1&a=2&b":        `{"a":"1","b":true}`,
		"a+b=1&a%20b=2":      `{"a b":"1"}`,
		"%ff=1&%fe=2&%fe%ff": "{\"\ufffd\":\"1\",\"\ufffd\ufffd\":true}",
		"%41=1&a=2":          `{"A":"1","a":"2"}`,
		"a%=1&a%25=2&a%2=3":  `{"a%":"1","a%2":"3"}`,
	} {
		if got := string(appendLogQuery(nil, query)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestLogEntryOfOurOwnAnswer(t *testing.T) {
	f := newFixture(t, nil)
	x, _ := request(t, "GET", "/elsewhere")
	f.Serve(x)
	m := entry(t, x)
	for key, want := range map[string]any{
		"source": "kong", "reason": "no_route", "upstream_status": "", "upstream_uri": "", "tries": []any{}, "route": nil, "service": nil, "consumer": nil,
	} {
		if diff := cmp.Diff(want, m[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if at(m, "latencies", "proxy") != -1.0 || at(m, "request", "tls") != nil {
		t.Errorf("latencies %v, tls %v", m["latencies"], at(m, "request", "tls"))
	}
}

// TestLogEntryHostile shows that nothing a client or an upstream sends breaks an
// entry, or makes two of it.
func TestLogEntryHostile(t *testing.T) {
	every := make([]byte, 0, 256)
	for c := range 256 {
		if c != '&' && c != '=' && c != '%' && c != '+' {
			every = append(every, byte(c))
		}
	}
	hostile := string(every) + "\"}\n{\"request\":\"forged\"}\u2028\xed\xa0\x80"
	f := newFixture(t, nil)
	x, _ := request(t, hostile, "/shop"+hostile+"?"+hostile+"="+hostile)
	x.Req.Authority = hostile
	x.Req.Header.AddField(Field{Name: "X-" + hostile, Value: hostile})
	f.upstream.forward = func(x *Exchange) error {
		x.Resp.Status, x.Proxied = 200, true
		x.Resp.Header.AddField(Field{Name: hostile, Value: hostile})
		x.AddLogValue(hostile, hostile)
		_, err := x.SendHead()
		return err
	}
	f.Serve(x)
	x.Upstream.Path, x.Upstream.Query, x.Upstream.HasQuery = hostile, hostile, true
	line := x.AppendLogEntry(nil)
	if !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsAny(line, "\n\r\x00\x7f") {
		t.Fatalf("not one line of JSON: %q", line)
	}
	got, _ := at(entry(t, x), "request", "method").(string)
	var want string
	if text, err := json.Marshal(hostile); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the method is told as %q, want %q", got, want)
	}
}

func TestAppendLogQuery(t *testing.T) {
	many := make([]string, 2*maxLogArgs)
	for i := range many {
		many[i] = fmt.Sprintf("a%d=%d", i, i)
	}
	for query, want := range map[string]string{
		"":                       `{}`,
		"&&":                     `{}`,
		"a":                      `{"a":true}`,
		"a=":                     `{"a":""}`,
		"a=1&b=2&a=3":            `{"a":"1","b":"2"}`,
		"a=b=c":                  `{"a":"b=c"}`,
		"%61=%zz&b=%4&c=%&d=%41": `{"a":"%zz","b":"%4","c":"%","d":"A"}`,
		"a+b=c+d":                `{"a b":"c d"}`,
	} {
		if got := string(appendLogQuery(nil, query)); got != want {
			t.Errorf("%q is told as %s, want %s", query, got, want)
		}
	}
	var m map[string]string
	if err := json.Unmarshal(appendLogQuery(nil, strings.Join(many, "&")), &m); err != nil || len(m) != maxLogArgs {
		t.Errorf("%d arguments told, %v, want %d", len(m), err, maxLogArgs)
	}
}

// TestLogLine shows that several logs share one text, until something is added
// to it.
func TestLogLine(t *testing.T) {
	f := newFixture(t, nil)
	x, _ := request(t, "GET", "/shop")
	f.Serve(x)
	first := x.LogLine()
	if diff := cmp.Diff(string(x.AppendLogEntry(nil))+"\n", string(first)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := x.LogLine(); &again[0] != &first[0] {
		t.Error("the line was made twice")
	}
	x.AddLogValue("late", "1")
	if line := x.LogLine(); !bytes.HasSuffix(line, []byte(`,"late":"1"}`+"\n")) {
		t.Errorf("a value is not told: %s", line)
	}
	x.Resp.Header.AddField(Field{Name: "X-Long", Value: strings.Repeat("x", maxLogLine)})
	x.AddLogValue("later", "1")
	if line := x.LogLine(); line != nil {
		t.Errorf("a line of %d bytes", len(line))
	}
}

// TestLogLineTooLong shows that a line beyond the bound is counted as lost.
func TestLogLineTooLong(t *testing.T) {
	f := newFixture(t, nil)
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := telemetry.OpenLineLog(path, &f.Metrics.AccessLog, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.AccessLog = log
	x, _ := request(t, "GET", "/shop", "X-Long: "+strings.Repeat("\x01", maxLogLine/6))
	f.Serve(x)
	x, _ = request(t, "GET", "/shop", "X-Short: 1")
	f.Serve(x)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := log.Close(ctx); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 1 || !json.Valid(text) {
		t.Errorf("%d lines written, want the short one", n)
	}
	if d, n := f.Metrics.AccessLog.Dropped.Load(), f.Metrics.AccessLog.Lines.Load(); d != 1 || n != 1 {
		t.Errorf("%d lines counted as lost and %d as taken, want 1 and 1", d, n)
	}
}

func TestLogEntryIsCheap(t *testing.T) {
	f := newFixture(t, nil)
	x, _ := request(t, "GET", "/shop?a=1", "User-Agent: test", "Accept: */*")
	f.Serve(x)
	b := make([]byte, 0, 16<<10)
	// A host in upper case and decoded arguments are strings of their own.
	if n := testing.AllocsPerRun(100, func() { b = x.AppendLogEntry(b[:0]) }); n > 1 {
		t.Errorf("%v allocations per entry", n)
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c", "\x00\x1f\x7f", "gr\xfc\xdfe", "\u2028\ufffd", "\xed\xa0\x80", "\xf0\x9f\x98"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := appendJSON([]byte("x"), s)
		if diff := cmp.Diff(string(refJSON([]byte("x"), s)), string(text)); diff != "" {
			t.Fatalf("the text is another (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(string(refLowerJSON(nil, s)), string(appendLowerJSON(nil, s))); diff != "" {
			t.Fatalf("the text in lower case is another (-want +got):\n%s", diff)
		}
		if text[0] != 'x' {
			t.Fatal("what was there is gone")
		}
		var got, want string
		if err := json.Unmarshal(text[1:], &got); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		marshalled, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(marshalled, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%q is told as %q, encoding/json tells %q", s, got, want)
		}
		if bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("a control byte in %q", text)
		}
	})
}

func FuzzLogEntry(f *testing.F) {
	f.Add("GET", "/shop?a=1", "shop.test", "X-One", "1")
	f.Add("G\"T", "/?%", "", "", "\xff\n")
	f.Fuzz(func(t *testing.T, method, target, authority, name, value string) {
		x, _ := request(t, method, target, name+": "+value)
		x.Req.Authority = authority
		x.Resp.Header.AddField(Field{Name: name, Value: value, ID: LookupField(name)})
		x.AddLogValue("v", value)
		line := x.AppendLogEntry(nil)
		if !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsRune(line, '\n') {
			t.Fatalf("not one line of JSON: %q", line)
		}
		if want := refLogEntry(x, nil); !bytes.Equal(want, line) {
			t.Fatalf("the entry is another (-want +got):\n%s", cmp.Diff(string(want), string(line)))
		}
	})
}
