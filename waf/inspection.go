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
	i := new(Inspection)
	i.Begin(p, c)
	return i
}

// Begin starts the inspection i, which is new and part of what its caller keeps
// of the exchange, which saves an allocation.
func (i *Inspection) Begin(p *Profile, c Connection) { i.profile, i.conn = p, c }

// RequestHead inspects the head of the request.
func (i *Inspection) RequestHead(h *RequestHead) (v Verdict) {
	if i.stage != begun {
		return i.verdict
	}
	i.stage = requestHead
	start := time.Now()
	defer i.guard(&v, start, 0)

	i.method, i.target, i.path = h.Method, h.Target, pathOf(h.Target)
	tx, err := i.profile.engine.begin(i.conn.RequestID)
	if err != nil {
		return i.broken(err)
	}
	i.tx = tx
	tx.ProcessConnection(addrOf(i.conn.Client), int(i.conn.Client.Port()), addrOf(i.conn.Server), int(i.conn.Server.Port()))
	tx.SetServerName(i.conn.ServerName)
	vars := tx.Variables().TX()
	for _, v := range i.profile.variables {
		vars.Set(v.name, v.values)
	}
	tx.ProcessURI(h.Target, h.Method, h.Proto)
	separate(tx.Variables().ArgsGet())
	if over := i.requestFields(h.Fields); over != "" {
		if v, denied := i.beyond(over, 431); denied {
			return v
		}
	}
	for n := range i.profile.exclusions {
		if x := &i.profile.exclusions[n]; x.applies(i.method, i.path) {
			x.apply(tx)
		}
	}
	i.chooseProcessor()
	return i.interrupted(tx.ProcessRequestHeaders())
}

// requestFields hands the fields to the engine, and tells which cap they are
// beyond, if any. Their names are copied: Coraza tells values apart by where
// the bytes of their names lie, and an engine may use one name for many fields.
func (i *Inspection) requestFields(fields Fields) (beyond string) {
	names := ownNames(fields)
	left := i.profile.settings.Caps.Cookies
	cookies := false
	for n := range fields.Len() {
		name, value := fields.At(n)
		name, names = names[:len(name)], names[len(name):]
		switch len(name) {
		case len("Cookie"):
			if strings.EqualFold(name, "Cookie") {
				cookies = true
				if left -= strings.Count(value, ";") + 1; left < 0 {
					beyond = beyondCookies
					continue
				}
			}
		case len("Content-Type"):
			if i.contentType == "" && strings.EqualFold(name, "Content-Type") {
				i.contentType = value
			}
		case len("Content-Encoding"):
			if i.profile.settings.DecodedRequests && strings.EqualFold(name, "Content-Encoding") && CanDecode(value) {
				i.tx.RemoveRuleTargetByID(920450, variables.RequestHeadersNames, "content-encoding", nil)
			}
		}
		i.tx.AddRequestHeader(name, value)
	}
	if cookies {
		separate(i.tx.Variables().RequestCookies())
	}
	return beyond
}

// ownNames returns the names of all fields, one after the other, as bytes of
// their own.
func ownNames(fields Fields) string {
	size := 0
	for n := range fields.Len() {
		name, _ := fields.At(n)
		size += len(name)
	}
	var all strings.Builder
	all.Grow(size)
	for n := range fields.Len() {
		name, _ := fields.At(n)
		all.WriteString(name)
	}
	return all.String()
}

// chooseProcessor sets how the body will be parsed if that is not the rules' to
// say. They may still say otherwise for types that the profile does not name.
func (i *Inspection) chooseProcessor() {
	t := mediaType(i.contentType)
	if p, ok := i.profile.processors.of(t); ok {
		i.processor = p
	} else if isBinary(t) {
		i.setProcessor(Raw)
		return
	}
	if i.processor != "" && i.processor != Uninspected {
		i.setProcessor(i.processor)
	}
}

func (i *Inspection) setProcessor(p Processor) {
	set(i.tx.Variables().RequestBodyProcessor(), string(p))
}

// RequestBodyWanted reports whether the content of the request is inspected. If
// it is not, RequestBody is called without it, and it may be passed on at once.
// It is to be asked only for requests that have content.
func (i *Inspection) RequestBodyWanted() bool {
	if i.tx == nil || i.stage != requestHead || i.verdict.Action != Pass {
		return false
	}
	switch {
	case i.processor == Uninspected:
		i.Leave("request_body: content type")
		return false
	case !i.tx.IsRequestBodyAccessible():
		i.Leave("request_body: rules")
		return false
	}
	return true
}

