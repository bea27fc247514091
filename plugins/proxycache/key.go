package proxycache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// key is what an answer is stored under.
type key [sha256.Size]byte

// maxSortedArgs bounds the query arguments that are sorted. A query with more is
// taken as it stands, so that its order makes a difference.
const maxSortedArgs = 64

// keyRoom is what a key is usually made of, in bytes; a longer text moves to the
// heap.
const keyRoom = 1 << 10

// toldFields are what a trusted peer may tell of the client's leg, which the
// upstream then believes. Telling it without being trusted only makes a key of
// one's own.
var toldFields = [...]l7.FieldID{
	l7.FieldXForwardedProto, l7.FieldXForwardedHost, l7.FieldXForwardedPort, l7.FieldXForwardedPath, l7.FieldXForwardedPrefix,
}

// keyOf returns the key of a request with the given method: of the instance's
// store and what its answers depend on, the route, the consumer and, if there is
// one, the credentials that the upstream is sent all the same, the scheme,
// the port, the authority, the path and the query as they were asked for and as
// they are sent, what plugins have made of the request, and the header fields
// that were configured.
func (p *Plugin) keyOf(x *l7.Exchange, method string) key {
	var room [keyRoom]byte
	b := append(room[:0], p.seed[:]...)
	if x.Route != nil {
		b = append(b, x.Route.Entity.ID[:]...)
	}
	if x.Consumer != nil {
		b = append(append(b, 'c'), x.Consumer.ID[:]...)
		b = appendAuthorization(b, x.HeaderToSend())
	}
	b = appendText(b, method)
	b = appendText(b, x.Upstream.Method)
	b = appendText(b, x.Conn.Scheme())
	b = appendLower(b, x.Req.Authority)
	b = appendText(b, x.Upstream.Host)
	if p.ignoreCase {
		b = appendLower(appendLower(b, x.Path), x.Upstream.Path)
	} else {
		b = appendText(appendText(b, x.Path), x.Upstream.Path)
	}
	// The path is told to the upstream as it was written.
	if x.Req.Path != x.Path {
		b = appendText(append(b, 'p'), x.Req.Path)
	}
	b = appendQuery(b, x.Upstream.Query, p.varyQuery)
	// Arguments that a plugin took away may have become something else.
	if x.Req.Query != x.Upstream.Query {
		b = appendText(append(b, 'r'), x.Req.Query)
	}
	for _, f := range x.Req.Header.Fields() {
		if slices.Contains(toldFields[:], f.ID) {
			b = appendText(append(b, 't', byte(f.ID)), f.Value)
			if x.Req.Header.Nominates(&f) {
				b = append(b, 'n')
			}
		}
	}
	b = append(b, 'e')
	for _, name := range p.varyHeaders {
		b = appendField(b, x, name)
	}
	return sha256.Sum256(appendEdited(b, x))
}

// appendAuthorization appends the credentials that the upstream is sent. A
// consumer may be a program of many users, or whoever has not said who they are.
func appendAuthorization(b []byte, h *l7.Header) []byte {
	for _, f := range h.Fields() {
		if f.ID == l7.FieldAuthorization {
			b = appendText(append(b, 'a'), f.Value)
		}
	}
	return b
}

// place is where an answer is stored beside what its key, which clients are
// shown, tells: the port a client came to, and what plugins in front of the
// cache make of answers, which is another after a reload with other rules.
type place struct {
	port  uint16
	shape uint64
}

// placeOf is called by the Request hook, whose place in the order counts.
func placeOf(x *l7.Exchange) place { return place{x.Conn.Local.Port(), x.Shape()} }

// at returns the key of k at a place.
func (k key) at(p place) key {
	var b [len(k) + 2 + 8]byte
	copy(b[:], k[:])
	binary.LittleEndian.PutUint16(b[len(k):], p.port)
	binary.LittleEndian.PutUint64(b[len(k)+2:], p.shape)
	return sha256.Sum256(b[:])
}

// resource returns which of the store's marks stands for the URI of a request
// (RFC 9111 section 4.4), whatever its method, scheme, port and fields, without
// the query arguments that answers do not depend on. That some URIs share a mark
// makes one be forgotten with another now and then.
func (p *Plugin) resource(x *l7.Exchange) uint16 { return markOf(x, p.varyQuery) }

// wholeResource is resource with all arguments, by which instances with other
// vary_query_params tell what they have changed.
func (p *Plugin) wholeResource(x *l7.Exchange) uint16 { return markOf(x, nil) }

func markOf(x *l7.Exchange, varyQuery []string) uint16 {
	var room [keyRoom]byte
	b := appendText(room[:0], x.Host)
	b = appendLower(b, x.Path)
	k := sha256.Sum256(appendQuery(b, x.Req.Query, varyQuery))
	return binary.LittleEndian.Uint16(k[:])
}

// appendText appends s so that nothing else appends the same.
func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// appendLower is appendText of s in lower case (ASCII).
func appendLower(b []byte, s string) []byte {
	b = appendText(b, s)
	for i := len(b) - len(s); i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}

