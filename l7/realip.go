package l7

import (
	"net/netip"
	"strings"
)

// RealIP says which field names the client when the peer is trusted: Kong's
// real_ip_header and real_ip_recursive, which are those of nginx's realip
// module.
type RealIP struct {
	Header    string // "": none; the client is who the connection says
	Recursive bool   // whether addresses that are trusted too are passed over, from the right
}

// SetRealIP sets the rule of a policy under construction and returns the
// policy.
func (p *HeaderPolicy) SetRealIP(r RealIP) *HeaderPolicy {
	p.realIP, p.realIPField = r, LookupField(r.Header)
	return p
}

// findClient notes the client whom a trusted peer speaks for in the request.
func (p *HeaderPolicy) findClient(x *Exchange) { p.findClientIn(x, &x.Req.Header) }

// findClientIn notes the client whom a trusted peer speaks for in h. What is no
// address ends the search; what was found until then counts.
func (p *HeaderPolicy) findClientIn(x *Exchange, h *Header) {
	if p.trusted == nil || p.realIP.Header == "" {
		return
	}
	c := told{addr: x.Conn.Client.Addr()}
	if !p.trusted.Contains(c.addr) {
		return
	}
	if p.realIPField == FieldXForwardedFor {
		// Several such fields are one list (RFC 9110 section 5.3).
		fields := h.Fields()
		for i := len(fields) - 1; i >= 0; i-- {
			if fields[i].ID == FieldXForwardedFor && !p.walk(&c, fields[i].Value) {
				break
			}
		}
	} else if value, ok := h.Get(p.realIP.Header); ok {
		p.walk(&c, value)
	}
	if c.word != "" {
		x.client, x.clientIP = c.addr, c.text()
	}
}

// told is an address that was told, and the word that told it.
type told struct {
	addr netip.Addr
	word string
}

// walk goes through a list of addresses from the right, for as long as the last
// one found is trusted, and returns whether it may go on beyond the list.
func (p *HeaderPolicy) walk(c *told, list string) (on bool) {
	for p.trusted.Contains(c.addr) {
		var word string
		list, word = lastWord(list)
		addr, ok := parseTold(word)
		if !ok {
			return false
		}
		c.addr, c.word = addr, word
		switch {
		case !p.realIP.Recursive:
			return false
		case list == "":
			return true
		}
	}
	return false
}

// lastWord cuts the last word off a list parted by spaces and commas. rest is
// empty if there is nothing in front of the word.
func lastWord(list string) (rest, word string) {
	list = strings.TrimRight(list, " ,")
	i := strings.LastIndexAny(list, " ,")
	return list[:max(i, 0)], list[i+1:]
}

// parseTold parses an address, or an address and a port, which is dropped.
func parseTold(s string) (netip.Addr, bool) {
	if s != "" && (s[0] == '[' || strings.Count(s, ":") == 1) {
		ap, err := netip.ParseAddrPort(s)
		return ap.Addr().Unmap(), err == nil && ap.Port() != 0 && ap.Addr().Zone() == ""
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}

// text returns the address as it is usually written; that is the word itself
// more often than not.
func (c *told) text() string {
	var b [len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")]byte
	if t := c.addr.AppendTo(b[:0]); string(t) != c.word {
		return string(t)
	}
	return c.word
}
