package waf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestBeyondCaps sends what must not reach the engine: denied by default,
// passed if the profile says so, and told in either case.
func TestBeyondCaps(t *testing.T) {
	e := coreRules(t)
	part := "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n"
	for _, tt := range []struct {
		name, what string
		req        message
	}{
		{"deep JSON", "json_depth", post("/", "application/json", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))},
		{"deep JSON behind many arguments", "json_depth", post("/", "application/json", "["+strings.Repeat("1,", 2000)+strings.Repeat("[", 50_000))},
		{"parts", "multipart_parts", post("/", "multipart/form-data; boundary=b", strings.Repeat(part, 10_000)+"--b--\r\n")},
		{"XML nodes", "xml_nodes", post("/", "text/xml", "<a>"+strings.Repeat("<b>x</b>", 20_000)+"</a>")},
		{"XML entities", "xml_entities", post("/", "application/xml", `<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>`)},
		{"cookies", "cookies", get("/", "Cookie", strings.Repeat("a;", 400))},
		{"cookies in many fields", "cookies", get("/", slices.Repeat([]string{"Cookie", "a=1; b=2"}, 200)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := waf.BodySettings{Limit: 1 << 20}
			v, ev := inspect(profile(t, e, waf.Settings{Mode: waf.Block, RequestBody: limit}), tt.req)
			if v.Action != waf.Deny || v.Rule != 0 || v.Err != nil || ev == nil || !slices.Contains(ev.Uninspected, tt.what) {
				t.Errorf("by default: %+v, %+v", v, ev)
			}
			s := waf.Settings{Mode: waf.Block, RequestBody: limit, Caps: waf.Caps{Beyond: waf.Prefix}}
			v, ev = inspect(profile(t, e, s), tt.req)
			if v.Action != waf.Pass || ev == nil || !slices.Contains(ev.Uninspected, tt.what) {
				t.Errorf("to be passed: %+v, %+v", v, ev)
			}
			s.Mode, s.Caps.Beyond = waf.Detect, waf.Reject
			if v, ev = inspect(profile(t, e, s), tt.req); v.Action != waf.Pass || ev == nil || !slices.Contains(ev.Uninspected, tt.what) {
				t.Errorf("detecting: %+v, %+v", v, ev)
			}
		})
	}
}

// TestBodiesBeyondTheLimit shows both policies for each way of parsing: what
// lies within the limit is inspected in any case, and content that is cut there
// is not denied for being malformed.
func TestBodiesBeyondTheLimit(t *testing.T) {
	e := coreRules(t)
	filler := strings.Repeat("lorem ipsum ", 400)
	attack := "<script>alert(1)</script>"
	multipart := func(first, last string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n" + first + "\r\n--b\r\nContent-Disposition: form-data; name=\"y\"\r\n\r\n" + last + "\r\n--b--\r\n"
	}
	for _, tt := range []struct{ name, contentType, early, late string }{
		{"form", form, "x=" + attack + "&y=" + filler, "x=" + filler + "&y=" + attack},
		{"json", "application/json", `{"x":"` + attack + `","y":"` + filler + `"}`, `{"x":"` + filler + `","y":"` + attack + `"}`},
		{"multipart", "multipart/form-data; boundary=b", multipart(attack, filler), multipart(filler, attack)},
		{"xml", "text/xml", "<a><x><![CDATA[" + attack + "]]></x>" + filler + "</a>", "<a>" + filler + "<x><![CDATA[" + attack + "]]></x></a>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := waf.BodySettings{Limit: 2048, Beyond: waf.Prefix}
			p := profile(t, e, waf.Settings{Mode: waf.Block, RequestBody: limit})
			if v, _ := inspect(p, post("/", tt.contentType, tt.early)); v.Action != waf.Deny || v.Rule != 949110 {
				t.Errorf("an attack within the limit: %+v", v)
			}
			v, ev := inspect(p, post("/", tt.contentType, tt.late))
			if v.Action != waf.Pass || ev == nil || !slices.Contains(ev.Uninspected, "request_body: limit") {
				t.Errorf("an attack beyond the limit: %+v, %+v", v, ev)
			}
			limit.Beyond = waf.Reject
			if v, _ := inspect(profile(t, e, waf.Settings{Mode: waf.Block, RequestBody: limit}), post("/", tt.contentType, tt.late)); v.Status != 413 {
				t.Errorf("to be rejected: %+v", v)
			}
		})
	}
}

// TestCutBodiesAreParsed: what is open where content is cut is inspected all the
// same, and content of which nothing can be parsed does not pass.
func TestCutBodiesAreParsed(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block, RequestBody: waf.BodySettings{Limit: 2048, Beyond: waf.Prefix}})
	long := "<script>alert(1)</script>" + strings.Repeat("lorem ipsum ", 400)
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"string", "application/json", `{"a":{"b":["` + long + `"]}}`, 403},
		{"section", "text/xml", `<a><![CDATA[` + long + `]]></a>`, 403},
		{"part", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n" + long + "\r\n--b--\r\n", 403},
		{"encoding", "text/xml", `<?xml version="1.0" encoding="utf-7"?><a>` + long + `</a>`, 400},
		{"byte order mark", "text/xml", "\xff\xfe<\x00a\x00>\x00" + long, 400},
		{"no JSON", "application/json", "?" + long, 400},
	} {
		if v, ev := inspect(p, post("/", tt.contentType, tt.body)); v.Action != waf.Deny || v.Status != tt.status {
			t.Errorf("%s: %+v, %+v", tt.name, v, ev)
		}
	}
}

func TestResponseBodies(t *testing.T) {
	e := coreRules(t)
	leak := "You have an error in your SQL syntax; check the manual"
	page := func(contentType, body string) message {
		return message{status: 200, fields: fields{"Content-Type", contentType}, body: body}
	}
	for _, tt := range []struct {
		name string
		s    waf.Settings
		resp message
		want waf.Action
	}{
		{"text", waf.Settings{}, page("Text/HTML; charset=utf-8", leak), waf.Deny},
		{"other type", waf.Settings{}, page("application/json", `{"e":"`+leak+`"}`), waf.Pass},
		{"named type", waf.Settings{ResponseTypes: []string{"application/json"}}, page("application/json", `{"e":"`+leak+`"}`), waf.Deny},
		{"type not named", waf.Settings{ResponseTypes: []string{"application/json"}}, page("text/html", leak), waf.Pass},
		{"none", waf.Settings{ResponseTypes: []string{}}, page("text/html", leak), waf.Pass},
		{"beyond the limit", waf.Settings{ResponseBody: waf.BodySettings{Limit: 1000, Beyond: waf.Prefix}}, page("text/html", strings.Repeat("x", 1000)+leak), waf.Pass},
		{"within the limit", waf.Settings{ResponseBody: waf.BodySettings{Limit: 1000, Beyond: waf.Prefix}}, page("text/html", leak+strings.Repeat("x", 1000)), waf.Deny},
		{"rejected beyond", waf.Settings{ResponseBody: waf.BodySettings{Limit: 1000}}, page("text/html", strings.Repeat("x", 1001)), waf.Deny},
	} {
		tt.s.Mode = waf.Block
		if v, _ := inspect(profile(t, e, tt.s), get("/"), tt.resp); v.Action != tt.want {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}
