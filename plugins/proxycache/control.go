package proxycache

import (
	"net/http"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
)

// control are the directives of Cache-Control that a shared cache acts on
// (RFC 9111 section 5.2). Times are in seconds; -1 is a directive that is not
// there.
type control struct {
	noStore, noCache, private, public bool
	mustRevalidate, proxyRevalidate   bool
	onlyIfCached                      bool
	maxAge, sharedMaxAge              int64
	maxStale, minFresh                int64
	whileAsked, ifError               int64 // stale-while-revalidate and stale-if-error (RFC 5861)
	broken                            bool  // a time that cannot be read, or that differs from another
}

// forever is longer than any time that counts, in seconds; a directive that
// says more, and max-stale without a time, count as it.
const forever = 1 << 31

// noControl is what a message without Cache-Control says.
var noControl = control{maxAge: -1, sharedMaxAge: -1, maxStale: -1, minFresh: -1, whileAsked: -1, ifError: -1}

// controlOf reads the Cache-Control fields of a message.
func controlOf(h *l7.Header) control {
	c := noControl
	for _, f := range h.Fields() {
		if f.ID == l7.FieldOther && len(f.Name) == len("Cache-Control") && strings.EqualFold(f.Name, "Cache-Control") {
			c.read(f.Value)
		}
	}
	return c
}

// read reads the directives of one field. What is not known is passed over.
func (c *control) read(list string) {
	for list != "" {
		var name, value string
		var given bool
		name, value, given, list = nextDirective(list)
		switch {
		case strings.EqualFold(name, "no-store"):
			c.noStore = true
		case strings.EqualFold(name, "no-cache"):
			c.noCache = true // with names of fields too: not to store is always right
		case strings.EqualFold(name, "private"):
			c.private = true
		case strings.EqualFold(name, "public"):
			c.public = true
		case strings.EqualFold(name, "must-revalidate"):
			c.mustRevalidate = true
		case strings.EqualFold(name, "proxy-revalidate"):
			c.proxyRevalidate = true
		case strings.EqualFold(name, "only-if-cached"):
			c.onlyIfCached = true
		case strings.EqualFold(name, "max-age"):
			c.set(&c.maxAge, value)
		case strings.EqualFold(name, "s-maxage"):
			c.set(&c.sharedMaxAge, value)
		case strings.EqualFold(name, "stale-while-revalidate"):
			allow(&c.whileAsked, value)
		case strings.EqualFold(name, "stale-if-error"):
			allow(&c.ifError, value)
		case strings.EqualFold(name, "min-fresh"):
			c.set(&c.minFresh, value)
		case strings.EqualFold(name, "max-stale") && !given:
			c.maxStale = forever
		case strings.EqualFold(name, "max-stale"):
			c.set(&c.maxStale, value)
		}
	}
}

// set sets a time. Of several the least counts.
func (c *control) set(to *int64, value string) {
	n, ok := seconds(value)
	if !ok {
		c.broken = true
		return
	}
	if *to < 0 || n < *to {
		*to = n
	}
}

// allow sets a time for which something stale may be used; one that cannot be
// read allows nothing.
func allow(to *int64, value string) {
	if n, ok := seconds(value); ok && (*to < 0 || n < *to) {
		*to = n
	}
}

// nextDirective cuts the first directive off a list: name, value without quotes,
// whether there is a value, and the rest. A comma in quotes ends nothing.
func nextDirective(list string) (name, value string, given bool, rest string) {
	end, quoted, escaped, equals := 0, false, false, -1
	for ; end < len(list); end++ {
		c := list[end]
		switch {
		case escaped:
			escaped = false
			continue
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '=' && !quoted && equals < 0:
			equals = end
		}
		if c == ',' && !quoted {
			rest = list[end+1:]
			break
		}
	}
	directive := list[:end]
	if equals < 0 {
		return strings.Trim(directive, " \t"), "", false, rest
	}
	value = strings.Trim(directive[equals+1:], " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return strings.Trim(directive[:equals], " \t"), value, true, rest
}

// seconds reads delta-seconds (RFC 9111 section 1.2.2).
func seconds(s string) (n int64, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), forever)
	}
	return n, s != ""
}

// lifetime returns how long an answer is fresh, counted from when it was made,
// in seconds: s-maxage, max-age, or the distance of Expires from Date
// (RFC 9111 section 4.2.1). Without any of them it is 0; nothing is guessed.
func (c *control) lifetime(h *l7.Header, now time.Time) int64 {
	switch {
	case c.broken:
		return 0
	case c.sharedMaxAge >= 0:
		return c.sharedMaxAge
	case c.maxAge >= 0:
		return c.maxAge
	}
	text, ok := h.Get("Expires")
	if !ok {
		return 0
	}
	expires, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, ok := h.Known(l7.FieldDate); ok {
		if d, err := http.ParseTime(date); err == nil {
			now = d
		}
	}
	return min(max(int64(expires.Sub(now)/time.Second), 0), forever)
}

// ageOf returns how old an answer is when it comes, by its Age and Date
// (RFC 9111 section 4.2.3), in seconds.
func ageOf(h *l7.Header, now time.Time) int64 {
	var age int64
	if text, ok := h.Get("Age"); ok {
		n, ok := seconds(text)
		if !ok {
			n = forever // what cannot be read may be anything
		}
		age = n
	}
	if text, ok := h.Known(l7.FieldDate); ok {
		if d, err := http.ParseTime(text); err == nil {
			age = max(age, int64(now.Sub(d)/time.Second))
		}
	}
	return min(age, forever)
}
