package waf

import (
	"fmt"
	"regexp"
	"strings"

	coraza "github.com/corazawaf/coraza/v3"

	"github.com/bulwark-edge/bulwark/rules"
)

// kept are WAFs with Coraza's own operators. Ours replace them in the whole
// process as soon as an engine is opened, so these are compiled before.
var kept struct {
	operators []string              // each @rx of the Core Rule Set, without repetitions
	separate  coraza.WAF            // a rule for each of operators
	core      coraza.WAF            // the Core Rule Set as an engine compiles it
	prefilter map[string]coraza.WAF // a rule with the expression of 942220, by SecRxPreFilter
	text      map[string]coraza.WAF // rule texts as Coraza alone compiles them
}

// KeepCoraza compiles what is kept; it is to be called before any engine is
// opened. uploads is a directory that exists.
func KeepCoraza(uploads string) error {
	registerOwn()
	w, err := rules.WAF("")
	if err != nil {
		return err
	}
	r, err := NewRules(w.FS, w.Directives)
	if err != nil {
		return err
	}
	kept.operators = rxOperators(r)
	if kept.separate, err = coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(operatorRules(kept.operators))); err != nil {
		return err
	}
	if kept.core, _, err = compile(r, uploads); err != nil {
		return err
	}
	kept.prefilter = map[string]coraza.WAF{}
	for _, d := range r.directives {
		if d.ruleID() != 942220 {
			continue
		}
		rule := "SecRule ARGS_GET " + rxOperator.FindString(d.args) + ` "id:1,phase:1,pass,log"`
		for _, filter := range []string{"On", "Off"} {
			if kept.prefilter[filter], err = coraza.NewWAF(coraza.NewWAFConfig().WithDirectives("SecRxPreFilter " + filter + "\n" + rule)); err != nil {
				return err
			}
		}
	}
	kept.text = map[string]coraza.WAF{}
	for _, text := range []string{w.Directives, smallRules} {
		if kept.text[text], err = coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(mounted{files: r.files}).WithDirectives(text)); err != nil {
			return err
		}
	}
	return nil
}

var rxOperator = regexp.MustCompile(`"!?(@rx (?:[^"\\]|\\.)*)"`)

// rxOperators finds the regular expressions of rules, as they are written.
func rxOperators(r *Rules) []string {
	var found []string
	known := map[string]bool{}
	for _, d := range r.directives {
		if m := rxOperator.FindStringSubmatch(d.args); m != nil && !known[m[1]] && strings.EqualFold(d.name, "SecRule") {
			known[m[1]] = true
			found = append(found, m[1])
		}
	}
	return found
}

// operatorRules makes of each operator a rule that tells its groups, and one
// that has none.
func operatorRules(operators []string) string {
	var b strings.Builder
	for n, op := range operators {
		fmt.Fprintf(&b, "SecRule ARGS_GET:x \"%s\" \"id:%d,phase:1,pass,log,capture,logdata:'", op, 2*n+1)
		for group := range 10 {
			fmt.Fprintf(&b, "|%%{TX.%d}", group)
		}
		fmt.Fprintf(&b, "'\"\nSecRule ARGS_GET:x \"%s\" \"id:%d,phase:1,pass,log\"\n", op, 2*n+2)
	}
	return b.String()
}
