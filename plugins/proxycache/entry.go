package proxycache

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
)

// entry is a stored answer or, without a reply, an index: it says which fields
// the answers under a key depend on. It is immutable, but for its
// place in the store, which its shard's lock guards.
type entry struct {
	key  key
	cost int64
	ends int64 // sock.Now at which it is forgotten

	// Of an index: the names in Vary, sorted, in lower case, and what tells the
	// keys of its answers from those of an index that was here before.
	vary       []string
	generation uint64

	reply       *l7.Reply
	notModified *l7.Reply // the answer to a request that names etag; nil if there is none
	etag        string
	size        int64 // of an answer to HEAD
	made        int64 // sock.Now at which its age was 0
	fresh       int64 // nanoseconds from made for which it is fresh
	noStale     bool
	hexKey      string // of the primary key, as clients are shown it

	// How long it may be used once it is stale, in nanoseconds, while it is asked
	// for anew and if that goes wrong (RFC 5861).
	whileAsked, ifError int64

	resource uint16 // whose answer it is; see store.forgotten
	asked    int64  // sock.Now at which its request came

	visited      atomic.Bool
	age          atomic.Pointer[ageText]
	newer, older *entry
}

// ageText is an age in seconds as it stands in Age.
type ageText struct {
	seconds int64
	text    string
}

// ageAt returns the entry's age in nanoseconds.
func (e *entry) ageAt(now int64) int64 { return max(now-e.made, 0) }

// ageField returns the value of Age. Its text is made once a second.
func (e *entry) ageField(now int64) string {
	s := e.ageAt(now) / int64(time.Second)
	if t := e.age.Load(); t != nil && t.seconds == s {
		return t.text
	}
	t := &ageText{s, strconv.FormatInt(s, 10)}
	e.age.Store(t)
	return t.text
}

// matches reports whether the values of If-None-Match name the entry
// (RFC 9110 section 13.1.2).
func (e *entry) matches(list string) bool {
	for list != "" {
		var tag string
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		weak := strings.TrimPrefix(list, "W/")
		if weak == "" || weak[0] != '"' {
			return false
		}
		end := strings.IndexByte(weak[1:], '"')
		if end < 0 {
			return false
		}
		tag, list = weak[:end+2], weak[end+2:]
		if tag == strings.TrimPrefix(e.etag, "W/") {
			return true
		}
	}
	return false
}

// takeHead gives the entry the head of the answer of x, in copies.
func (e *entry) takeHead(x *l7.Exchange, m *miss) {
	r := &x.Resp
	e.hexKey, e.size = m.shown, r.Size
	fields := storedFields(&r.Header)
	var text strings.Builder
	for _, f := range fields {
		text.WriteString(f.Name)
		text.WriteString(f.Value)
	}
	rest := text.String() // all names and values in one string of our own
	cut := func(n int) (s string) {
		s, rest = rest[:n], rest[n:]
		return s
	}
	for i := range fields {
		fields[i].Name, fields[i].Value = cut(len(fields[i].Name)), cut(len(fields[i].Value))
	}
	if !r.Header.Has(l7.FieldDate) {
		date := time.Now().UTC().Format(http.TimeFormat)
		fields = append(fields, l7.Field{Name: "Date", Value: date, ID: l7.FieldDate})
	}
	e.reply = &l7.Reply{Status: r.Status, Header: fields}
	if r.Status == http.StatusOK {
		e.notModified = e.validators()
	}
	e.cost = entryCost + int64(text.Len())
}

// setContent gives the entry its content, which it keeps.
func (e *entry) setContent(content []byte) {
	e.reply.Body, e.size = content, int64(len(content))
	e.cost += int64(cap(content))
}

// storedFields returns the fields of an answer that are stored: not those of the
// connection, nor what the cache itself tells.
func storedFields(h *l7.Header) []l7.Field {
	fields := make([]l7.Field, 0, h.Len()+1)
	for _, f := range h.Fields() {
		switch f.ID {
		case l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxyConnection, l7.FieldProxyAuthenticate,
			l7.FieldTE, l7.FieldTrailer, l7.FieldTransferEncoding, l7.FieldUpgrade, l7.FieldContentLength:
			continue
		case l7.FieldOther:
			if strings.EqualFold(f.Name, "Age") || strings.EqualFold(f.Name, statusField) || strings.EqualFold(f.Name, keyField) {
				continue
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// validators sets the entry's tag and returns the 304 for who has the answer
// already (RFC 9110 section 15.4.5), or nil if it has no tag.
func (e *entry) validators() *l7.Reply {
	r := &l7.Reply{Status: http.StatusNotModified}
	for _, f := range e.reply.Header {
		switch strings.ToLower(f.Name) {
		case "etag":
			e.etag = f.Value
		case "cache-control", "content-location", "date", "expires", "vary":
		default:
			continue
		}
		r.Header = append(r.Header, f)
	}
	if e.etag == "" {
		return nil
	}
	return r
}
