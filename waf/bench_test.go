package waf

import (
	"net/netip"
	"strings"
	"testing"

	coraza "github.com/corazawaf/coraza/v3"

	"github.com/bulwark-edge/bulwark/rules"
)

// sample is a request that measures run with.
type sample struct {
	name   string
	head   RequestHead
	fields sampleFields
	body   []byte
}

type sampleFields [][2]string

func (f *sampleFields) Len() int                      { return len(*f) }
func (f *sampleFields) At(i int) (name, value string) { return (*f)[i][0], (*f)[i][1] }

var sampleConnection = Connection{
	RequestID: "5f1d7a84db00d2fce00b31a7fc73224f", ServerName: "shop.test",
	Client: netip.MustParseAddrPort("192.0.2.7:41000"), Server: netip.MustParseAddrPort("198.51.100.1:443"),
}

// samples are a GET, 400 bytes of JSON, a form of 250 bytes and 16 KB of JSON.
func samples() []*sample {
	browser := sampleFields{
		{"Host", "shop.test"},
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		{"Accept", "text/html,application/xhtml+xml"},
		{"Accept-Language", "de,en;q=0.7"},
		{"Cookie", "theme=dark; lang=de"},
	}
	item := `{"sku":"A-1042","name":"walking shoes","count":2,"price":"79.90","note":"a shoe for every day, made of leather that has been tanned with oak bark, with a sole that can be changed","size":42}`
	doc := func(size int) string {
		return `{"order":[` + strings.Repeat(item+",", size/(len(item)+1)) + item + `]}`
	}
	form := "name=Anna+Schmidt&street=Hauptstrasse+12&city=Koeln&zip=50667&country=DE&phone=0221555123&comment=please+ring+twice&newsletter=yes&terms=accepted&payment=invoice&delivery=standard&gift=no&coupon=&source=catalogue&age=34&language=de&size=42&color=brown"
	with := func(name, method, target, contentType, body string) *sample {
		s := &sample{name: name, body: []byte(body), fields: append(sampleFields{}, browser...)}
		if contentType != "" {
			s.fields = append(s.fields, [2]string{"Content-Type", contentType}, [2]string{"Content-Length", "1"})
		}
		s.head = RequestHead{Method: method, Target: target, Proto: "HTTP/1.1", Fields: &s.fields}
		return s
	}
	return []*sample{
		with("get", "GET", "/shoes?size=42&color=brown&page=2", "", ""),
		with("json", "POST", "/api/orders", "application/json", doc(250)),
		with("form", "POST", "/checkout", "application/x-www-form-urlencoded", form),
		with("json16k", "POST", "/api/orders", "application/json", doc(16<<10)),
	}
}

// smallRules are rules of which each run costs the same, which cannot be said
// of the Core Rule Set: Go's maps give arguments in another order each time.
const smallRules = `Include bulwark/recommended.conf
SecRule ARGS|REQUEST_COOKIES|REQUEST_HEADERS "@contains nowhere" "id:1000,phase:2,deny,t:none,t:lowercase"`

// measured compiles rules to a profile of a plugin that says only that it
// blocks, and finds what Coraza compiles of them without anything of ours.
func measured(tb testing.TB, text func(*rules.WAFRules) string) (*Profile, coraza.WAF) {
	tb.Helper()
	w, err := rules.WAF("")
	if err != nil {
		tb.Fatal(err)
	}
	r, err := NewRules(w.FS, text(w))
	if err != nil {
		tb.Fatal(err)
	}
	engines := new(Engines)
	e, err := engines.Open(r)
	if err != nil {
		tb.Fatal(err)
	}
	bare := kept.text[text(w)]
	if bare == nil {
		tb.Fatal("the text has not been compiled by Coraza alone")
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
		if err := engines.Close(); err != nil {
			tb.Error(err)
		}
	})
	p, err := e.Profile(Settings{Mode: Block})
	if err != nil {
		tb.Fatal(err)
	}
	return p, bare
}

// inspected runs a sample through an inspection.
func inspected(tb testing.TB, p *Profile, s *sample) {
	i := p.Begin(sampleConnection)
	v := i.RequestHead(&s.head)
	if v.Action == Pass {
		if len(s.body) == 0 || i.RequestBodyWanted() {
			v = i.RequestBody(s.body, true)
		}
	}
	if e := i.End(); v.Action != Pass || e != nil {
		tb.Fatalf("%s: the verdict is %+v, the event %+v", s.name, v, e)
	}
}

// bare runs a sample through Coraza's own interface, with what it asks for
// written out beforehand.
func bare(tb testing.TB, w coraza.WAF, s *sample) {
	tx := w.NewTransactionWithID(sampleConnection.RequestID)
	tx.ProcessConnection("192.0.2.7", 41000, "198.51.100.1", 443)
	tx.SetServerName("shop.test")
	tx.ProcessURI(s.head.Target, s.head.Method, s.head.Proto)
	for _, f := range s.fields {
		tx.AddRequestHeader(f[0], f[1])
	}
	it := tx.ProcessRequestHeaders()
	if it == nil && len(s.body) > 0 {
		if _, _, err := tx.WriteRequestBody(s.body); err != nil {
			tb.Fatal(err)
		}
	}
	if it == nil {
		var err error
		if it, err = tx.ProcessRequestBody(); err != nil {
			tb.Fatal(err)
		}
	}
	tx.ProcessLogging()
	if err := tx.Close(); err != nil || it != nil {
		tb.Fatal(err, it)
	}
}

// BenchmarkInspection compares inspections with transactions without anything
// of ours, under the Core Rule Set.
func BenchmarkInspection(b *testing.B) {
	p, w := measured(b, func(w *rules.WAFRules) string { return w.Directives })
	for _, s := range samples() {
		b.Run(s.name+"/inspection", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				inspected(b, p, s)
			}
		})
		b.Run(s.name+"/coraza", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bare(b, w, s)
			}
		})
	}
}
