package waf_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// The tests here are named after what other connectors of Coraza, or Coraza
// itself, have got wrong.

// custom compiles a rule text of a test.
func custom(t *testing.T, text string) *waf.Engine {
	t.Helper()
	r, err := waf.NewRules(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engines.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestEngineVersionFloor holds Coraza to the first version without the known
// advisories. Binaries of tests do not tell the versions of modules.
func TestEngineVersionFloor(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(mod), "github.com/corazawaf/coraza/v3 ")
	version, _, _ := strings.Cut(rest, "\n")
	if !ok || version < "v3.8.1" { // two digits would need another comparison
		t.Errorf("Coraza is of %q", version)
	}
}

// TestIPv6ClientMatchesLists: a client address in brackets, or with a zone,
// would pass every list of addresses.
func TestIPv6ClientMatchesLists(t *testing.T) {
	p := profile(t, custom(t, `SecRule REMOTE_ADDR "@ipMatch 2001:db8::/32,fe80::/10,192.0.2.0/24" "id:1,phase:1,deny,status:403"
SecRule SERVER_ADDR "!@streq 2001:db8::1" "id:2,phase:1,deny,status:404"
SecRule SERVER_PORT "!@streq 443" "id:3,phase:1,deny,status:405"`), waf.Settings{Mode: waf.Block})
	for addr, want := range map[string]int{
		"[2001:db8::5]:1": 1, "[2001:db9::5]:1": 0, "[fe80::1%eth0]:1": 1, "192.0.2.9:1": 1, "[::ffff:192.0.2.9]:1": 1, "198.51.100.9:1": 0,
	} {
		i := p.Begin(waf.Connection{RequestID: "x", Client: netip.MustParseAddrPort(addr), Server: netip.MustParseAddrPort("[2001:db8::1]:443")})
		v := i.RequestHead(&waf.RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: fields{}})
		if i.End(); v.Rule != want {
			t.Errorf("%s: rule %d, want %d", addr, v.Rule, want)
		}
	}
}

// TestEveryActionHasItsVerdict: deny, drop and redirect, not only deny.
func TestEveryActionHasItsVerdict(t *testing.T) {
	p := profile(t, custom(t, `SecRule ARGS:do "@streq deny" "id:1,phase:1,deny,status:451"
SecRule ARGS:do "@streq plain" "id:2,phase:1,deny"
SecRule ARGS:do "@streq drop" "id:3,phase:1,drop"
SecRule ARGS:do "@streq go" "id:4,phase:1,status:303,redirect:https://example.test/away"
SecRule ARGS:do "@streq odd" "id:5,phase:1,deny,status:200"`), waf.Settings{Mode: waf.Block})
	for do, want := range map[string]waf.Verdict{
		"deny":  {Action: waf.Deny, Status: 451, Rule: 1},
		"plain": {Action: waf.Deny, Status: 403, Rule: 2},
		"drop":  {Action: waf.Drop, Rule: 3},
		"go":    {Action: waf.Redirect, Status: 303, Location: "https://example.test/away", Rule: 4},
		"odd":   {Action: waf.Deny, Status: 403, Rule: 5}, // no denial looks like success
		"":      {},
	} {
		if v, _ := inspect(p, get("/?do="+do)); v != want {
			t.Errorf("%q: %+v, want %+v", do, v, want)
		}
	}
}

// TestArgumentsBeyondTheLimit: what is beyond SecArgumentsLimit is not
// inspected, so it is refused, in queries, forms and JSON.
func TestArgumentsBeyondTheLimit(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	many := strings.Repeat("a=1&", 1001)
	for name, tt := range map[string]struct {
		req  message
		rule int
	}{
		"query": {get("/?" + many + "x=<script>"), 200004},
		"form":  {post("/", form, many+"x=<script>"), 200005},
		"json":  {post("/", "application/json", "["+strings.Repeat("1,", 1001)+`"<script>"]`), 200005},
	} {
		if v, _ := inspect(p, tt.req); v.Rule != tt.rule || v.Status != 400 {
			t.Errorf("%s: %+v, want rule %d", name, v, tt.rule)
		}
	}
}

