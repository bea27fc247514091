package waf

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/types"
)

// Bounds of an event.
const (
	maxMatches = 200 // rules
	maxTargets = 10  // variables of a rule
	maxValue   = 256 // bytes of a value
	maxText    = 512 // bytes of a message, and of a request target

	maxSearched = 64 << 10  // bytes of a value in which secrets are looked for
	maxMasked   = 768 << 10 // bytes that are searched for one event; what comes after is masked whole
	maxSecrets  = 64        // secrets of an event; with more of them every value is masked
	maskMargin  = 1 << 10   // bytes behind what is told of a value that are searched too
)

// Event is what is told of one exchange in which something matched. Values are
// cut, and secrets masked; control characters are escaped where it is written.
type Event struct {
	RequestID  string     `json:"request_id"`
	Client     netip.Addr `json:"client"`
	Server     netip.Addr `json:"server"`
	ServerName string     `json:"server_name,omitempty"`
	Listener   string     `json:"listener,omitempty"` // for the caller to fill in,
	Route      string     `json:"route,omitempty"`    // and this
	Service    string     `json:"service,omitempty"`  // and this
	Method     string     `json:"method"`
	Target     string     `json:"target"`
	Mode       string     `json:"mode"` // detect, block
	Level      int        `json:"paranoia_level,omitempty"`
	Detection  int        `json:"detection_paranoia_level,omitempty"` // that of the rules that were asked
	Action     string     `json:"action"`                             // pass, deny, drop, redirect: what was done; refused: it was before the rules were asked
	Would      string     `json:"would,omitempty"`
	Status     int        `json:"status,omitempty"`
	Rule       int        `json:"rule,omitempty"` // the one that decided, or would have
	Matches    []Match    `json:"matches,omitempty"`
	More       int        `json:"more_matches,omitempty"` // that are not listed
	Scores     Scores     `json:"scores"`

	// Uninspected is what the rules have not seen, and why.
	Uninspected []string `json:"uninspected,omitempty"`
	Error       string   `json:"error,omitempty"`

	// Record is the audit record, if one was wanted.
	Record *AuditRecord `json:"-"`
}

// Routine reports whether there is nothing to tell: nothing has matched, nothing was
// left uninspected, and nothing failed.
func (e *Event) Routine() bool {
	return len(e.Matches) == 0 && len(e.Uninspected) == 0 && e.Action == Pass.String() && e.Error == ""
}

// Match is a rule that matched.
type Match struct {
	Rule       int      `json:"rule"`
	Phase      int      `json:"phase"`
	Level      int      `json:"paranoia_level,omitempty"`
	Severity   string   `json:"severity,omitempty"`
	Message    string   `json:"message,omitempty"`
	Data       string   `json:"data,omitempty"`
	Targets    []Target `json:"targets,omitempty"`
	More       int      `json:"more_targets,omitempty"` // that are not listed
	Tags       []string `json:"tags,omitempty"`
	Version    string   `json:"version,omitempty"`
	File       string   `json:"file,omitempty"`
	Line       int      `json:"line,omitempty"`
	Disruptive bool     `json:"disruptive,omitempty"` // it has ended the exchange
}

// Target is a variable that a rule matched in.
type Target struct {
	Variable string `json:"variable"` // with its key: ARGS:id
	Value    string `json:"value"`
}

// Scores are the anomaly scores of the Core Rule Set, by side and category.
type Scores struct {
	Inbound  Score `json:"inbound"`
	Outbound Score `json:"outbound"`

	SQLInjection    int `json:"sql_injection,omitempty"`
	XSS             int `json:"xss,omitempty"`
	RFI             int `json:"rfi,omitempty"`
	LFI             int `json:"lfi,omitempty"`
	RCE             int `json:"rce,omitempty"`
	PHPInjection    int `json:"php_injection,omitempty"`
	HTTPViolation   int `json:"http_violation,omitempty"`
	SessionFixation int `json:"session_fixation,omitempty"`
}

// Score is that of one side: what counts, what counts at the detection level,
// and what the rules of each paranoia level gave.
type Score struct {
	Blocking  int    `json:"blocking"`
	Detection int    `json:"detection"`
	Levels    [4]int `json:"levels"`
	Threshold int    `json:"threshold"`
}

// Refused is the action of an event whose exchange was refused before the rules
// were asked.
const Refused = "refused"

// names of actions, as events tell them.
var actionNames = [...]string{Pass: "pass", Deny: "deny", Drop: "drop", Redirect: "redirect"}

// String is the action's name.
func (a Action) String() string { return actionNames[a] }

// logged is what Coraza's matched rules tell of themselves beside their interface.
type logged interface{ Log() bool }

// matched are the rules that matched and want to be told of.
func (i *Inspection) matched() (matched []types.MatchedRule) {
	if i.tx == nil {
		return nil
	}
	for _, m := range i.tx.MatchedRules() {
		if l, ok := m.(logged); ok && l.Log() {
			matched = append(matched, m)
		}
	}
	return matched
}

// eventWithRecord makes the event, and the audit record if one is wanted.
func (i *Inspection) eventWithRecord() *Event {
	e := i.event()
	if e != nil && i.audit != nil {
		e.Record = i.record(e)
	}
	return e
}

