//go:build !race

package waf_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestEventTellsRulesAndScores shows an event in both forms.
func TestEventTellsRulesAndScores(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	_, e := inspect(p, get("/?q=<script>alert(1)</script>"))
	if e == nil {
		t.Fatal("there is no event")
	}
	var got struct {
		RequestID string `json:"request_id"`
		Client    string `json:"client"`
		Action    string `json:"action"`
		Matches   []struct {
			Rule, Line int
			Level      int    `json:"paranoia_level"`
			File       string `json:"file"`
			Targets    []waf.Target
		} `json:"matches"`
		Scores waf.Scores `json:"scores"`
	}
	if err := json.Unmarshal(e.AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	m := got.Matches[0]
	if got.RequestID != connection.RequestID || got.Client != "192.0.2.7" || got.Action != "deny" || m.Rule != 941100 || m.Level != 1 ||
		m.File != "crs/REQUEST-941-APPLICATION-ATTACK-XSS.conf" || m.Line == 0 || m.Targets[0] != (waf.Target{Variable: "ARGS:q", Value: "<script>alert(1)</script>"}) {
		t.Errorf("the event is %+v", got)
	}
	if s := got.Scores; s.XSS != s.Inbound.Blocking || s.XSS < 5 || s.Inbound.Levels[0] != s.XSS || s.Inbound.Threshold != 5 || s.SQLInjection != 0 {
		t.Errorf("the scores are %+v", s)
	}
	lines := strings.Split(strings.TrimSuffix(string(e.AppendModSecurity(nil)), "\n"), "\n")
	if len(lines) != len(got.Matches) {
		t.Errorf("%d lines for %d matches", len(lines), len(got.Matches))
	}
	for _, part := range []string{`[client 192.0.2.7] ModSecurity: Warning.`, `[id "941100"]`, `[severity "CRITICAL"]`, `[unique_id "` + connection.RequestID + `"]`, `[uri "/?q=<script>alert(1)</script>"]`} {
		if !strings.Contains(lines[0], part) {
			t.Errorf("%s is not in %s", part, lines[0])
		}
	}
}

// TestSecretsAreMasked sends secrets wherever they are sent, with attacks beside
// and in them: no event may tell one.
func TestSecretsAreMasked(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Detect, ParanoiaLevel: 4})
	const attack = "' UNION SELECT password FROM users-- -"
	secret := "hunter2xyzzy"
	escaped := strings.NewReplacer(" ", "+", "'", "%27").Replace(attack)
	for name, req := range map[string]message{
		"query":           get("/?x=" + escaped + "&password=" + secret),
		"attacked query":  get("/?access_token=" + secret + escaped),
		"form":            post("/", form, "user=a&pwd="+secret+escaped),
		"php array":       post("/", form, "user[password]="+secret+escaped),
		"json":            post("/", "application/json", `{"user":{"name":"`+attack+`","pass":"`+secret+attack+`"}}`),
		"cookie":          get("/", "Cookie", "session="+secret+attack),
		"authorization":   get("/?x="+escaped, "Authorization", "Bearer "+secret+attack),
		"api key":         get("/?x="+escaped, "X-Api-Key", secret+attack),
		"json, broken":    post("/", "application/json", `{"secret":"`+secret+`", "x":"`+attack),
		"json as a form":  post("/", form, `{"password":"`+secret+`","x":"`+attack+`"}`),
		"referer's query": get("/", "Referer", "https://shop.test/?token="+secret+"&x="+attack),
	} {
		_, e := inspect(p, req)
		if e == nil || len(e.Matches) == 0 {
			t.Errorf("%s: nothing matched", name)
			continue
		}
		for _, text := range [][]byte{e.AppendJSON(nil), e.AppendModSecurity(nil)} {
			if strings.Contains(strings.ToLower(string(text)), secret) {
				t.Errorf("%s: the secret is told in %s", name, text)
			}
		}
	}
}

// TestValuesAreCut shows that a flood of matches and long values make no long
// event.
func TestValuesAreCut(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Detect, RequestBody: waf.BodySettings{Limit: 1 << 20}})
	long := "<script>" + strings.Repeat("ä", 5000)
	_, e := inspect(p, post("/"+strings.Repeat("x", 5000), form, strings.Repeat("a="+long+"&", 20)))
	for _, m := range e.Matches {
		if len(m.Targets) > 10 || len(m.Data) > 520 || len(m.Message) > 520 {
			t.Errorf("rule %d has %d targets, %d bytes of data", m.Rule, len(m.Targets), len(m.Data))
		}
		for _, target := range m.Targets {
			if len(target.Value) > 260 || !utf8.ValidString(target.Value) {
				t.Errorf("rule %d has the value %q", m.Rule, target.Value)
			}
		}
	}
	if len(e.Target) > 520 {
		t.Errorf("the target has %d bytes", len(e.Target))
	}
}

// TestSecretsBeyondBounds shows that what is too much to be looked through is
// masked whole: many secrets, a long one that is cut, and a long text.
func TestSecretsBeyondBounds(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Detect, RequestBody: waf.BodySettings{Limit: 1 << 20}})
	const attack = "<script>alert(1)</script>"
	many := ""
	for n := range 70 {
		many += fmt.Sprintf("token%d=hunter%03d&", n, n)
	}
	long := strings.Repeat("hunter", 1000)
	for name, req := range map[string]message{
		"many":           post("/", form, many+"x=hunter069"+attack),
		"long":           post("/", form, "password="+long+"&x="+attack+long+attack),
		"long, edge":     post("/", form, "password="+long+"&x="+attack+strings.Repeat("y", 200)+long),
		"short, at edge": post("/", form, "password=hunter069&x="+attack+strings.Repeat("&amp;a", 209)+"hunter069"),
		"long text":      post("/", form, strings.Repeat("x=a:b"+strings.Repeat("z", 1000)+"&", 900)+"password=hunter069&y=hunter069"+attack),
	} {
		_, e := inspect(p, req)
		if e == nil || len(e.Matches) == 0 {
			t.Errorf("%s: nothing matched", name)
			continue
		}
		if text := string(e.AppendJSON(nil)); strings.Contains(text, "hunter") {
			t.Errorf("%s: the secret is told in %s", name, text)
		}
	}
}

// idPart is how tools find the rule of a line.
var idPart = regexp.MustCompile(`\[id "[0-9]+"\]`)

// FuzzModSecurityLine shows that no value forges a line or a part of one.
func FuzzModSecurityLine(f *testing.F) {
	for _, s := range []string{"x", "\"] [id \"1\"]", "a\nb\r\n[client 1.2.3.4]", "\\", "\xff\x00\u2028"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, value, other string) {
		e := waf.Event{RequestID: value, ServerName: other, Target: value, Action: "deny", Matches: []waf.Match{
			{Rule: 941100, Message: value, Data: other, Tags: []string{value}, Targets: []waf.Target{{Variable: "ARGS:" + other, Value: value}}},
		}}
		line := string(e.AppendModSecurity(nil))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "]\n") || len(idPart.FindAllString(line, -1)) != 1 {
			t.Errorf("the line is %q", line)
		}
		for i := range len(line) - 1 {
			if line[i] < ' ' || line[i] > '~' {
				t.Fatalf("the line has the byte %#x: %q", line[i], line)
			}
		}
		if strings.Count(line, `"`)%2 != 0 || strings.Contains(line, `\"`) {
			t.Errorf("the quotes of the line do not close: %q", line)
		}
		if !json.Valid(e.AppendJSON(nil)) {
			t.Error("the JSON is none")
		}
	})
}