// TestBodiesThatAreNotWhatTheySay: contents that cannot be parsed as their type
// says, and types that are written in other ways than the common one.
func TestBodiesThatAreNotWhatTheySay(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	attack := "id=1'+UNION+SELECT+password+FROM+users--+-"
	file := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n"
	for name, req := range map[string]message{
		"type with a charset":          post("/", form+"; charset=utf-8", attack),
		"type in capitals":             post("/", "Application/X-WWW-Form-URLencoded", attack),
		"type with a space before":     post("/", " "+form, attack),
		"json that is none":            post("/", "application/json", attack),
		"json of another charset":      post("/", "application/json; charset=utf-16", "\xff\xfe{\x00}\x00"),
		"form of another charset":      post("/", form+"; charset=ibm037", "x=1"),
		"xml that is none":             post("/", "application/xml", "<a b='1><c/>"),
		"xml of another charset":       post("/", "text/xml", `<?xml version="1.0" encoding="utf-16"?><a/>`),
		"multipart without boundary":   post("/", "multipart/form-data", file),
		"multipart of empty boundary":  post("/", "multipart/form-data; boundary=", file),
		"multipart cut short":          post("/", "multipart/form-data; boundary=b", file[:len(file)-8]),
		"part with two dispositions":   post("/", "multipart/form-data; boundary=b", strings.Replace(file, "\r\n\r\n", "\r\nContent-Disposition: form-data; name=\"g\"\r\n\r\n", 1)),
		"part with two file names":     post("/", "multipart/form-data; boundary=b", strings.Replace(file, `"a.txt"`, `"a.txt"; filename="b.php"`, 1)),
		"file name in quotes and star": post("/", "multipart/form-data; boundary=b", strings.Replace(file, `filename="a.txt"`, `filename="a.txt"; filename*="utf-8''b.php"`, 1)),
		"two types":                    post("/", form, attack, "Content-Type", "application/octet-stream"),
		"unparseable target":           get("/a\x01b"),
		"cookie with control bytes":    get("/", "Cookie", "a\v=1' UNION SELECT password FROM users-- -"),
		"keys that differ in case":     post("/", "application/json", `{"role":"x","Role":"<script>alert(1)</script>"}`),
	} {
		if v, ev := inspect(p, req); v.Action != waf.Deny {
			t.Errorf("%s: passes, %+v", name, ev)
		}
	}
	if v, ev := inspect(p, post("/", "multipart/form-data; boundary=b", file)); v.Action != waf.Pass {
		t.Errorf("an ordinary file is denied: %+v", ev)
	}
}

// TestBinaryContentIsNoForm: Coraza takes content of unknown types for a form,
// which for binary content makes arguments of what is none.
func TestBinaryContentIsNoForm(t *testing.T) {
	e := coreRules(t)
	many := strings.Repeat("a&", 1500) // as a form too many arguments
	s := waf.Settings{Mode: waf.Block, AllowedTypes: []string{"application/octet-stream", "application/x-thing"}}
	if v, ev := inspect(profile(t, e, s), post("/", "application/octet-stream", many)); v.Action != waf.Pass {
		t.Errorf("denied: %+v", ev)
	}
	if v, _ := inspect(profile(t, e, s), post("/", "application/x-thing", many)); v.Rule != 200005 {
		t.Errorf("an unknown type is no form: %+v", v)
	}
	s.Processors = map[string]waf.Processor{"application/x-thing": waf.Raw}
	if v, ev := inspect(profile(t, e, s), post("/", "application/x-thing", many)); v.Action != waf.Pass {
		t.Errorf("a type that is raw by the profile is denied: %+v", ev)
	}
	s.Processors = map[string]waf.Processor{"application/*": waf.Uninspected}
	v, ev := inspect(profile(t, e, s), post("/", "application/x-thing", many))
	if v.Action != waf.Pass || ev == nil || len(ev.Uninspected) != 1 {
		t.Errorf("a type that is not looked at: %+v, %+v; the event must tell it", v, ev)
	}
}

// TestProcessorsByType shows that the profile has the last word.
func TestProcessorsByType(t *testing.T) {
	e := coreRules(t)
	s := waf.Settings{Mode: waf.Block, AllowedTypes: []string{"text/plain", "application/json"}, Processors: map[string]waf.Processor{
		"text/plain": waf.JSON, "application/json": waf.Raw,
	}}
	p := profile(t, e, s)
	if v, _ := inspect(p, post("/", "Text/Plain; x=y", `{"a":"<script>alert(1)</script>"}`)); v.Action != waf.Deny {
		t.Error("text/plain is not parsed as JSON")
	}
	if v, _ := inspect(p, post("/", "text/plain", `a=b`)); v.Rule != 200002 {
		t.Error("text that is no JSON is not refused")
	}
	if v, ev := inspect(p, post("/", "application/json", `a=b`)); v.Action != waf.Pass {
		t.Errorf("raw content is parsed: %+v", ev)
	}
}

