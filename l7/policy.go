package l7

import (
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// HeaderPolicy says which fields of ours an answer carries (Kong's "headers"
// setting), whose word on forwarding is taken (Kong's "trusted_ips"), and which
// field of theirs names the client.
type HeaderPolicy struct {
	Product string // "bulwark/1.2": Server and Via

	Via, Server                                    bool
	UpstreamLatency, ProxyLatency, ResponseLatency bool
	UpstreamStatus, RequestID                      bool

	trusted     *bart.Lite // nil: nobody
	realIP      RealIP
	realIPField FieldID   // of realIP.Header
	via         [2]string // for HTTP/1 and for HTTP/2 and later
}

// NewHeaderPolicy returns the policy of Kong's tokens: server_tokens,
// latency_tokens, X-Kong-..., Server, Via, or off.
func NewHeaderPolicy(product string, tokens []string, trusted []netip.Prefix) *HeaderPolicy {
	p := &HeaderPolicy{Product: product, via: [2]string{"1.1 " + product, "2 " + product}}
	for _, t := range tokens {
		switch t {
		case "off":
			*p = HeaderPolicy{Product: product, via: p.via}
		case "server_tokens":
			p.Server, p.Via = true, true
		case "latency_tokens":
			p.UpstreamLatency, p.ProxyLatency, p.ResponseLatency = true, true, true
		case "Server":
			p.Server = true
		case "Via":
			p.Via = true
		case "X-Kong-Upstream-Latency":
			p.UpstreamLatency = true
		case "X-Kong-Proxy-Latency":
			p.ProxyLatency = true
		case "X-Kong-Response-Latency":
			p.ResponseLatency = true
		case "X-Kong-Upstream-Status":
			p.UpstreamStatus = true
		case "X-Kong-Request-Id":
			p.RequestID = true
		}
	}
	if len(trusted) > 0 {
		p.trusted = new(bart.Lite)
		for _, prefix := range trusted {
			p.trusted.Insert(prefix)
		}
	}
	return p
}

// Trusts reports whether the peer's X-Forwarded fields are believed.
func (p *HeaderPolicy) Trusts(peer netip.Addr) bool {
	return p.trusted != nil && p.trusted.Contains(peer)
}

// ViaRequest returns the Via element for a request that came in by proto.
func (p *HeaderPolicy) ViaRequest(proto Proto) string {
	if proto >= HTTP2 {
		return p.via[1]
	}
	return p.via[0]
}

// addVia adds us to Via. Several such fields are one list (RFC 9110 section
// 5.3), which then stands in place of the first.
func (p *HeaderPolicy) addVia(h *Header) {
	if !h.Has(FieldVia) {
		h.AddField(Field{Name: "Via", Value: p.via[0], ID: FieldVia})
		return
	}
	var list string
	for _, f := range h.Fields() {
		if f.ID == FieldVia {
			list += f.Value + ", "
		}
	}
	h.Set("Via", list+p.via[0])
}

// apply adds our fields to the final head.
func (p *HeaderPolicy) apply(x *Exchange) {
	h := &x.Resp.Header
	if x.Proxied {
		if p.UpstreamLatency {
			h.AddField(Field{Name: "X-Kong-Upstream-Latency", Value: millis(x.answered - x.forwarded)})
		}
		if p.ProxyLatency {
			h.AddField(Field{Name: "X-Kong-Proxy-Latency", Value: millis(x.forwarded - x.started)})
		}
		if p.Via {
			p.addVia(h)
		}
		if p.UpstreamStatus {
			h.AddField(Field{Name: "X-Kong-Upstream-Status", Value: strconv.Itoa(x.Resp.Status)})
		}
		if !h.Has(FieldDate) {
			h.AddField(Field{Name: "Date", Value: x.pipeline.Shared.date.now(x.answered), ID: FieldDate})
		}
	} else {
		if !h.Has(FieldDate) {
			h.AddField(Field{Name: "Date", Value: x.pipeline.Shared.date.now(x.answered), ID: FieldDate})
		}
		if p.Server && !h.Has(FieldServer) {
			h.AddField(Field{Name: "Server", Value: p.Product, ID: FieldServer})
		}
		if p.ResponseLatency {
			h.AddField(Field{Name: "X-Kong-Response-Latency", Value: millis(x.answered - x.started)})
		}
	}
	if p.RequestID {
		h.AddField(Field{Name: "X-Kong-Request-Id", Value: x.ID, ID: FieldXKongRequestID})
	}
}

// smallNumbers holds the texts of the latencies that are worth no allocation.
var smallNumbers = func() (t [1000]string) {
	for i := range t {
		t[i] = strconv.Itoa(i)
	}
	return t
}()

// millis returns nanoseconds as whole milliseconds.
func millis(ns int64) string {
	ms := max(ns, 0) / int64(time.Millisecond)
	if ms < int64(len(smallNumbers)) {
		return smallNumbers[ms]
	}
	return strconv.FormatInt(ms, 10)
}

// dateClock makes the text of Date (RFC 9110 section 6.6.1) once a second.
type dateClock struct {
	last atomic.Pointer[dateText]
}

type dateText struct {
	until int64 // sock.Now until which the text may be used
	text  string
}

func (c *dateClock) now(at int64) string {
	if d := c.last.Load(); d != nil && at < d.until {
		return d.text
	}
	t := time.Now()
	d := &dateText{
		until: at + int64(time.Second) - int64(t.Nanosecond()),
		text:  t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"),
	}
	c.last.Store(d)
	return d.text
}
