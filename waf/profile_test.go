package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

const sqli = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20-"

// TestModeDetect shows that nothing is denied, and that the event tells what
// would have been.
func TestModeDetect(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Detect})
	v, e := inspect(p, get(sqli))
	if v.Action != waf.Pass || e == nil || e.Would != "deny" || e.Rule != 949110 || e.Mode != "detect" || e.Action != "pass" {
		t.Errorf("the verdict is %+v, the event %+v", v, e)
	}
	// The next one with the same engine blocks.
	if v, _ := inspect(profile(t, coreRules(t), waf.Settings{Mode: waf.Block}), get(sqli)); v.Action != waf.Deny {
		t.Error("a profile that blocks does not, after one that detects")
	}
}

// TestParanoiaAndDetection shows levels: a higher detection level scores and
// does not deny.
func TestParanoiaAndDetection(t *testing.T) {
	e := coreRules(t)
	req := get("/?q=a'b--c") // fine at level 1
	level1 := profile(t, e, waf.Settings{Mode: waf.Block})
	shadow := profile(t, e, waf.Settings{Mode: waf.Block, DetectionLevel: 4})
	level4 := profile(t, e, waf.Settings{Mode: waf.Block, ParanoiaLevel: 4})
	if v, ev := inspect(level1, req); v.Action != waf.Pass || ev != nil {
		t.Fatalf("at level 1: %+v %+v", v, ev)
	}
	v, ev := inspect(shadow, req)
	if v.Action != waf.Pass || ev == nil || ev.Scores.Inbound.Detection < 5 || ev.Scores.Inbound.Blocking != 0 {
		t.Fatalf("at level 1, detecting 4: %+v %+v", v, ev)
	}
	if s := ev.Scores.Inbound; s.Levels[0] != 0 || s.Levels[1]+s.Levels[2]+s.Levels[3] != s.Detection {
		t.Errorf("the scores by level are %+v", s)
	}
	if v, _ := inspect(level4, req); v.Action != waf.Deny {
		t.Errorf("at level 4: %+v", v)
	}
}

func TestThresholds(t *testing.T) {
	e := coreRules(t)
	_, ev := inspect(profile(t, e, waf.Settings{}), get(sqli))
	score := ev.Scores.Inbound.Blocking
	for _, tt := range []struct {
		threshold int
		want      waf.Action
	}{{score, waf.Deny}, {score + 1, waf.Pass}} {
		if v, _ := inspect(profile(t, e, waf.Settings{Mode: waf.Block, InboundThreshold: tt.threshold}), get(sqli)); v.Action != tt.want {
			t.Errorf("score %d, threshold %d: the action is %v", score, tt.threshold, v.Action)
		}
	}
	leak := message{status: 500, fields: fields{"Content-Type", "text/html; charset=utf-8"}, body: "You have an error in your SQL syntax; check the manual"}
	for _, tt := range []struct {
		threshold int
		want      waf.Action
	}{{0, waf.Deny}, {100, waf.Pass}} {
		if v, _ := inspect(profile(t, e, waf.Settings{Mode: waf.Block, OutboundThreshold: tt.threshold}), get("/"), leak); v.Action != tt.want {
			t.Errorf("outbound threshold %d: the action is %v", tt.threshold, v.Action)
		}
	}
}

func TestEarlyBlocking(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block, EarlyBlocking: true})
	i := p.Begin(connection)
	v := i.RequestHead(&waf.RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: browser("Content-Length", "x", "Proxy", "y")})
	if i.End(); v.Action != waf.Deny || v.Rule != 949111 {
		t.Errorf("the verdict on the head is %+v", v)
	}
}

func TestAllowedMethodsAndTypes(t *testing.T) {
	e := coreRules(t)
	put := message{method: "PUT", target: "/item/1", fields: browser("Content-Type", "application/vnd.shop+json", "Content-Length", "2"), body: "{}"}
	if v, _ := inspect(profile(t, e, waf.Settings{Mode: waf.Block}), put); v.Action != waf.Deny {
		t.Error("PUT passes by default")
	}
	s := waf.Settings{Mode: waf.Block, AllowedMethods: []string{"GET", "PUT"}, AllowedTypes: []string{"application/vnd.shop+json"}}
	if v, ev := inspect(profile(t, e, s), put); v.Action != waf.Pass {
		t.Errorf("PUT is denied: %+v", ev)
	}
	put.body = `{"a":"<script>alert(1)</script>"}`
	if v, _ := inspect(profile(t, e, s), put); v.Action != waf.Deny {
		t.Error("what is allowed is not inspected")
	}
}

// TestExclusions shows each kind, and where it does not hold.
func TestExclusions(t *testing.T) {
	e := coreRules(t)
	_, ev := inspect(profile(t, e, waf.Settings{}), get(sqli))
	var ids []string
	for _, m := range ev.Matches {
		if m.Rule/1000 == 942 {
			ids = append(ids, itoa(m.Rule))
		}
	}
	const xss = "<script>alert(1)</script>"
	for _, tt := range []struct {
		name string
		x    waf.Exclusion
		pass []string // targets that pass with it
		deny []string // targets that are denied still
	}{
		{"ids", waf.Exclusion{IDs: ids}, []string{sqli}, []string{"/?q=" + xss}},
		{"range", waf.Exclusion{IDs: []string{"942000-942999"}}, []string{sqli}, []string{"/?q=" + xss}},
		{"tag", waf.Exclusion{Tags: []string{"attack-sqli"}}, []string{sqli}, []string{"/?q=" + xss}},
		{"parameter", waf.Exclusion{Target: "ARGS:id"}, []string{sqli}, []string{strings.Replace(sqli, "id=", "no=", 1)}},
		{"parameter by pattern", waf.Exclusion{Target: "ARGS:/^(id|no)$/"}, []string{sqli, strings.Replace(sqli, "id=", "NO=", 1)}, []string{strings.Replace(sqli, "id=", "idx=", 1)}},
		{"parameter of a tag", waf.Exclusion{Target: "ARGS:id", Tags: []string{"attack-sqli"}}, []string{sqli}, []string{"/?id=" + xss}},
		{"parameter of a range", waf.Exclusion{Target: "ARGS:id", IDs: []string{"942000-942999"}}, []string{sqli}, []string{"/?id=" + xss}},
		{"path", waf.Exclusion{Tags: []string{"attack-sqli"}, Path: "/db"}, []string{"/db" + sqli[1:], "/db/x" + sqli[1:]}, []string{
			sqli, "/dbx" + sqli[1:], "/DB" + sqli[1:], "/db/../x" + sqli[1:], "/db/%2e%2e/x" + sqli[1:], "/db/..;/x" + sqli[1:], "/db//x" + sqli[1:], `/db/..\x` + sqli[1:],
		}},
		{"method", waf.Exclusion{Tags: []string{"attack-sqli"}, Methods: []string{"GET"}}, []string{sqli}, nil},
		{"other method", waf.Exclusion{Tags: []string{"attack-sqli"}, Methods: []string{"POST"}}, nil, []string{sqli}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := profile(t, e, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{tt.x}})
			for _, target := range tt.pass {
				if v, ev := inspect(p, get(target)); v.Action != waf.Pass {
					t.Errorf("%s is denied:\n%s", target, ev.AppendModSecurity(nil))
				}
			}
			for _, target := range tt.deny {
				if v, _ := inspect(p, get(target)); v.Action != waf.Deny {
					t.Errorf("%s passes", target)
				}
			}
		})
	}
}