// appendField appends the values of the fields of a name that the upstream is
// sent.
func appendField(b []byte, x *l7.Exchange, name string) []byte {
	id := l7.LookupField(name)
	for _, f := range x.HeaderToSend().Fields() {
		if f.ID == id && len(f.Name) == len(name) && strings.EqualFold(f.Name, name) && !x.Nominated(&f) {
			b = appendText(append(b, 'v'), f.Value)
		}
	}
	return append(b, 'e')
}

// quietFields are names of fields that make no key of their own when a plugin
// has edited the header, but left them alone: what clients are, what they have
// already, what they send along and what is traced. They are in lower case.
var quietFields = [...]string{
	"accept-encoding", "cache-control", "connection", "content-length", "content-type", "date", "host", "if-match",
	"if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "pragma", "priority",
	"range", "te", "traceparent", "tracestate", "transfer-encoding", "upgrade", "user-agent", "via",
	"x-forwarded-for", "x-kong-request-id", "x-real-ip",
}

// idFields are names of fields that name a request. They never count, although
// they are made anew for every request. They are in lower case.
var idFields = [...]string{"correlation-id", "kong-request-id", "request-id", "x-correlation-id", "x-request-id"}

// appendEdited appends the fields that the upstream is sent, if a plugin has
// edited them: any of them may be made of what is not in the key. Who made one
// cannot be told from its value, so that those of the client count too.
func appendEdited(b []byte, x *l7.Exchange) []byte {
	h := x.HeaderToSend()
	if h == &x.Req.Header {
		return b
	}
	b = append(b, 'h')
	for _, f := range h.Fields() {
		if named(&f, idFields[:]) {
			continue
		}
		if !named(&f, quietFields[:]) || !slices.ContainsFunc(x.Req.Header.Fields(), func(g l7.Field) bool { return g == f }) {
			b = appendText(appendLower(b, f.Name), f.Value)
		}
	}
	return b
}

// named reports whether names, in lower case, has the name of f.
func named(f *l7.Field, names []string) bool {
	for _, name := range names {
		if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// appendQuery appends the arguments that answers depend on, those named in vary
// or all if that is nil, as they stand, sorted by decoded name; those of one name keep their order. What another
// reader could take for something else counts too.
func appendQuery(b []byte, query string, vary []string) []byte {
	if query == "" {
		return append(b, 'q')
	}
	var room [maxSortedArgs]string
	args := room[:0]
	for rest, more := query, true; more; {
		var arg string
		arg, rest, more = strings.Cut(rest, "&")
		name := argName(arg)
		if vary != nil && plain(arg) && !slices.ContainsFunc(vary, func(s string) bool { return isNamed(name, s) }) {
			continue
		}
		if len(args) == len(room) {
			return appendText(append(b, 'l'), query)
		}
		// A stable insertion: there are few.
		i := len(args)
		args = append(args, arg)
		for ; i > 0 && compareNames(argName(args[i-1]), name) > 0; i-- {
			args[i] = args[i-1]
		}
		args[i] = arg
	}
	for _, arg := range args {
		b = appendText(append(b, 'a'), arg)
	}
	return append(b, 'q')
}

func argName(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	return name
}

// plain reports whether all readers find the same name in an argument: it can be
// decoded, and no semicolon could end it.
func plain(arg string) bool {
	if strings.IndexByte(arg, ';') >= 0 {
		return false
	}
	name := argName(arg)
	for i := range len(name) {
		if name[i] == '%' && (i+2 >= len(name) || hexValue(name[i+1]) < 0 || hexValue(name[i+2]) < 0) {
			return false
		}
	}
	return true
}

// decodedByte returns the first byte of what s, which is not empty, stands for in
// a query, and the rest of s. A percent sign that begins no escape stands for
// itself.
func decodedByte(s string) (c byte, rest string) {
	switch {
	case s[0] == '+':
		return ' ', s[1:]
	case s[0] == '%' && len(s) > 2 && hexValue(s[1]) >= 0 && hexValue(s[2]) >= 0:
		return byte(hexValue(s[1])<<4 | hexValue(s[2])), s[3:]
	}
	return s[0], s[1:]
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// compareNames compares what two names in queries stand for.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		var c, d byte
		c, a = decodedByte(a)
		d, b = decodedByte(b)
		if c != d {
			return cmp.Compare(c, d)
		}
	}
	return cmp.Compare(len(a), len(b))
}

// isNamed reports whether a name in a query stands for name.
func isNamed(raw, name string) bool {
	for raw != "" && name != "" {
		var c byte
		if c, raw = decodedByte(raw); c != name[0] {
			return false
		}
		name = name[1:]
	}
	return raw == name
}

// variant returns the key of the answer for a request, where those under the key
// of e, an index, depend on some of its fields.
func (e *entry) variant(x *l7.Exchange) key {
	var room [keyRoom]byte
	b := append(room[:0], e.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.generation)
	for _, name := range e.vary {
		b = appendField(appendText(b, name), x, name)
	}
	return sha256.Sum256(b)
}

// seedOf returns what tells the keys of instances apart that must not share
// answers.
func seedOf(cfg *Config) key {
	b := appendText(nil, cfg.Memory.DictionaryName)
	if cfg.IgnoreURICase {
		b = append(b, 'i')
	}
	for _, list := range [...][]string{cfg.VaryQueryParams, cfg.VaryHeaders} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, s := range list {
			b = appendText(b, s)
		}
	}
	return sha256.Sum256(b)
}
