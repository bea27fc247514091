package waf

import (
	"slices"
	"strings"
	"time"
)

// ResponseHead inspects the head of the response.
func (i *Inspection) ResponseHead(h *ResponseHead) (v Verdict) {
	if i.stage >= responseHead || i.verdict.Action != Pass || i.tx == nil {
		return i.verdict
	}
	if i.stage < requestBody {
		i.Leave("request_body: not handed over")
	}
	i.stage, i.status, i.responseProto = responseHead, h.Status, h.Proto
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
