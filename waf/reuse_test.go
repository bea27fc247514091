package waf_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/rules"
	"github.com/bulwark-edge/bulwark/waf"
)

// FuzzReuse runs an exchange of any make, and then one that is always the same,
// which Coraza serves with the first one's memory: its verdict and event must
// be those of a fresh engine.
func FuzzReuse(f *testing.F) {
	f.Add("GET", "/?a=1", "", "", "text/html", "ok")
	f.Add("POST", "/?a=<script>", "application/json", `{"a":"' or 1=1--","a":[[1]]}`, "application/json", "You have an error in your SQL syntax")
	f.Add("POST", "/\x00?=&=%zz", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\n<?php\r\n--b--", "text/xml", "")
	f.Add("PUT", "*", "text/xml", "<a b='<script>'>x</a>", "", "x")
	f.Add("BREW", "", "application/x-www-form-urlencoded; charset=ibm037", strings.Repeat("a=1&", 1100), "text/plain", "root:x:0:0:")
	// A part of the rule set, so that many exchanges are tried in little time.
	w, err := rules.WAF("")
	if err != nil {
		f.Fatal(err)
	}
	text := w.Setup
	for _, name := range []string{"REQUEST-901-INITIALIZATION", "REQUEST-941-APPLICATION-ATTACK-XSS", "REQUEST-949-BLOCKING-EVALUATION", "RESPONSE-951-DATA-LEAKAGES-SQL", "RESPONSE-959-BLOCKING-EVALUATION"} {
		text += "Include crs/" + name + ".conf\n"
	}
	r, err := waf.NewRules(w.FS, text)
	if err != nil {
		f.Fatal(err)
	}
	e, err := engines.Open(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := e.Close(); err != nil {
			f.Error(err)
		}
	})
	block, err := e.Profile(waf.Settings{Mode: waf.Block})
	if err != nil {
		f.Fatal(err)
	}
	detect, err := e.Profile(waf.Settings{ParanoiaLevel: 4, Packs: []string{"wordpress", "grpc"}, Exclusions: []waf.Exclusion{{Tags: []string{"attack-xss"}}, {Target: "ARGS:q"}}})
	if err != nil {
		f.Fatal(err)
	}
	clean, attack := get("/?q=hello", "Cookie", "a=b"), post("/?q=<script>alert(1)</script>", form, "x=1")
	_, first := inspect(block, attack)
	want := summary(first)
	f.Fuzz(func(t *testing.T, method, target, contentType, body, respType, respBody string) {
		req := message{method: method, target: target, fields: browser("Content-Type", contentType, "X-Body", cutTo(body, 100)), body: body}
		for _, p := range [][]*waf.Profile{{detect}, {block}}[len(body)%2] {
			if v, _ := inspect(p, req, message{status: 500, fields: fields{"Content-Type", respType}, body: respBody}); v.Err != nil {
				t.Fatalf("the inspection fails: %v", v.Err)
			}
			if v, ev := inspect(block, clean); v.Action != waf.Pass || ev != nil {
				t.Fatalf("an ordinary request after it: %+v %+v", v, ev)
			}
			v, ev := inspect(block, attack)
			if v.Action != waf.Deny {
				t.Fatalf("an attack after it: %+v", v)
			}
			if got := summary(ev); got != want {
				t.Fatalf("an attack after it is found as %s, not as %s", got, want)
			}
		}
	})
}

func cutTo(s string, n int) string { return s[:min(len(s), n)] }

// summary is what must be the same for the same request: rules and scores.
func summary(e *waf.Event) string {
	var ids []int
	for _, m := range e.Matches {
		ids = append(ids, m.Rule)
	}
	slices.Sort(ids)
	return fmt.Sprintln(ids, e.Scores)
}
