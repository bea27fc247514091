package waf_test

import (
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
	"github.com/bulwark-edge/bulwark/waf"
)

// fields are those of a head, names and values in turn.
type fields []string

func (f fields) Len() int                      { return len(f) / 2 }
func (f fields) At(i int) (name, value string) { return f[2*i], f[2*i+1] }

// connection is that of every test's exchange.
var connection = waf.Connection{
	RequestID: "5f1d7a84db00d2fce00b31a7fc73224f",
	Client:    netip.MustParseAddrPort("192.0.2.7:41000"), Server: netip.MustParseAddrPort("198.51.100.1:443"),
	ServerName: "shop.test",
}

// engines are shared by the tests: compiling the Core Rule Set takes its time.
var engines waf.Engines

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "waf-test")
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	if err := waf.KeepCoraza(dir); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := engines.Close(); err != nil {
		panic(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// crs is the engine with all built-in rules.
var crs = sync.OnceValues(func() (*waf.Engine, error) {
	w, err := rules.WAF("")
	if err != nil {
		return nil, err
	}
	r, err := waf.NewRules(w.FS, w.Directives)
	if err != nil {
		return nil, err
	}
	return engines.Open(r)
})

// coreRules returns the engine with all built-in rules.
func coreRules(t testing.TB) *waf.Engine {
	t.Helper()
	e, err := crs()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// profile compiles settings for an engine.
func profile(t testing.TB, e *waf.Engine, s waf.Settings) *waf.Profile {
	t.Helper()
	p, err := e.Profile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// message is a request or response of a test.
type message struct {
	method, target string
	status         int
	fields         fields
	body           string
}

// browser are fields that an ordinary client sends.
func browser(more ...string) fields {
	return append(fields{
		"Host", "shop.test", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept", "text/html,application/xhtml+xml", "Accept-Language", "de,en;q=0.7",
	}, more...)
}

func get(target string, more ...string) message {
	return message{method: "GET", target: target, fields: browser(more...)}
}

func post(target, contentType, body string, more ...string) message {
	f := browser(append([]string{"Content-Type", contentType, "Content-Length", itoa(len(body))}, more...)...)
	return message{method: "POST", target: target, fields: f, body: body}
}

// inspect runs a request, and then an empty response or the one given, through
// an inspection.
func inspect(p *waf.Profile, req message, resp ...message) (waf.Verdict, *waf.Event) {
	i := p.Begin(connection)
	v := i.RequestHead(&waf.RequestHead{Method: req.method, Target: req.target, Proto: "HTTP/1.1", Fields: req.fields})
	if v.Action == waf.Pass {
		var body []byte
		if req.body != "" && i.RequestBodyWanted() {
			body = []byte(req.body)
		}
		v = i.RequestBody(body, true)
	}
	if v.Action == waf.Pass {
		r := message{status: 204}
		if len(resp) > 0 {
			r = resp[0]
		}
		v = i.ResponseHead(&waf.ResponseHead{Status: r.status, Proto: "HTTP/1.1", Fields: r.fields})
		if v.Action == waf.Pass {
			var body []byte
			if i.ResponseBodyWanted() {
				body = []byte(r.body)
			}
			v = i.ResponseBody(body, true)
		}
	}
	return v, i.End()
}

func itoa(n int) string {
	var b [20]byte
	k := len(b)
	for {
		k--
		b[k] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[k:])
		}
	}
}

func TestInspectionBlocksAndPasses(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	for _, tt := range []struct {
		name string
		req  message
		want waf.Action
	}{
		{"page", get("/?q=shoes"), waf.Pass},
		{"form", post("/login", "application/x-www-form-urlencoded", "user=anna&word=hello+world"), waf.Pass},
		{"json", post("/api", "application/json", `{"name":"Anna","tags":["a","b"]}`), waf.Pass},
		{"sqli in the query", get("/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20-"), waf.Deny},
		{"sqli in a form", post("/", "application/x-www-form-urlencoded", "id=1'+UNION+SELECT+password+FROM+users--+-"), waf.Deny},
		{"sqli in json", post("/", "application/json; charset=utf-8", `{"id":"1' UNION SELECT password FROM users-- -"}`), waf.Deny},
		{"xss", get("/?q=<script>alert(1)</script>"), waf.Deny},
		{"lfi", get("/?file=../../../../etc/passwd"), waf.Deny},
		{"rce", get("/?host=127.0.0.1;cat%20/etc/passwd"), waf.Deny},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := inspect(p, tt.req)
			if v.Action != tt.want || v.Err != nil {
				t.Errorf("the verdict is %+v, want action %d", v, tt.want)
			}
			if v.Action == waf.Deny && (v.Status != 403 || v.Rule != 949110) {
				t.Errorf("denied with %d by rule %d", v.Status, v.Rule)
			}
		})
	}
}
