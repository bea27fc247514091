package waf

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Connection is what is known of a request before its first byte.
type Connection struct {
	RequestID      string
	Client, Server netip.AddrPort
	ServerName     string // the host that the request is for, without a port
}

// Fields are the fields of a head, in the order and spelling they came in,
// repeated ones included.
type Fields interface {
	Len() int
	At(i int) (name, value string)
}

// RequestHead is the head of a request as it was sent.
type RequestHead struct {
	Method, Target string
	Proto          string // "HTTP/1.1", "HTTP/2", "HTTP/3"
	Fields         Fields
}

// ResponseHead is the head of a response as the upstream sent it.
type ResponseHead struct {
	Status int
	Proto  string
	Fields Fields
}

// transaction is Coraza's, with the methods that its interface leaves out.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
	RemoveRuleByIDRange(start, end int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
	DetectionOnlyInterruption() *types.Interruption
}

// settable is what a single variable of Coraza's also is (see set).
type settable interface{ Set(value string) }

// Inspection is that of one exchange. Its methods are called in this order, by
// one goroutine at a time: RequestHead, RequestBody, ResponseHead, ResponseBody
// and End, the latter exactly once whatever came before. RequestBody and
// ResponseBody are called for messages without content too, with none: rules
// that look at the whole message run there.
type Inspection struct {
	profile *Profile
	conn    Connection

	// The request as it was sent, for what looks at it without a transaction.
	method, target, path string
	contentType          string // the first Content-Type field of the request, as sent
	processor            Processor
	responseType         string

	tx          transaction
	verdict     Verdict
	refused     int // status; 0: the exchange was not refused before the rules were asked
	uninspected []string
	always      bool           // End makes an event whatever there is to tell
	audit       *AuditSettings // nil: no record is made
	auditBody   []byte
	auditCut    bool
	proto       string // of the request
	status      int    // of the response
	stage       stage
	phases      [4]time.Duration
}

// stage is how far an inspection has come.
type stage int

const (
	begun stage = iota
	requestHead
	requestBody
	responseHead
	responseBody
	ended
)

// TellAlways lets End make an event even if there is nothing to tell but that.
func (i *Inspection) TellAlways() { i.always = true }

// Begin starts an inspection.
func (p *Profile) Begin(c Connection) *Inspection {
	return &Inspection{profile: p, conn: c}
}

// End runs the rules of the logging phase and gives the transaction back. The
// event is nil if nothing matched that is to be told, nothing was left
// uninspected and nothing failed.
func (i *Inspection) End() (e *Event) {
	if i.stage == ended {
		return nil
	}
	i.stage = ended
	if i.tx == nil {
		return i.eventWithRecord()
	}
	defer func() {
		if p := recover(); p != nil {
			i.fault(p)
			e = i.eventWithRecord()
		}
	}()
	i.tx.ProcessLogging()
	e = i.eventWithRecord()
	tx := i.tx
	i.tx = nil
	if err := tx.Close(); err != nil {
		i.verdict.Err = err
		if e == nil {
			e = i.event()
		}
	}
	return e
}

// Verdict is what the inspection has come to so far.
func (i *Inspection) Verdict() Verdict { return i.verdict }

// Phases are the times that the four steps took: request head and body,
// response head and body.
func (i *Inspection) Phases() [4]time.Duration { return i.phases }

// guard ends a step: it takes its time, and makes of a panic the verdict on
// this one exchange.
func (i *Inspection) guard(v *Verdict, start time.Time, phase int) {
	i.phases[phase] = time.Since(start)
	if p := recover(); p != nil {
		i.fault(p)
		*v = i.verdict
	}
}

// fault leaves the transaction alone after a panic: nobody knows what state it
// is in, so it is never used again.
func (i *Inspection) fault(p any) {
	i.profile.engine.panics.Add(1)
	if i.tx != nil {
		dropUploads(i.tx)
		i.tx = nil
	}
	i.broken(fmt.Errorf("the rule engine panicked: %v\n%s", p, debug.Stack()))
}

// dropUploads removes the temporary files of a transaction that is not closed.
func dropUploads(tx transaction) {
	defer func() { _ = recover() }() // what is left is swept by the next start
	for _, path := range tx.Variables().FilesTmpNames().Get("") {
		_ = os.Remove(path)
	}
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

// addrOf writes an address as rules compare it: without brackets, zone and the
// form that an IPv4 address has within IPv6.
func addrOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
