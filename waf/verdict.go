package waf

import (
	"slices"

	"github.com/corazawaf/coraza/v3/types"
)

// Action is what to do with an exchange.
type Action int

const (
	Pass     Action = iota
	Deny            // answer with the verdict's status
	Drop            // close without an answer
	Redirect        // answer with the verdict's status and location
)

// Verdict is what an inspection has come to so far. Once it is not Pass, it
// stays so.
type Verdict struct {
	Action   Action
	Status   int    // of the answer, with Deny and Redirect
	Location string // with Redirect
	Rule     int    // the one that decided, or 0

	// Err is what kept the engine from inspecting. The verdict is then Deny
	// with 500, or Pass if the profile fails open or only detects.
	Err error
}

// broken is the verdict when the engine could not inspect.
func (i *Inspection) broken(err error) Verdict {
	i.verdict = Verdict{Err: err}
	if !i.profile.settings.FailOpen && i.profile.settings.Mode == Block {
		i.verdict.Action, i.verdict.Status = Deny, 500
	}
	i.Leave("error")
	return i.verdict
}

// busy notes that there was no turn for a body, which is denied unless the
// profile fails open or only detects.
func (i *Inspection) busy(what string) (Verdict, bool) {
	i.Leave(what)
	if i.profile.settings.FailOpen || i.profile.settings.Mode != Block {
		return i.verdict, false
	}
	return i.deny(503, 0), true
}

// beyond notes what is not inspected, and denies it if the profile wants that.
func (i *Inspection) beyond(what string, status int) (Verdict, bool) {
	i.Leave(what)
	if i.profile.settings.Mode != Block || i.profile.settings.Caps.Beyond != Reject {
		return i.verdict, false
	}
	return i.deny(status, 0), true
}

func (i *Inspection) deny(status, rule int) Verdict {
	i.verdict = Verdict{Action: Deny, Status: status, Rule: rule}
	return i.verdict
}

// Refuse denies the exchange for something that its caller could not hand over
// to be inspected, such as content of an unknown coding. If the profile only
// detects, that is noted, and the exchange goes on.
func (i *Inspection) Refuse(status int, what string) Verdict {
	i.Leave(what)
	if i.verdict.Action != Pass || i.profile.settings.Mode != Block {
		return i.verdict
	}
	return i.deny(status, 0)
}

// Refused tells that the request was answered with status before the rules were
// asked: they are for the event alone, which says what they would have done. It
// is to be called first.
func (i *Inspection) Refused(status int) { i.refused = status }

// Leave notes in the event that something was not inspected, and why:
// "request_body: stream".
func (i *Inspection) Leave(what string) {
	if !slices.Contains(i.uninspected, what) {
		i.uninspected = append(i.uninspected, what)
	}
}

// interrupted turns what the engine says into a verdict.
func (i *Inspection) interrupted(it *types.Interruption) Verdict {
	if it == nil {
		return i.verdict
	}
	switch it.Action {
	case "drop":
		i.verdict = Verdict{Action: Drop, Rule: it.RuleID}
	case "redirect":
		i.verdict = Verdict{Action: Redirect, Status: it.Status, Location: it.Data, Rule: it.RuleID}
	default:
		status := it.Status
		if status < 400 || status > 599 {
			status = 403
		}
		i.verdict = Verdict{Action: Deny, Status: status, Rule: it.RuleID}
	}
	return i.verdict
}
