package l7

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/upstream"
)

// HashKind is a part of the request that consistent hashing goes by.
type HashKind uint8

// The kinds, in the order of Kong's upstreams[].hash_on.
const (
	HashNone HashKind = iota
	HashConsumer
	HashIP
	HashHeader
	HashCookie
	HashPath
	HashQueryArg
	HashURICapture
	hashKindCount
)

var hashKindNames = [hashKindCount]string{"none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"}

// ParseHashKind returns the kind of a name.
func ParseHashKind(name string) (HashKind, bool) {
	i := slices.Index(hashKindNames[:], name)
	return HashKind(max(i, 0)), i >= 0
}

// HashSource is where a hash comes from.
type HashSource struct {
	Kind HashKind
	Name string // of the header field, cookie, query argument or capture
}

// HashPolicy says what an upstream's consistent hashing goes by. It is
// immutable.
type HashPolicy struct {
	On, Fallback HashSource
	CookiePath   string // of the cookie that a client without one is given
}

// Hash returns what the balancer goes by; false if the request has nothing to
// hash. setCookie is the Set-Cookie value of a cookie that the client lacked,
// which the answer is to carry, or "".
func (p *HashPolicy) Hash(x *Exchange) (hash uint32, ok bool, setCookie string) {
	for _, source := range [...]HashSource{p.On, p.Fallback} {
		v := source.value(x)
		if v == "" && source.Kind == HashCookie {
			v = newUUID()
			setCookie = source.Name + "=" + v + "; Path=" + p.CookiePath + "; Same-Site=Lax; HttpOnly"
		}
		if v != "" {
			return upstream.Hash(v), true, setCookie
		}
	}
	return 0, false, ""
}

// value returns the text to hash, or "" if the request has none.
func (s HashSource) value(x *Exchange) string {
	switch s.Kind {
	case HashConsumer:
		if x.Consumer != nil {
			return x.Consumer.ID.String()
		}
	case HashIP:
		return x.ClientIP()
	case HashHeader:
		return joinField(&x.Req.Header, s.Name)
	case HashCookie:
		v, _ := cookieValue(&x.Req.Header, s.Name)
		return v
	case HashPath:
		return x.Path
	case HashQueryArg:
		return joinArgs(x.Req.Query, s.Name)
	case HashURICapture:
		v, _ := x.Capture(s.Name)
		return v
	}
	return ""
}

// joinField returns the values of all fields of a name, one behind the other.
func joinField(h *Header, name string) string {
	first, ok := h.Get(name)
	if !ok {
		return ""
	}
	id, joined, n := LookupField(name), "", 0
	for i := range h.fields {
		if h.fields[i].is(id, name) {
			joined += h.fields[i].Value
			n++
		}
	}
	if n == 1 {
		return first
	}
	return joined
}

// joinArgs returns the values of all query arguments of a name, sorted, one
// behind the other.
func joinArgs(query, name string) string {
	var values []string
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if v != "" && unescapeArg(k) == name {
			values = append(values, unescapeArg(v))
		}
	}
	slices.Sort(values)
	return strings.Join(values, "")
}

// unescapeArg decodes a part of a query; one that is not well-formed is taken
// as it is.
func unescapeArg(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

// cookieValue returns the value of a cookie (RFC 6265 section 4.2).
func cookieValue(h *Header, name string) (string, bool) {
	if !h.Has(FieldCookie) {
		return "", false
	}
	for i := range h.fields {
		if h.fields[i].ID != FieldCookie {
			continue
		}
		for pair := range strings.SplitSeq(h.fields[i].Value, ";") {
			if k, v, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && k == name {
				return v, true
			}
		}
	}
	return "", false
}

// newUUID returns a random UUID (RFC 9562 section 5.4). Like request ids it
// tells things apart and is no secret.
func newUUID() string {
	var d [IDDigits]byte
	PutID(d[:])
	d[12], d[16] = '4', "89ab"[d[16]&3]
	return string(d[:8]) + "-" + string(d[8:12]) + "-" + string(d[12:16]) + "-" + string(d[16:20]) + "-" + string(d[20:])
}
