package waf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Replayer judges stored events anew by a profile. An event tells which rules
// matched and where, but not the request: so exclusions, levels, thresholds, the
// mode, and rules that are gone are taken into account, while what new or changed
// rules would find cannot be known. For use by one goroutine at a time.
type Replayer struct {
	profile    *Profile
	thresholds [2]int         // inbound, outbound
	points     map[string]int // that a match of a severity gives
}

// Outcome is what became of an exchange, or would.
type Outcome struct {
	Action string `json:"action"`
	Would  string `json:"would,omitempty"` // in mode detect: what mode block would have done
}

// String is the outcome for people.
func (o Outcome) String() string {
	if o.Would != "" {
		return o.Action + " (mode block: " + o.Would + ")"
	}
	return o.Action
}

// Replay is what replaying an event has found.
type Replay struct {
	Before   Outcome
	After    Outcome
	Inbound  int // that counts, after
	Outbound int
	Gone     []Vanished
	Unsure   []string // why it may be otherwise
}

// Vanished is a match that would not be there any more.
type Vanished struct {
	Rule int    `json:"rule"`
	Why  string `json:"why"`
}

// Replayer asks the rules for their thresholds and points by a request of its own.
func (p *Profile) Replayer() *Replayer {
	r := &Replayer{profile: p, thresholds: [2]int{5, 4}, points: map[string]int{"critical": 5, "error": 4, "warning": 3, "notice": 2}}
	i := p.Begin(Connection{})
	defer i.End()
	i.RequestHead(&RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: emptyFields{}})
	if i.tx == nil {
		return r
	}
	read := func(into *int, name string) {
		if v := i.tx.Variables().TX().Get(name); len(v) > 0 {
			if n, err := strconv.Atoi(v[0]); err == nil {
				*into = n
			}
		}
	}
	read(&r.thresholds[0], "inbound_anomaly_score_threshold")
	read(&r.thresholds[1], "outbound_anomaly_score_threshold")
	for severity, n := range r.points {
		read(&n, severity+"_anomaly_score")
		r.points[severity] = n
	}
	return r
}

// emptyFields are the fields of a head that has none.
type emptyFields struct{}

func (emptyFields) Len() int                { return 0 }
func (emptyFields) At(int) (string, string) { return "", "" }

// Replay judges an event anew.
func (r *Replayer) Replay(e *Event) Replay {
	out := Replay{Before: Outcome{e.Action, e.Would}}
	unsure := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(out.Unsure, s) {
			out.Unsure = append(out.Unsure, s)
		}
	}
	s := &r.profile.settings
	var known, lost [2][4]int // points of all matches, and of those that are gone
	kept := false             // the rule that decided
	for k := range e.Matches {
		m := &e.Matches[k]
		if overlapsProtected(m.Rule, m.Rule) {
			continue // what they would say is worked out below
		}
		all := countable(m.Targets)
		why, left := r.judge(e, m)
		side, level := sideOf(m.Phase), m.Level-1
		if 0 <= level && level < 4 {
			known[side][level] += r.points[m.Severity] * max(1, all+m.More)
			lost[side][level] += r.points[m.Severity] * (max(1, all+m.More) - left)
		}
		switch {
		case why != "" && left == 0:
			out.Gone = append(out.Gone, Vanished{m.Rule, why})
		case m.Rule == e.Rule:
			kept = true
		}
	}
	scores := [2]Score{e.Scores.Inbound, e.Scores.Outbound}
	var blocking [2]int
	for side := range scores {
		for l := range s.ParanoiaLevel {
			before, gone := scores[side].Levels[l], lost[side][l]
			if gone > 0 && known[side][l] != before {
				unsure("the score of level %d is not that of the matches, so what is left of it is a guess", l+1)
			}
			blocking[side] += max(0, before-gone)
		}
	}
	out.Inbound, out.Outbound = blocking[0], blocking[1]
	if s.ParanoiaLevel > e.Detection {
		unsure("rules above level %d were not asked", e.Detection)
	}
	if e.More > 0 {
		unsure("%d matches are not in the event", e.More)
	}
	action := r.decide(e, blocking, kept, unsure)
	if out.After = (Outcome{Action: action}); s.Mode == Detect || e.Action == Refused {
		out.After = Outcome{Action: Pass.String()}
		if e.Action == Refused {
			out.After.Action = Refused // that was not for the rules to say
		}
		if action != Pass.String() {
			out.After.Would = action
		}
	}
	if e.Action != Pass.String() && out.After.Action == Pass.String() {
		unsure("the exchange ended early, so later rules were not asked")
	}
	return out
}

// decide returns what mode block would do, given the scores, and whether the rule
// that decided is still there.
func (r *Replayer) decide(e *Event, blocking [2]int, kept bool, unsure func(string, ...any)) string {
	said := e.Action
	if said == Pass.String() || said == Refused {
		said = cmp.Or(e.Would, Pass.String())
	}
	switch {
	case blocking[0] >= r.thresholds[0], blocking[1] >= r.thresholds[1]:
		return Deny.String()
	case e.Rule != 0 && kept:
		return said
	case e.Rule == 0 && said != Pass.String():
		unsure("no rule but a limit or an error has decided, which is not judged anew")
		return said
	}
	return Pass.String()
}

// judge returns why a match, or a part of it, would not be there any more, and how
// many of its targets are left.
func (r *Replayer) judge(e *Event, m *Match) (why string, left int) {
	p := r.profile
	all := max(1, countable(m.Targets)+m.More)
	rule, ok := p.engine.byID[m.Rule]
	if !ok {
		return "the rules have it no more", 0
	}
	if level := paranoiaLevel(rule.tags); level > p.settings.DetectionLevel {
		return fmt.Sprintf("its level, %d, is not asked", level), 0
	}
	path := pathOf(e.Target)
	left = all
	var gone []bool
	for n := range p.exclusions {
		x := &p.exclusions[n]
		if !x.applies(e.Method, path) || !x.removes(m.Rule) {
			continue
		}
		if !x.targeted {
			return "it is left out", 0
		}
		if gone == nil {
			gone = make([]bool, len(m.Targets))
		}
		for k := range m.Targets {
			if !gone[k] && !follows(m.Targets[k].Variable) && x.covers(m.Targets[k].Variable) {
				gone[k] = true
				left--
			}
		}
	}
	if left < all {
		why = "what it matched in is left out"
	}
	return why, left
}

// covers reports whether an exclusion's target is a variable of an event.
func (c *exclusion) covers(variable string) bool {
	name, key, _ := strings.Cut(variable, ":")
	v, err := variables.Parse(name)
	switch {
	case err != nil || v != c.variable:
		return false
	case c.pattern != nil:
		return c.pattern.MatchString(strings.ToLower(key))
	}
	return c.key == "" || strings.EqualFold(c.key, key)
}

// countable is the number of targets that a rule looks at itself.
func countable(targets []Target) int {
	n := 0
	for _, t := range targets {
		if !follows(t.Variable) {
			n++
		}
	}
	return n
}

// follows reports whether a variable holds what another rule of a chain has matched.
func follows(variable string) bool { return strings.HasPrefix(variable, "MATCHED_VAR") }

// sideOf returns 0 for phases of the request, 1 for those of the response.
func sideOf(phase int) int {
	if phase >= 3 {
		return 1
	}
	return 0
}