// TestTemporaryFilesAreRemoved: parts of multipart bodies stand in files of a
// private directory for as long as the exchange, and a directory that a
// process left behind goes with the next start.
func TestTemporaryFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	left := filepath.Join(dir, "bulwark-waf-1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", "crzmp123"} {
		if err := os.WriteFile(filepath.Join(left, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	var own, other waf.Engines
	for _, s := range []*waf.Engines{&own, &other} { // the second must leave the first's alone
		r, err := waf.NewRules(nil, "SecRuleEngine On")
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.Open(r)
		if err != nil {
			t.Fatal(err)
		}
		i := profile(t, e, waf.Settings{Mode: waf.Block}).Begin(connection)
		req := post("/", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n")
		i.RequestHead(&waf.RequestHead{Method: "POST", Target: "/", Proto: "HTTP/1.1", Fields: req.fields})
		i.RequestBody([]byte(req.body), true)
		if found := files("bulwark-waf-*/crzmp*"); len(found) != 1 {
			t.Errorf("during the exchange there are the files %q", found)
		}
		i.End()
		if found := files("bulwark-waf-*/crzmp*"); len(found) != 0 {
			t.Errorf("after it there are the files %q", found)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("a directory that nobody uses was not removed")
	}
	found := files("bulwark-waf-*")
	if len(found) != 2 {
		t.Fatalf("the directories are %q", found)
	}
	if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}
	for _, s := range []*waf.Engines{&own, &other} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if found := files("*"); len(found) != 0 {
		t.Errorf("after all %q is left", found)
	}
}

// TestRulesSeeHeadAsSent: order, case and repeated fields reach the rules.
func TestRulesSeeHeadAsSent(t *testing.T) {
	p := profile(t, custom(t, `SecRule &REQUEST_HEADERS:X-Two "@eq 2" "id:1,phase:1,deny,status:403,chain"
 SecRule REQUEST_HEADERS_NAMES "@streq X_under_Score" "chain"
 SecRule REQUEST_URI_RAW "@streq /A/%2e%2E/b?x=%zz" "chain"
 SecRule REQUEST_PROTOCOL "@streq HTTP/2" "chain"
 SecRule SERVER_NAME "@streq shop.test"`), waf.Settings{Mode: waf.Block})
	i := p.Begin(connection)
	v := i.RequestHead(&waf.RequestHead{Method: "GET", Target: "/A/%2e%2E/b?x=%zz", Proto: "HTTP/2", Fields: fields{"X-Two", "a", "X_under_Score", "b", "x-two", "c"}})
	if i.End(); v.Rule != 1 {
		t.Errorf("the verdict is %+v", v)
	}
}

// TestExpectContinuePasses: the Core Rule Set restricts the field Expect.
func TestExpectContinuePasses(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	if v, ev := inspect(p, post("/", form, "a=b", "Expect", "100-Continue")); v.Action != waf.Pass {
		t.Errorf("denied: %+v", ev)
	}
	if v, _ := inspect(p, post("/", form, "a=b", "Expect", "something")); v.Action != waf.Deny {
		t.Error("another expectation passes")
	}
}

// TestDecodedEncodingPasses: the Core Rule Set denies encoded requests, since
// nothing decodes them for it.
func TestDecodedEncodingPasses(t *testing.T) {
	e := coreRules(t)
	req := post("/", form, "a=b", "Content-Encoding", "gzip")
	if v, _ := inspect(profile(t, e, waf.Settings{Mode: waf.Block}), req); v.Action != waf.Deny {
		t.Error("an encoded request passes though nobody decodes it")
	}
	p := profile(t, e, waf.Settings{Mode: waf.Block, DecodedRequests: true})
	if v, ev := inspect(p, req); v.Action != waf.Pass {
		t.Errorf("a decoded request is denied: %+v", ev)
	}
	if v, _ := inspect(p, post("/", form, "a=b", "Content-Encoding", "lzma")); v.Action != waf.Deny {
		t.Error("a coding that cannot be decoded passes")
	}
}

// TestLoopbackIsNoExcuse: rules 905100 and 905110 would let requests from this
// host pass uninspected.
func TestLoopbackIsNoExcuse(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	local := connection
	local.Client = netip.MustParseAddrPort("127.0.0.1:1")
	i := p.Begin(local)
	v := i.RequestHead(&waf.RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: fields{
		"Host", "shop.test", "User-Agent", "x (internal dummy connection)", "Accept", "*/*", "Cookie", "a=1' UNION SELECT password FROM users-- -",
	}})
	if v.Action == waf.Pass {
		v = i.RequestBody(nil, true)
	}
	if i.End(); v.Action != waf.Deny {
		t.Errorf("the verdict is %+v", v)
	}
}
