package waf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// protected are the rules without which nothing is blocked: those that set the
// Core Rule Set up, those that add the scores up and decide, and our own.
var protected = [][2]int{{ownIDs, ownIDsEnd}, {901000, 901999}, {949000, 949999}, {959000, 959999}, {980000, 980999}}

// overlapsProtected reports whether one of the ids from first to last is that
// of a rule which must stay.
func overlapsProtected(first, last int) bool {
	return slices.ContainsFunc(protected, func(p [2]int) bool { return first <= p[1] && last >= p[0] })
}

// ownRules of the Core Rule Set switch it off on purpose and are known: 901450
// leaves a share of the requests out, 905100 and 905110 another server's calls
// to itself.
var ownRules = []int{901450, 905100, 905110}

var ctl = regexp.MustCompile(`(?i)[",\s]ctl\s*:\s*'?([a-z]+)\s*=\s*([^,"']*)`)

var chain = regexp.MustCompile(`(?i)[",\s]chain\s*[,"]`)

// findSwitches finds what in a rule text would let attacks pass whatever a
// profile's mode says: it is refused by profiles that block.
func findSwitches(directives []directive) []fault {
	var found []fault
	add := func(d directive, format string, args ...any) {
		found = append(found, fault{d, fmt.Sprintf(format, args...)})
	}
	id, chained := 0, false // of the rule that d is or belongs to
	for _, d := range directives {
		if !chained {
			id = d.ruleID()
		}
		chained = chain.MatchString(d.args)
		switch name := strings.ToLower(d.name); name {
		case "secruleengine":
			if !strings.EqualFold(strings.Trim(d.args, `"' `), "On") {
				add(d, "SecRuleEngine %s stops the WAF from blocking; the mode is set where the WAF is used", d.args)
			}
		case "secruleremovebyid", "secruleupdateactionbyid", "secruleupdatetargetbyid":
			list := d.args
			if name != "secruleremovebyid" {
				list, _, _ = strings.Cut(strings.TrimSpace(list), " ")
			}
			for ids := range strings.FieldsSeq(strings.NewReplacer(",", " ", `"`, " ", "'", " ").Replace(list)) {
				if first, last, err := parseIDs(ids); err == nil && overlapsProtected(first, last) {
					add(d, "%s %s takes away a rule that decides what is blocked", d.name, ids)
				}
			}
		case "secruleremovebytag", "secruleupdatetargetbytag":
			tag, _, _ := strings.Cut(strings.TrimSpace(d.args), " ")
			if tag = strings.Trim(tag, `"'`); switchTag(tag) {
				add(d, "%s %s takes away rules that decide what is blocked", d.name, tag)
			}
		case "secruleremovebymsg", "secruleupdatetargetbymsg":
			add(d, "%s %s picks rules by their text, which may be that of rules that decide what is blocked; use ids or tags", d.name, d.args)
		case "secrule", "secaction":
			if !slices.Contains(ownRules, id) {
				for _, reason := range switchesOf(d) {
					add(d, "%s", reason)
				}
			}
		}
	}
	return found
}

// switchesOf finds the actions of a rule that switch the WAF off for an exchange.
func switchesOf(d directive) []string {
	var found []string
	for _, m := range ctl.FindAllStringSubmatch(d.args, -1) {
		action, value := strings.ToLower(m[1]), strings.TrimSpace(m[2])
		target, variable, _ := strings.Cut(value, ";")
		switch action {
		case "ruleengine":
			if !strings.EqualFold(value, "On") {
				found = append(found, "ctl:ruleEngine="+value+" stops the WAF from blocking")
			}
		case "ruleremovetargetbyid", "ruleremovetargetbytag", "ruleremovetargetbymsg":
			if name, _, _ := strings.Cut(variable, ":"); strings.EqualFold(strings.TrimSpace(name), "TX") {
				found = append(found, "ctl:"+m[1]+"="+value+" hides the scores from the rules that decide what is blocked")
			}
		case "ruleremovebyid":
			if first, last, err := parseIDs(target); err == nil && overlapsProtected(first, last) {
				found = append(found, "ctl:"+m[1]+"="+value+" takes away a rule that decides what is blocked")
			}
		case "ruleremovebymsg":
			found = append(found, "ctl:"+m[1]+"="+value+" picks rules by their text, which may be that of rules that decide what is blocked; use ids or tags")
		case "ruleremovebytag":
			if switchTag(target) {
				found = append(found, "ctl:"+m[1]+"="+value+" takes away rules that decide what is blocked")
			}
		}
	}
	return found
}

// switchTag reports whether rules that must stay bear the tag.
func switchTag(tag string) bool {
	return strings.EqualFold(tag, "OWASP_CRS") || strings.EqualFold(tag, "anomaly-evaluation")
}

// parseIDs reads a rule id or a range of them.
func parseIDs(s string) (first, last int, err error) {
	from, to, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if first, err = strconv.Atoi(strings.TrimSpace(from)); err != nil || first <= 0 {
		return 0, 0, fmt.Errorf("the rule id %q is no positive number", s)
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = strconv.Atoi(strings.TrimSpace(to)); err != nil || last < first {
		return 0, 0, fmt.Errorf("the range of rule ids %q does not go from a number to a larger one", s)
	}
	return first, last, nil
}

// unsupported are operators and directives that would do nothing or run what is
// no rule, each with the reason.
var unsupported = []struct {
	pattern *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`(?i)"!?@inspectFile\b`), "@inspectFile starts programs, which the WAF does not"},
	{regexp.MustCompile(`(?i)"!?@(?:pmFromDataset|ipMatchFromDataset)\b`), "data sets are mixed up between reloads; use a data file (@pmFromFile, @ipMatchFromFile)"},
	{regexp.MustCompile(`(?i)"!?@(?:rbl|geoLookup)\b`), "the operator asks others during a request, which the WAF does not"},
	{regexp.MustCompile(`(?i)[",\s]exec\s*:`), "exec starts programs, which the WAF does not"},
}

// reserved refuses what a rule text may not use.
func reserved(r *Rules) error {
	var errs []error
	for _, d := range r.directives {
		if strings.EqualFold(d.name, "SecRxPreFilter") && !strings.EqualFold(strings.TrimSpace(d.args), "Off") {
			errs = append(errs, fault{d, "the filter of regular expressions loses matches; leave it Off"})
		}
		if id := d.ruleID(); ownIDs <= id && id <= ownIDsEnd {
			errs = append(errs, fault{d, fmt.Sprintf("the rule ids %d to %d are Bulwark's own", ownIDs, ownIDsEnd)})
		}
		if strings.Contains(strings.ToLower(d.args), "tx."+ownPrefix) {
			errs = append(errs, fault{d, "variables with the prefix tx." + ownPrefix + " are Bulwark's own"})
		}
		for _, u := range unsupported {
			if u.pattern.MatchString(d.args) {
				errs = append(errs, fault{d, u.reason})
			}
		}
	}
	return errors.Join(errs...)
}
