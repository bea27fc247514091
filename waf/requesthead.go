package waf

import (
	"net/netip"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// RequestHead inspects the head of the request.
func (i *Inspection) RequestHead(h *RequestHead) (v Verdict) {
	if i.stage != begun {
		return i.verdict
	}
	i.stage = requestHead
	start := time.Now()
	defer i.guard(&v, start, 0)

	i.method, i.target, i.path, i.proto = h.Method, h.Target, pathOf(h.Target), h.Proto
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

// addrOf writes an address as rules compare it: without brackets, zone and the
// form that an IPv4 address has within IPv6.
func addrOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
