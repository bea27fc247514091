package waf_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bulwark-edge/bulwark/rules"
	"github.com/bulwark-edge/bulwark/waf"
)

// withText compiles a part of the built-in rules, for the sake of time, with more
// before and after it.
func withText(t *testing.T, before, after string) (*waf.Engine, error) {
	t.Helper()
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	core := ""
	for _, name := range []string{"REQUEST-901-INITIALIZATION", "REQUEST-942-APPLICATION-ATTACK-SQLI", "REQUEST-949-BLOCKING-EVALUATION", "RESPONSE-959-BLOCKING-EVALUATION"} {
		core += "Include crs/" + name + ".conf\n"
	}
	r, err := waf.NewRules(w.FS, w.Setup+before+"\n"+core+after+"\n")
	if err != nil {
		return nil, err
	}
	e, err := engines.Open(r)
	if err == nil {
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return e, err
}

// TestSwitchedOffByAccident shows that a profile that blocks is refused when
// something would keep it from blocking, and one that detects is not.
func TestSwitchedOffByAccident(t *testing.T) {
	for _, tt := range []struct{ name, before, after, want string }{
		{"engine off", "SecRuleEngine Off", "", `directives line 10: SecRuleEngine Off`},
		{"engine detects", "secruleengine DetectionOnly", "", "DetectionOnly"},
		{"by a rule", `SecRule REQUEST_URI "@beginsWith /x" "id:1,phase:1,pass,nolog,ctl:ruleEngine=Off"`, "", "ctl:ruleEngine=Off"},
		{"by a chained rule", "SecRule REQUEST_URI \"@beginsWith /x\" \"id:1,phase:1,pass,nolog,chain\"\n SecRule ARGS:a \"@streq 1\" \"ctl:ruleEngine=DetectionOnly\"", "", "ctl:ruleEngine=DetectionOnly"},
		{"evaluation removed", "", "SecRuleRemoveById 949110", "SecRuleRemoveById 949110"},
		{"evaluation in a range", "", `SecRuleRemoveById "942100-960000"`, "942100-960000"},
		{"evaluation defused", "", `SecRuleUpdateActionById 959100 "pass"`, "959100"},
		{"all by tag", "", "SecRuleRemoveByTag OWASP_CRS", "OWASP_CRS"},
		{"all by tag in a rule", `SecAction "id:1,phase:1,pass,nolog,ctl:ruleRemoveByTag=OWASP_CRS"`, "", "OWASP_CRS"},
		{"evaluation by id in a rule", `SecAction "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=901000-949999"`, "", "901000-949999"},
		{"evaluation by message in a rule", `SecAction "id:1,phase:1,pass,nolog,ctl:ruleRemoveByMsg=Inbound Anomaly Score Exceeded"`, "", "ctl:ruleRemoveByMsg"},
		{"scores hidden", `SecAction "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=942100;TX:anomaly_score"`, "", "scores"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := withText(t, tt.before, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Profile(waf.Settings{Mode: waf.Block}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one with %q", err, tt.want)
			}
			if _, err := e.Profile(waf.Settings{Mode: waf.Detect}); err != nil {
				t.Errorf("a profile that detects is refused: %v", err)
			}
		})
	}
}

func TestHarmlessDirectivesAreAccepted(t *testing.T) {
	e, err := withText(t,
		`SecRule REQUEST_URI "@beginsWith /api" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=942100-942199,ctl:ruleRemoveTargetByTag=OWASP_CRS;ARGS:pass"`,
		"SecRuleRemoveById 942100 920000-920199\nSecRuleUpdateTargetById 942190 \"!ARGS:body\"")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Profile(waf.Settings{Mode: waf.Block}); err != nil {
		t.Error(err)
	}
}

func TestSettingsRefused(t *testing.T) {
	e := coreRules(t)
	for _, tt := range []struct {
		name string
		s    waf.Settings
		want string
	}{
		{"paranoia", waf.Settings{ParanoiaLevel: 5}, "paranoia level 5"},
		{"detection below", waf.Settings{ParanoiaLevel: 3, DetectionLevel: 2}, "detection level 2"},
		{"threshold", waf.Settings{InboundThreshold: -1}, "threshold -1"},
		{"body limit", waf.Settings{RequestBody: waf.BodySettings{Limit: 1 << 40}}, "body limit"},
		{"json depth", waf.Settings{Caps: waf.Caps{JSONDepth: 5000}}, "depth of JSON"},
		{"method", waf.Settings{AllowedMethods: []string{"GET,PUT"}}, "GET,PUT"},
		{"type", waf.Settings{AllowedTypes: []string{"json"}}, `"json"`},
		{"processor", waf.Settings{Processors: map[string]waf.Processor{"a/b": "YAML"}}, "YAML"},
		{"type pattern", waf.Settings{Processors: map[string]waf.Processor{"*/*": waf.Raw}}, `"*/*"`},
		{"empty exclusion", waf.Settings{Exclusions: []waf.Exclusion{{Path: "/x"}}}, "leave everything out"},
		{"blocking rule", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"949110"}}}}, "decide what is blocked"},
		{"range over blocking rules", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"900000-999999"}, Path: "/x"}}}, "decide what is blocked"},
		{"response blocking rule", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"959100"}}}}, "decide what is blocked"},
		{"setup", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"901340"}}}}, "decide what is blocked"},
		{"our own", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"150001"}}}}, "decide what is blocked"},
		{"tag of all", waf.Settings{Exclusions: []waf.Exclusion{{Tags: []string{"OWASP_CRS"}}}}, "OWASP_CRS"},
		{"all that detect", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"902000-948999"}}, {IDs: []string{"950000-958999"}}}}, "no rule that looks for attacks"},
		{"target everywhere", waf.Settings{Exclusions: []waf.Exclusion{{Target: "ARGS"}}}, "everywhere"},
		{"no such variable", waf.Settings{Exclusions: []waf.Exclusion{{Target: "ARG:x"}}}, `"ARG"`},
		{"key of none", waf.Settings{Exclusions: []waf.Exclusion{{Target: "REQUEST_BODY:x"}}}, "no keys"},
		{"scores as target", waf.Settings{Exclusions: []waf.Exclusion{{Target: "TX:x"}}}, "scores"},
		{"no number", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"942100,942110"}}}}, "no positive number"},
		{"no such rule", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"942102"}}}}, "no rule 942102"},
		{"no such tag", waf.Settings{Exclusions: []waf.Exclusion{{Tags: []string{"atack-sqli"}}}}, "atack-sqli"},
		{"range backwards", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"942200-942100"}}}}, "942200-942100"},
		{"path", waf.Settings{Exclusions: []waf.Exclusion{{IDs: []string{"942100"}, Path: "x"}}}, `"x"`},
		{"pattern", waf.Settings{Exclusions: []waf.Exclusion{{Target: "ARGS:/(/"}}}, "ARGS:/(/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := e.Profile(tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestRuleErrors shows what is said of rules that are wrong: file, line and
// reason of each, and that an engine which was there before goes on.
func TestRuleErrors(t *testing.T) {
	good := coreRules(t)
	for _, tt := range []struct {
		name  string
		files fstest.MapFS
		text  string
		want  []string
	}{
		{"missing file", nil, "SecRuleEngine On\nInclude rules/none.conf", []string{`directives line 2: reading "rules/none.conf": file does not exist`}},
		{"missing data", fstest.MapFS{"a/x.conf": {Data: []byte("# one\nSecRule ARGS \"@pmFromFile words.data\" \\\n \"id:1,phase:2,deny\"\n")}}, "Include a/x.conf", []string{`a/x.conf line 2: reading "a/words.data": file does not exist`}},
		{"absolute", nil, "Include /etc/passwd", []string{"must stand within the directory"}},
		{"outside", nil, "Include ../secret.conf", []string{"directives line 1"}},
		{"circle", fstest.MapFS{"x.conf": {Data: []byte("Include x.conf\n")}}, "Include x.conf", []string{"x.conf line 1: files include files more than 16 deep"}},
		{"not ended", fstest.MapFS{"x.conf": {Data: []byte("\n\nSecRule ARGS \\\n  \"@rx x\" \\\n")}}, "Include x.conf", []string{"x.conf line 3: the directive is not ended"}},
		{"two bad rules", fstest.MapFS{
			"x.conf": {Data: []byte("SecAction \"id:1,phase:1,pass\"\n\nSecRule ARGS \"@rx (\" \"id:2,phase:2,deny\"\n")},
			"y.conf": {Data: []byte("SecRule ARGS \"@nope x\" \"id:3,phase:2,deny\"\n")},
		}, "Include x.conf\nInclude y.conf", []string{"x.conf line 3: ", "missing closing )", "y.conf line 1: ", "nope"}},
		{"id twice", fstest.MapFS{"x.conf": {Data: []byte("SecAction \"id:7,phase:1,pass\"\nSecAction \"id:7,phase:2,pass\"\n")}}, "Include x.conf", []string{"duplicated rule id 7"}},
		{"unknown directive", fstest.MapFS{"x.conf": {Data: []byte("# text\nSecNope On\n")}}, "Include x.conf", []string{`x.conf line 2: directive "secnope": unknown directive`}},
		{"says nothing", nil, "SecAction \"id:1,phase:1,pass\"\nSecRule ARGS \"@rx a\" \"id:2,phase:2,pass\"\nSecRule\n", []string{"directives line 3: directive"}},
		{"bad value", nil, "SecRuleEngine On\nSecArgumentsLimit many", []string{"directives line 2"}},
		{"our id", nil, `SecAction "id:150001,phase:1,pass"`, []string{"150000 to 150009"}},
		{"our variable", nil, `SecAction "id:1,phase:1,pass,setvar:tx.bulwark_mode=detect"`, []string{"Bulwark's own"}},
		{"program", nil, `SecRule FILES_TMPNAMES "@inspectFile /bin/x" "id:1,phase:2,deny"`, []string{"starts programs"}},
		{"unsound filter", nil, "SecRxPreFilter On", []string{"directives line 1: the filter of regular expressions loses matches"}},
		{"data set", nil, "SecRule ARGS \"@pmFromDataset x\" \"id:1,phase:2,deny\"", []string{"data file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := waf.NewRules(tt.files, tt.text)
			if err == nil {
				_, err = engines.Open(r)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want one with %q", err, want)
				}
			}
		})
	}
	if v, _ := inspect(profile(t, good, waf.Settings{Mode: waf.Block}), get("/?q=<script>alert(1)</script>")); v.Action != waf.Deny {
		t.Error("the engine that was there before does not deny any more")
	}
}

