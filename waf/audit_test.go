package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestAuditBodyIsMasked: no record tells a secret of the content, and content that
// nobody understands is left out.
func TestAuditBodyIsMasked(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Detect})
	const attack, secret = "<script>alert(1)</script>", "hunter2%21xyzzy"
	for name, c := range map[string]struct {
		kind, target, body, coding string
		out                        bool
	}{
		"form":       {form, "/", "user%5Bpassword%5D=" + secret + "&x=" + attack, "", false},
		"pin":        {form, "/", "user%5Bpin%5D=" + secret + "&x=" + attack, "", false},
		"target":     {form, "/?user%5Bpin%5D=" + secret, "x=" + attack, "", false},
		"elsewhere":  {form, "/?q=" + secret, "pin=hunter2!xyzzy&x=" + attack, "", false},
		"XML":        {"text/xml", "/?x=" + attack, "<password>" + secret + "</password>", "", true},
		"encoded":    {form, "/?x=" + attack, "q=" + secret, "gzip", true},
		"not parsed": {"application/octet-stream", "/?x=" + attack, "password " + secret, "", true},
		"broken":     {"application/json", "/?x=" + attack, `{"p\u0061ssword":"` + secret, "", true},
	} {
		fields := []string{}
		if c.coding != "" {
			fields = []string{"Content-Encoding", c.coding}
		}
		req := post(c.target, c.kind, c.body, fields...)
		i := p.Begin(waf.Connection{})
		i.Audit(&waf.AuditSettings{RequestFields: true, RequestBody: true, Matches: true})
		i.RequestHead(&waf.RequestHead{Method: req.method, Target: req.target, Proto: "HTTP/1.1", Fields: req.fields})
		i.RequestBody([]byte(c.body), true)
		i.AuditBody([]byte(c.body), true)
		e := i.End()
		if e == nil || e.Record == nil {
			t.Errorf("%s: there is no record", name)
			continue
		}
		if text := string(e.Record.AppendJSON(e.AppendJSON(nil))); strings.Contains(text, "hunter2") {
			t.Errorf("%s: the secret is told in %s", name, text)
		}
		if r := e.Record.Transaction.Request; c.out != (r.Body == "") || c.out != r.BodyCut || !r.Masked {
			t.Errorf("%s: the content is %q, cut %v, masked %v", name, r.Body, r.BodyCut, r.Masked)
		}
	}
}
