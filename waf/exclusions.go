package waf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Exclusion leaves rules out, or a parameter out of rules, for some requests.
// It has at least one of IDs, Tags and Target.
type Exclusion struct {
	// IDs are rule ids ("942100") or ranges of them ("942100-942199"); Tags are
	// tags of rules. What is in either is left out, or looks no more at Target.
	// With neither, Target is left out of all rules.
	IDs, Tags []string

	// Target is a variable, perhaps with a key ("ARGS:comment", "REQUEST_BODY",
	// "REQUEST_COOKIES:/^wp-/"). Empty: whole rules are left out.
	Target string

	// Path limits it to requests whose path begins so, up to a slash or the
	// end, as sent and not decoded; Methods to these. Empty: all.
	Path    string
	Methods []string
}

// exclusion is a compiled Exclusion.
type exclusion struct {
	path     string
	methods  []string
	ids      []int    // rules one by one
	ranges   [][2]int // rules by ranges
	targeted bool
	variable variables.RuleVariable
	key      string
	pattern  *regexp.Regexp
}

// compileExclusions compiles all, or tells what is wrong with each.
func (e *Engine) compileExclusions(list []Exclusion) ([]exclusion, error) {
	var all []exclusion
	var errs []error
	for i, x := range list {
		c, err := e.compileExclusion(x)
		if err != nil {
			errs = append(errs, fmt.Errorf("exclusion %d: %w", i+1, err))
			continue
		}
		all = append(all, c)
	}
	if err := e.checkRest(all); err != nil {
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (e *Engine) compileExclusion(x Exclusion) (exclusion, error) {
	c := exclusion{path: x.Path, methods: x.Methods}
	if len(x.IDs) == 0 && len(x.Tags) == 0 && x.Target == "" {
		return c, errors.New("it names neither rules nor a target, so it would leave everything out")
	}
	if x.Path != "" && (x.Path[0] != '/' || len(x.Path) > maxPathLength) {
		return c, fmt.Errorf("the path %q does not begin with a slash, or is longer than %d bytes", x.Path, maxPathLength)
	}
	for _, m := range x.Methods {
		if !isToken(m) {
			return c, fmt.Errorf("the method %q is no token", m)
		}
	}
	for _, s := range x.IDs {
		first, last, err := parseIDs(s)
		switch {
		case err != nil:
			return c, err
		case overlapsProtected(first, last):
			return c, fmt.Errorf("the rules %q are among those that decide what is blocked", s)
		case !e.hasRule(first, last):
			return c, fmt.Errorf("there is no rule %s", s)
		case first == last:
			c.ids = append(c.ids, first)
		default:
			c.ranges = append(c.ranges, [2]int{first, last})
		}
	}
	for _, tag := range x.Tags {
		if len(e.byTag[tag]) == 0 {
			return c, fmt.Errorf("no rule has the tag %q", tag)
		}
		for _, id := range e.byTag[tag] {
			if overlapsProtected(id, id) {
				return c, fmt.Errorf("the tag %q is that of rules that decide what is blocked", tag)
			}
			c.ids = append(c.ids, id)
		}
	}
	if x.Target == "" {
		return c, nil
	}
	return c, c.setTarget(x, e)
}

// hasRule reports whether there is a rule with an id from first to last.
func (e *Engine) hasRule(first, last int) bool {
	for id := range e.byID {
		if first <= id && id <= last {
			return true
		}
	}
	return false
}

// setTarget parses the target, and lists the rules one by one, since Coraza
// takes a target out of a rule and not of a range.
func (c *exclusion) setTarget(x Exclusion, e *Engine) error {
	name, key, keyed := strings.Cut(x.Target, ":")
	v, err := variables.Parse(name)
	if err != nil {
		return fmt.Errorf("the target %q: there is no variable %q", x.Target, name)
	}
	everywhere := len(x.IDs) == 0 && len(x.Tags) == 0
	switch {
	case keyed && key == "":
		return fmt.Errorf("the target %q names no key after the colon", x.Target)
	case keyed && !v.CanBeSelected():
		return fmt.Errorf("the target %q: %s has no keys", x.Target, name)
	case !keyed && everywhere && x.Path == "":
		return fmt.Errorf("the target %q would be left out of all rules everywhere; name rules, a key or a path", x.Target)
	case v == variables.TX:
		return fmt.Errorf("the target %q: the rules keep their scores there", x.Target)
	}
	c.targeted, c.variable, c.key = true, v, key
	if len(key) > 2 && key[0] == '/' && key[len(key)-1] == '/' {
		// Keys are compared in lower case.
		if c.pattern, err = regexp.Compile(strings.ToLower(key[1 : len(key)-1])); err != nil {
			return fmt.Errorf("the target %q: %w", x.Target, err)
		}
		c.key = ""
	}
	for id := range e.byID {
		inRange := slices.ContainsFunc(c.ranges, func(r [2]int) bool { return r[0] <= id && id <= r[1] })
		if inRange || everywhere && !overlapsProtected(id, id) {
			c.ids = append(c.ids, id)
		}
	}
	c.ranges = nil
	slices.Sort(c.ids)
	c.ids = slices.Compact(c.ids)
	return nil
}

// checkRest refuses exclusions that leave no rule that detects anything.
func (e *Engine) checkRest(all []exclusion) error {
	gone := func(id int) bool {
		return slices.ContainsFunc(all, func(c exclusion) bool {
			return !c.targeted && c.path == "" && len(c.methods) == 0 && c.removes(id)
		})
	}
	detecting, left := 0, 0
	for id, r := range e.byID {
		if !slices.ContainsFunc(r.tags, func(t string) bool { return strings.HasPrefix(t, "attack-") }) {
			continue
		}
		detecting++
		if !gone(id) {
			left++
		}
	}
	if detecting > 0 && left == 0 {
		return errors.New("the exclusions leave no rule that looks for attacks; use the mode off to switch the WAF off")
	}
	return nil
}

func (c *exclusion) removes(id int) bool {
	return slices.Contains(c.ids, id) || slices.ContainsFunc(c.ranges, func(r [2]int) bool { return r[0] <= id && id <= r[1] })
}

// applies reports whether the exclusion is meant for a request.
func (c *exclusion) applies(method, path string) bool {
	if len(c.methods) > 0 && !slices.Contains(c.methods, method) {
		return false
	}
	if c.path == "" {
		return true
	}
	rest, ok := strings.CutPrefix(path, c.path)
	return ok && (rest == "" || rest[0] == '/' || c.path[len(c.path)-1] == '/') && isPlain(path)
}

// notPlain are pieces by which a path may lead elsewhere than it seems to.
var notPlain = []string{"//", "/..", "/./", `\`, "%2e", "%2f", "%5c", "%00", "%25"}

// isPlain reports whether every server takes path for the same one. An
// exclusion for one place must not be had for another by a detour.
func isPlain(path string) bool {
	path = strings.ToLower(path)
	return !strings.HasSuffix(path, "/.") && !slices.ContainsFunc(notPlain, func(piece string) bool { return strings.Contains(path, piece) })
}

// apply takes the rules or their target out of a transaction.
func (c *exclusion) apply(tx transaction) {
	if c.targeted {
		for _, id := range c.ids {
			tx.RemoveRuleTargetByID(id, c.variable, c.key, c.pattern)
		}
		return
	}
	for _, id := range c.ids {
		tx.RemoveRuleByID(id)
	}
	for _, r := range c.ranges {
		tx.RemoveRuleByIDRange(r[0], r[1])
	}
}

// pathOf is the path of a request target as sent: what stands before a query,
// without scheme and host if it has them.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	if i := strings.Index(path, "://"); i > 0 && path[0] != '/' {
		path = path[i+len("://"):]
		if slash := strings.IndexByte(path, '/'); slash >= 0 {
			return path[slash:]
		}
		return "/"
	}
	return path
}