// RequestBody inspects the content of the request, nil if it has none. It is
// called once. If whole is false, b is the beginning and the rest is passed on
// unseen, which the profile may deny. b is not kept.
func (i *Inspection) RequestBody(b []byte, whole bool) (v Verdict) {
	if i.stage >= requestBody || i.verdict.Action != Pass || i.tx == nil {
		return i.verdict
	}
	i.stage = requestBody
	start := time.Now()
	defer i.guard(&v, start, 1)

	s := &i.profile.settings
	if int64(len(b)) > s.RequestBody.Limit {
		b, whole = b[:s.RequestBody.Limit], false
	}
	if !whole {
		i.Leave("request_body: limit")
		if s.RequestBody.Beyond == Reject && s.Mode == Block {
			return i.deny(413, 0)
		}
		i.cutShort()
	}
	cut := !whole
	if i.processor != "" && i.processor != Uninspected {
		i.setProcessor(i.processor) // the profile has the last word
	}
	processor := Processor(i.tx.Variables().RequestBodyProcessor().Get())
	if over := s.Caps.exceeded(processor, i.contentType, b); over != "" {
		if v, denied := i.beyond(over, 400); denied {
			return v
		}
		b, cut = nil, false
	}
	if cut {
		b = completed(processor, i.contentType, b)
	}
	if len(b) > smallBody {
		if t := i.profile.engine.turns; t.take() {
			defer t.done()
		} else if v, denied := i.busy("request_body: busy"); denied {
			return v
		} else {
			b = nil
		}
	}
	if len(b) > 0 {
		if it, _, err := i.tx.WriteRequestBody(b); err != nil {
			return i.broken(err)
		} else if it != nil {
			return i.interrupted(it)
		}
	}
	it, err := i.tx.ProcessRequestBody()
	if err != nil {
		return i.broken(err)
	}
	if it == nil && cut && i.unparsed() {
		v, _ := i.beyond("request_body: unparsed beginning", 400)
		return v
	}
	return i.interrupted(it)
}

// cutShort tells the engine that it sees only the beginning of the body, which
// then need not be well formed.
func (i *Inspection) cutShort() {
	set(i.tx.Variables().InboundDataError(), "1")
	i.tx.RemoveRuleByID(200002)
}

// unparsed reports whether the engine made nothing of the body because it could
// not parse it.
func (i *Inspection) unparsed() bool {
	v := i.tx.Variables()
	return v.RequestBodyError().Get() == "1" &&
		len(v.ArgsPost().FindAll()) == 0 && len(v.Files().FindAll()) == 0 && len(v.RequestXML().FindAll()) == 0
}

// ResponseHead inspects the head of the response.
func (i *Inspection) ResponseHead(h *ResponseHead) (v Verdict) {
	if i.stage >= responseHead || i.verdict.Action != Pass || i.tx == nil {
		return i.verdict
	}
	if i.stage < requestBody {
		i.Leave("request_body: not handed over")
	}
	i.stage = responseHead
	start := time.Now()
	defer i.guard(&v, start, 2)

	names := ownNames(h.Fields)
	for n := range h.Fields.Len() {
		name, value := h.Fields.At(n)
		name, names = names[:len(name)], names[len(name):]
		if i.responseType == "" && strings.EqualFold(name, "Content-Type") {
			i.responseType = mediaType(value)
		}
		i.tx.AddResponseHeader(name, value)
	}
	// Coraza compares types as they are spelt.
	set(i.tx.Variables().ResponseContentType(), i.responseType)
	if slices.Contains(i.profile.forced, i.responseType) {
		i.tx.Variables().TX().Set(txResponseBody, []string{"1"})
	}
	return i.interrupted(i.tx.ProcessResponseHeaders(h.Status, h.Proto))
}

// ResponseBodyWanted reports whether the content of the response is inspected.
// If it is not, ResponseBody is called without it, and it may be passed on at
// once.
func (i *Inspection) ResponseBodyWanted() bool {
	return i.tx != nil && i.stage == responseHead && i.verdict.Action == Pass &&
		i.tx.IsResponseBodyAccessible() && i.tx.IsResponseBodyProcessable() &&
		slices.Contains(i.profile.types, i.responseType)
}

// ResponseBody inspects the content of the response, as RequestBody does that
// of the request.
func (i *Inspection) ResponseBody(b []byte, whole bool) (v Verdict) {
	if i.stage != responseHead || i.verdict.Action != Pass || i.tx == nil {
		return i.verdict
	}
	i.stage = responseBody
	start := time.Now()
	defer i.guard(&v, start, 3)

	s := &i.profile.settings
	if int64(len(b)) > s.ResponseBody.Limit {
		b, whole = b[:s.ResponseBody.Limit], false
	}
	if !whole {
		i.Leave("response_body: limit")
		if s.ResponseBody.Beyond == Reject && s.Mode == Block {
			return i.deny(500, 0)
		}
		set(i.tx.Variables().OutboundDataError(), "1")
	}
	if i.tx.Variables().ResponseBodyProcessor().Get() == string(JSON) && jsonDeeper(b, s.Caps.JSONDepth) {
		if v, denied := i.beyond(beyondJSON, 500); denied {
			return v
		}
		b = nil
	}
	if len(b) > smallBody {
		if t := i.profile.engine.turns; t.take() {
			defer t.done()
		} else if v, denied := i.busy("response_body: busy"); denied {
			return v
		} else {
			b = nil
		}
	}
	if len(b) > 0 {
		if it, _, err := i.tx.WriteResponseBody(b); err != nil {
			return i.broken(err)
		} else if it != nil {
			return i.interrupted(it)
		}
	}
	it, err := i.tx.ProcessResponseBody()
	if err != nil {
		return i.broken(err)
	}
	return i.interrupted(it)
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
