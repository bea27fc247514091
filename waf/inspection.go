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
	responseProto        string

	tx          transaction
	verdict     Verdict
	refused     int // status; 0: the exchange was not refused before the rules were asked
	uninspected []string
	always      bool           // End makes an event whatever there is to tell
	audit       *AuditSettings // nil: no record is made
	auditBody   []byte
	auditCut    bool
	secret      *secrets // as they were found for the event; nil: they were not
	proto       string   // of the request
	status      int      // of the response
	parsed      bool     // the engine was given content of the request
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
	i := new(Inspection)
	i.Begin(p, c)
	return i
}

// Begin starts the inspection i, which is new and part of what its caller keeps
// of the exchange, which saves an allocation.
func (i *Inspection) Begin(p *Profile, c Connection) { i.profile, i.conn = p, c }

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