// TestReloadSeesEditedFiles shows that an edited file is another rule text,
// also if only a data file is, whose name Coraza alone would know it by.
func TestReloadSeesEditedFiles(t *testing.T) {
	open := func(word string) *waf.Engine {
		r, err := waf.NewRules(fstest.MapFS{
			"x.conf":     {Data: []byte(`SecRule ARGS "@pmFromFile words.data" "id:1,phase:2,deny,status:403"`)},
			"words.data": {Data: []byte(word)},
		}, "Include x.conf")
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
	before, same, after := open("tulip"), open("tulip"), open("orchid")
	if before != same || before == after {
		t.Error("engines are shared by something else than contents")
	}
	if before.Rules().Hash() == after.Rules().Hash() {
		t.Error("the hashes are the same")
	}
	for _, tt := range []struct {
		e    *waf.Engine
		word string
		want waf.Action
	}{{before, "tulip", waf.Deny}, {before, "orchid", waf.Pass}, {after, "tulip", waf.Pass}, {after, "orchid", waf.Deny}} {
		if v, _ := inspect(profile(t, tt.e, waf.Settings{Mode: waf.Block}), get("/?q="+tt.word)); v.Action != tt.want {
			t.Errorf("%s: the action is %v, want %v", tt.word, v.Action, tt.want)
		}
	}
}