// event makes the event of the exchange, or nil if there is nothing to tell.
func (i *Inspection) event() *Event {
	matched := i.matched()
	if len(matched) == 0 && len(i.uninspected) == 0 && i.verdict.Action == Pass && i.verdict.Err == nil && !i.always {
		return nil
	}
	e := &Event{
		RequestID: i.conn.RequestID, Client: i.conn.Client.Addr().Unmap(), Server: i.conn.Server.Addr().Unmap(),
		ServerName: i.conn.ServerName, Method: cut(i.method, maxValue), Mode: "detect",
		Action: i.verdict.Action.String(), Status: i.verdict.Status, Rule: i.verdict.Rule,
		Uninspected: i.uninspected,
		Level:       i.profile.settings.ParanoiaLevel, Detection: i.profile.settings.DetectionLevel,
	}
	if i.profile.settings.Mode == Block {
		e.Mode = "block"
	}
	if i.verdict.Err != nil {
		e.Error, _, _ = strings.Cut(i.verdict.Err.Error(), "\n")
		e.Error = cut(e.Error, maxText)
	}
	if i.refused != 0 {
		i.refusedEvent(e)
	}
	if i.tx == nil {
		e.Target = (&secrets{left: maxMasked}).conceal(i.target, maxText)
		return e
	}
	if would := i.tx.DetectionOnlyInterruption(); would != nil {
		e.Would, e.Rule = would.Action, would.RuleID
	}
	if len(matched) > maxMatches {
		e.More = len(matched) - maxMatches
		matched = matched[:maxMatches]
	}
	secrets := i.secrets()
	found := *secrets
	i.secret = &found
	e.Target = secrets.conceal(i.target, maxText)
	for _, m := range matched {
		e.Matches = append(e.Matches, i.match(m, secrets))
	}
	e.Scores = scores(i.tx.Variables().TX())
	return e
}

// refusedEvent tells what was done before the rules were asked, and what they
// would have.
func (i *Inspection) refusedEvent(e *Event) {
	if i.verdict.Action != Pass {
		e.Would = e.Action
	}
	e.Action, e.Status = Refused, i.refused
}

// match tells one matched rule.
func (i *Inspection) match(m types.MatchedRule, secrets *secrets) Match {
	meta := m.Rule()
	r := i.profile.engine.byID[meta.ID()]
	out := Match{
		Rule: meta.ID(), Phase: int(meta.Phase()), Tags: meta.Tags(), Version: meta.Version(),
		File: r.file, Line: r.line, Level: paranoiaLevel(meta.Tags()),
		Disruptive: i.verdict.Action != Pass && i.refused == 0 && i.verdict.Rule == meta.ID(),
	}
	if s := meta.Severity(); s != types.RuleSeverityUnset {
		out.Severity = s.String()
	}
	hidden := false
	for _, d := range m.MatchedDatas() {
		t := Target{Variable: d.Variable().Name()}
		if t.Variable == "UNKNOWN" { // an action without variables
			continue
		}
		if len(out.Targets) == maxTargets {
			out.More++
			continue
		}
		if isSecret(t.Variable, d.Key()) {
			hidden = true
			t.Value = mask
		} else {
			t.Value = secrets.conceal(d.Value(), maxValue)
		}
		if d.Key() != "" {
			t.Variable += ":" + secrets.conceal(d.Key(), maxValue)
		}
		out.Targets = append(out.Targets, t)
	}
	out.Message = secrets.conceal(m.Message(), maxText)
	out.Data = secrets.concealData(m.Data(), hidden)
	return out
}

// paranoiaLevel reads the level of a rule from its tags, 0 if it has none.
func paranoiaLevel(tags []string) int {
	for _, t := range tags {
		if level, ok := strings.CutPrefix(t, "paranoia-level/"); ok && len(level) == 1 && '1' <= level[0] && level[0] <= '4' {
			return int(level[0] - '0')
		}
	}
	return 0
}

// scores reads the scores from the variables that the rules keep them in.
func scores(tx collection.Map) Scores {
	number := func(name string) int {
		values := tx.Get(name)
		if len(values) == 0 {
			return 0
		}
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return 0
		}
		return n
	}
	side := func(name string) Score {
		s := Score{
			Blocking:  number("blocking_" + name + "_anomaly_score"),
			Detection: number("detection_" + name + "_anomaly_score"),
			Threshold: number(name + "_anomaly_score_threshold"),
		}
		for l := range s.Levels {
			s.Levels[l] = number(name + "_anomaly_score_pl" + strconv.Itoa(l+1))
		}
		return s
	}
	return Scores{
		Inbound: side("inbound"), Outbound: side("outbound"),
		SQLInjection: number("sql_injection_score"), XSS: number("xss_score"), RFI: number("rfi_score"),
		LFI: number("lfi_score"), RCE: number("rce_score"), PHPInjection: number("php_injection_score"),
		HTTPViolation: number("http_violation_score"), SessionFixation: number("session_fixation_score"),
	}
}

// cut shortens s to max bytes, not within a character, and says so.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && s[max]&0xc0 == 0x80 {
		max--
	}
	return s[:max] + "..."
}
