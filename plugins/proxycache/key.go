package proxycache

import (
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
// store and what its answers depend on, the route and the consumer, the scheme,
// the authority, the path as it was asked for and as it is sent, the query and
// the header fields that were configured.
func (p *Plugin) keyOf(x *l7.Exchange, method string) key {
	var room [keyRoom]byte
	b := append(room[:0], p.seed[:]...)
	if x.Route != nil {
		b = append(b, x.Route.Entity.ID[:]...)
	}
	if x.Consumer != nil {
		b = append(append(b, 'c'), x.Consumer.ID[:]...)
	}
	b = appendText(b, method)
	b = appendText(b, x.Conn.Scheme())
	b = appendLower(b, x.Req.Authority)
	if p.ignoreCase {
		b = appendLower(appendLower(b, x.Path), x.Upstream.Path)
	} else {
		b = appendText(appendText(b, x.Path), x.Upstream.Path)
	}
	b = p.appendQuery(b, x.Upstream.Query)
	for _, id := range toldFields {
		if v, ok := x.Req.Header.Known(id); ok {
			b = appendText(append(b, byte(id)), v)
		}
	}
	for _, name := range p.varyHeaders {
		b = appendField(b, x.HeaderToSend(), name)
	}
	return sha256.Sum256(b)
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

// appendField appends the values of the fields of a name.
func appendField(b []byte, h *l7.Header, name string) []byte {
	id := l7.LookupField(name)
	for _, f := range h.Fields() {
		if f.ID == id && len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			b = appendText(append(b, 'v'), f.Value)
		}
	}
	return append(b, 'e')
}

// appendQuery appends the arguments that answers depend on, sorted by name;
// those of one name keep their order.
func (p *Plugin) appendQuery(b []byte, query string) []byte {
	if query == "" {
		return append(b, 'q')
	}
	var room [maxSortedArgs]string
	args := room[:0]
	for rest, more := query, true; more; {
		var arg string
		arg, rest, more = strings.Cut(rest, "&")
		name, _, _ := strings.Cut(arg, "=")
		if p.varyQuery != nil && !slices.Contains(p.varyQuery, name) {
			continue
		}
		if len(args) == len(room) {
			return appendText(append(b, 'l'), query)
		}
		// A stable insertion: there are few.
		i := len(args)
		args = append(args, arg)
		for ; i > 0 && argName(args[i-1]) > name; i-- {
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

// variant returns the key of the answer for a request with the fields h, where
// those under the key of e, an index, depend on some of them.
func (e *entry) variant(h *l7.Header) key {
	var room [keyRoom]byte
	b := append(room[:0], e.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.generation)
	for _, name := range e.vary {
		b = appendField(appendText(b, name), h, name)
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
