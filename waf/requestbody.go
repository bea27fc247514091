package waf

import (
	"time"
)

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
		if i.RefusesLong() {
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
		i.parsed = true
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

// RefusesLong reports whether content of the request that is longer than the limit
// is denied. Between RequestHead and RequestBody it depends on the content's type.
func (i *Inspection) RefusesLong() bool {
	s := &i.profile.settings
	if s.Mode != Block || i.tx == nil {
		return false
	}
	if s.RequestBody.Beyond != ByType {
		return s.RequestBody.Beyond == Reject
	}
	p := i.processor
	if p == "" {
		p = Processor(i.tx.Variables().RequestBodyProcessor().Get())
	}
	return p != Raw && p != Multipart && p != Uninspected // no processor yet: the engine takes it for a form
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
