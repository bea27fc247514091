package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestPitfallDeepJSONResponses: Coraza goes down into JSON of responses without a
// bound of its own, and a stack that overflows ends the process.
func TestPitfallDeepJSONResponses(t *testing.T) {
	e := custom(t, `SecRule RESPONSE_HEADERS:Content-Type "@beginsWith application/json" "id:1,phase:3,pass,nolog,ctl:responseBodyProcessor=JSON"
SecRule RESPONSE_ARGS "@contains leak" "id:2,phase:4,deny,status:403"`)
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	s := waf.Settings{Mode: waf.Block, ResponseTypes: []string{"application/json"}}
	for body, want := range map[string]int{deep: 500, `["leak"]`: 403, "[]": 0} {
		v, ev := inspect(profile(t, e, s), get("/"), message{status: 200, fields: fields{"Content-Type", "application/json"}, body: body})
		if v.Status != want {
			t.Errorf("%.20s: %+v, want %d", body, v, want)
		}
		if told := ev != nil && strings.Contains(strings.Join(ev.Uninspected, " "), "json_depth"); told != (want == 500) {
			t.Errorf("%.20s: told %v", body, ev)
		}
	}
}

// TestPitfallOctalEscapes: jsDecode of old read octal escapes for something else.
func TestPitfallOctalEscapes(t *testing.T) {
	p := profile(t, custom(t, `SecRule ARGS:x "@streq <a>" "id:1,phase:1,deny,t:jsDecode"`), waf.Settings{Mode: waf.Block})
	for x, want := range map[string]int{`%5C74a%5C76`: 1, `%5Cx3ca%5Cx3e`: 1, `%5Cu003ca%5Cu003e`: 1, `%5C75a%5C76`: 0} {
		if v, _ := inspect(p, get("/?x="+x)); v.Rule != want {
			t.Errorf("%s: %+v", x, v)
		}
	}
}

// TestPitfallUnparsedTargets: arguments of a target that is no URI are inspected
// all the same.
func TestPitfallUnparsedTargets(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	const attack = "id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20-"
	for _, target := range []string{"/%zz?" + attack, "/a%2?" + attack, "//[::1?" + attack, "/a:b%?" + attack, "/?x=%zz&" + attack, "/?x=1;" + attack} {
		v, ev := inspect(p, get(target))
		if v.Action != waf.Deny {
			t.Errorf("%s passes: %+v", target, ev)
		}
	}
}

// TestPitfallXMLAttributes: the rules look at text of XML, and an attribute must
// be no place to hide.
func TestPitfallXMLAttributes(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	for _, body := range []string{
		`<a><b>1' UNION SELECT password FROM users-- -</b></a>`,
		`<a><b c="1' UNION SELECT password FROM users-- -"/></a>`,
		`<a b="&lt;script>alert(1)&lt;/script>"/>`,
	} {
		if v, ev := inspect(p, post("/", "text/xml", body)); v.Action != waf.Deny {
			t.Errorf("%s passes: %+v", body, ev)
		}
	}
	if v, ev := inspect(p, post("/", "text/xml", `<order id="12" note="two shoes"><item sku="A-1">blue</item></order>`)); v.Action != waf.Pass {
		t.Errorf("an ordinary order is denied: %+v", ev)
	}
}

// TestPitfallNoCollections: initcol does nothing in Coraza, so a rule text that
// would count over requests is refused and not taken to do so.
func TestPitfallNoCollections(t *testing.T) {
	r, err := waf.NewRules(nil, `SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}"
SecAction "id:2,phase:1,pass,nolog,setvar:ip.seen=+1"`)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := engines.Open(r); err == nil {
		t.Errorf("a counter over requests is taken: %v", e.Close())
	} else if !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the error is %v", err)
	}
}
