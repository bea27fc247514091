package waf_test

import (
	"slices"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestReplayIsInspection judges events anew by other settings, and holds that
// against inspecting the same requests by those settings.
func TestReplayIsInspection(t *testing.T) {
	e := coreRules(t)
	const sqli, xss = "1%27%20UNION%20SELECT%20password%20FROM%20users--%20-", "%3Cscript%3Ealert(1)%3C/script%3E"
	old := waf.Settings{Mode: waf.Block, DetectionLevel: 4}
	for name, tt := range map[string]struct {
		target string
		s      waf.Settings
		want   string // the action after
	}{
		"same":                 {"/?id=" + sqli, old, "deny"},
		"detects":              {"/?id=" + sqli, waf.Settings{Mode: waf.Detect}, "pass"},
		"higher threshold":     {"/?id=" + xss, waf.Settings{Mode: waf.Block, InboundThreshold: 1000}, "pass"},
		"target everywhere":    {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:id"}}}, "pass"},
		"target by pattern":    {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:/^i/"}}}, "pass"},
		"another target":       {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:q"}}}, "deny"},
		"one of two targets":   {"/?id=" + sqli + "&q=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Target: "ARGS:q"}}}, "deny"},
		"tag on its path":      {"/search?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Path: "/search"}}}, "pass"},
		"tag on another path":  {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Path: "/search"}}}, "deny"},
		"tag by method":        {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{Tags: []string{"attack-sqli"}, Methods: []string{"POST"}}}}, "deny"},
		"one rule of many":     {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{IDs: []string{"942100"}}}}, "deny"},
		"a range":              {"/?id=" + sqli, waf.Settings{Mode: waf.Block, Exclusions: []waf.Exclusion{{IDs: []string{"942000-942999"}}}}, "pass"},
		"a higher level":       {"/?id=union%20of%20workers;%20--", waf.Settings{Mode: waf.Block, ParanoiaLevel: 4}, "deny"},
		"level 2 is not asked": {"/?id=" + xss, waf.Settings{Mode: waf.Block, InboundThreshold: 1}, "deny"},
	} {
		t.Run(name, func(t *testing.T) {
			m := get(tt.target)
			_, before := inspect(profile(t, e, old), m)
			if before == nil {
				t.Fatal("the old settings tell nothing")
			}
			p := profile(t, e, tt.s)
			got := p.Replayer().Replay(before)
			_, after := inspect(p, m)
			action, would, inbound := "pass", "", 0
			var left []int
			if after != nil {
				action, would, inbound = after.Action, after.Would, after.Scores.Inbound.Blocking
				left = ruleIDs(after)
			}
			if got.After.Action != tt.want || got.After != (waf.Outcome{Action: action, Would: would}) || got.Inbound != inbound && len(got.Unsure) == 0 {
				t.Errorf("replay says %v with %d (%q), an inspection %s %s with %d", got.After, got.Inbound, got.Unsure, action, would, inbound)
			}
			for _, id := range ruleIDs(before) {
				gone := slices.ContainsFunc(got.Gone, func(v waf.Vanished) bool { return v.Rule == id })
				if gone == slices.Contains(left, id) {
					t.Errorf("rule %d: gone %v, but an inspection has %v", id, gone, left)
				}
			}
		})
	}
}

// ruleIDs are the rules of an event, without those that judge scores.
func ruleIDs(e *waf.Event) (ids []int) {
	for _, m := range e.Matches {
		if m.Rule < 949000 {
			ids = append(ids, m.Rule)
		}
	}
	return ids
}

// TestReplayUnsure says what cannot be known.
func TestReplayUnsure(t *testing.T) {
	e := coreRules(t)
	p := profile(t, e, waf.Settings{Mode: waf.Block})
	score := waf.Score{Blocking: 5, Levels: [4]int{5}, Threshold: 5}
	for name, tt := range map[string]struct {
		event waf.Event
		want  waf.Outcome
		gone  int
		notes int
	}{
		"a limit decided":       {waf.Event{Action: "deny", Status: 413, Detection: 1}, waf.Outcome{Action: "deny"}, 0, 1},
		"a rule that is gone":   {waf.Event{Action: "deny", Rule: 949110, Detection: 1, Matches: []waf.Match{{Rule: 123456, Phase: 2, Level: 1, Severity: "critical"}}, Scores: waf.Scores{Inbound: score}}, waf.Outcome{Action: "pass"}, 1, 1},
		"a rule of its own":     {waf.Event{Action: "deny", Rule: 200002, Detection: 1, Matches: []waf.Match{{Rule: 200002, Phase: 2, Severity: "critical"}}}, waf.Outcome{Action: "deny"}, 0, 0},
		"an old event":          {waf.Event{Action: "pass"}, waf.Outcome{Action: "pass"}, 0, 1},
		"a score of its own":    {waf.Event{Action: "deny", Rule: 949110, Detection: 1, Matches: []waf.Match{{Rule: 123456, Phase: 2, Level: 1, Severity: "notice"}}, Scores: waf.Scores{Inbound: score}}, waf.Outcome{Action: "pass"}, 1, 2},
		"an answer":             {waf.Event{Action: "deny", Rule: 959100, Detection: 1, Scores: waf.Scores{Outbound: waf.Score{Levels: [4]int{4}}}}, waf.Outcome{Action: "deny"}, 0, 0},
		"it would have, and so": {waf.Event{Action: "pass", Would: "deny", Rule: 949110, Detection: 1, Scores: waf.Scores{Inbound: score}}, waf.Outcome{Action: "deny"}, 0, 0},
		"refused, and it would": {waf.Event{Action: "refused", Would: "deny", Rule: 949110, Detection: 1, Scores: waf.Scores{Inbound: score}}, waf.Outcome{Action: "refused", Would: "deny"}, 0, 0},
		"refused, and gone":     {waf.Event{Action: "refused", Would: "deny", Rule: 949110, Detection: 1, Matches: []waf.Match{{Rule: 123456, Phase: 2, Level: 1, Severity: "critical"}}, Scores: waf.Scores{Inbound: score}}, waf.Outcome{Action: "refused"}, 1, 0},
		"refused, by its rule":  {waf.Event{Action: "refused", Would: "drop", Rule: 200002, Detection: 1, Matches: []waf.Match{{Rule: 200002, Phase: 2, Severity: "critical"}}}, waf.Outcome{Action: "refused", Would: "drop"}, 0, 0},
		"refused, a limit":      {waf.Event{Action: "refused", Would: "deny", Detection: 1}, waf.Outcome{Action: "refused", Would: "deny"}, 0, 1},
	} {
		got := p.Replayer().Replay(&tt.event)
		if got.After != tt.want || len(got.Gone) != tt.gone || len(got.Unsure) != tt.notes {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
