package proxycache

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// verdict is how long an answer may be used.
type verdict struct {
	ok      bool
	age     int64 // when it came, in seconds
	fresh   int64 // from when its age was 0, in seconds
	noStale bool

	whileAsked, ifError int64 // in seconds

	vary []string // names of the fields it depends on, sorted, in lower case
}

// judge finds out whether the answer of x may be stored.
func (p *Plugin) judge(x *l7.Exchange, now time.Time) verdict {
	r := &x.Resp
	h := &r.Header
	switch {
	case !x.Proxied, r.Status == http.StatusPartialContent, r.Status == http.StatusNotModified,
		!slices.Contains(p.cfg.ResponseCode, r.Status), h.Has(l7.FieldSetCookie),
		r.Size > p.store.maxEntry(), !p.accepts(h):
		return verdict{}
	}
	vary, ok := varyOf(h)
	if !ok {
		return verdict{}
	}
	v := verdict{age: ageOf(h, now), vary: vary}
	authorized := x.HeaderToSend().Has(l7.FieldAuthorization) && x.Consumer == nil
	if !p.cfg.CacheControl {
		v.fresh = v.age + int64(p.cfg.CacheTTL)
		v.ok = !authorized
		return v
	}
	cc := controlOf(h)
	v.fresh = cc.lifetime(h, now)
	v.noStale = cc.mustRevalidate || cc.proxyRevalidate || cc.sharedMaxAge >= 0
	if !cc.mustRevalidate && !cc.proxyRevalidate {
		// What s-maxage forbids, these allow in so many words.
		v.whileAsked, v.ifError = max(cc.whileAsked, 0), max(cc.ifError, 0)
	}
	v.ok = !cc.noStore && !cc.noCache && !cc.private && v.age < v.fresh &&
		(!authorized || cc.public || cc.sharedMaxAge >= 0 || cc.mustRevalidate)
	return v
}

// accepts reports whether the answer's media type is one that is stored.
func (p *Plugin) accepts(h *l7.Header) bool {
	contentType, ok := h.Known(l7.FieldContentType)
	if !ok {
		return false
	}
	full, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	kind, subtype, _ := strings.Cut(full, "/")
	return slices.ContainsFunc(p.types, func(t mediaType) bool {
		if t.kind != "*" && t.kind != kind || t.subtype != "*" && t.subtype != subtype || len(t.params) != len(params) {
			return false
		}
		for name, value := range t.params {
			if got, ok := params[name]; !ok || got != value {
				return false
			}
		}
		return true
	})
}

// writtenFields are the fields that the forwarder writes, of every request
// others, so that what was received does not tell what an answer depends on.
var writtenFields = [...]string{"x-real-ip", "x-forwarded-for", "via", "x-kong-request-id"}

// varyOf returns the names in Vary; ok is false if nothing can tell what the
// answer depends on.
func varyOf(h *l7.Header) (names []string, ok bool) {
	for _, f := range h.Fields() {
		if f.ID != l7.FieldOther || !strings.EqualFold(f.Name, "Vary") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			switch name = strings.ToLower(strings.Trim(name, " \t")); {
			case name == "*", slices.Contains(writtenFields[:], name):
				return nil, false
			case name != "":
				names = append(names, strings.Clone(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// storable returns an entry for the answer of x, without its fields and content,
// or nil if it may not be stored.
func (p *Plugin) storable(x *l7.Exchange, m *miss) *entry {
	now := sock.Now()
	v := p.judge(x, sock.Time(now))
	if !v.ok {
		return nil
	}
	e := &entry{
		key: m.primary, noStale: v.noStale, made: now - v.age*int64(time.Second), fresh: v.fresh * int64(time.Second),
		whileAsked: v.whileAsked * int64(time.Second), ifError: v.ifError * int64(time.Second),
		resource: m.resource, asked: m.asked,
	}
	e.ends = e.made + e.fresh + max(e.whileAsked, e.ifError)
	if p.cfg.StorageTTL != nil {
		e.ends = now + int64(*p.cfg.StorageTTL)*int64(time.Second)
	}
	if len(v.vary) > 0 {
		m.index = p.index(m.primary, v.vary, e.ends, now)
		e.key = m.index.variant(x)
	}
	m.entry = e
	return e
}

// index returns the index for answers that depend on the fields in vary: the one
// that is stored, so that other answers it leads to stay, or a new one.
func (p *Plugin) index(primary key, vary []string, ends, now int64) *entry {
	index := &entry{key: primary, vary: vary, ends: ends, cost: entryCost}
	old := p.store.get(primary, now)
	if old == nil || !slices.Equal(old.vary, vary) {
		index.generation = p.store.made.Add(1)
		return index
	}
	if old.ends >= ends {
		return old
	}
	index.generation = old.generation
	return index
}

// keep puts a complete answer into the store, and its index if it has one.
func (p *Plugin) keep(m *miss) {
	if m.index != nil {
		p.store.putIndex(m.index)
	}
	p.store.put(m.entry)
}

// ResponseBody returns what copies the content on its way to the client.
func (p *Plugin) ResponseBody(x *l7.Exchange) l7.BodyFilter {
	m := p.miss.Get(x)
	if m == nil || m.entry == nil {
		return nil
	}
	m.entry.takeHead(x, m)
	p.miss.Set(x, nil) // the filter's now
	return &capture{plugin: p, miss: m, most: p.store.maxEntry(), expect: x.Resp.Size}
}

var _ l7.BodyFilter = (*capture)(nil)

// capture copies content that passes through it. Too much content, or no room,
// makes it give up; the content passes all the same.
type capture struct {
	plugin   *Plugin
	miss     *miss // nil: given up
	content  []byte
	expect   int64 // bytes the upstream has announced; -1: none
	most     int64
	reserved int64
}

// Write copies p and passes it on.
func (c *capture) Write(next io.Writer, p []byte) error {
	if c.miss != nil && !c.take(p) {
		c.plugin.store.refuse(c.miss.primary, sock.Now())
		c.Abort()
	}
	_, err := next.Write(p)
	return err
}

func (c *capture) take(p []byte) bool {
	need := int64(len(c.content) + len(p))
	if need > c.most {
		return false
	}
	if need > int64(cap(c.content)) {
		size := max(need, c.expect, min(2*int64(cap(c.content)), c.most), buf.Small)
		if !c.plugin.store.reserve(size - c.reserved) {
			return false
		}
		c.reserved = size
		c.content = append(make([]byte, 0, size), c.content...)
	}
	c.content = append(c.content, p...)
	return true
}

// Flush does nothing: nothing is held back.
func (c *capture) Flush(io.Writer) error { return nil }

// Close stores the answer.
func (c *capture) Close(io.Writer) error {
	if m := c.miss; m != nil {
		content := c.content
		if cap(content) > len(content)+len(content)/8 {
			content = append(make([]byte, 0, len(content)), content...)
		}
		m.entry.setContent(content)
		c.plugin.keep(m)
	}
	c.Abort()
	return nil
}

// Abort gives up: nothing, or nothing more, is stored.
func (c *capture) Abort() {
	c.plugin.store.taking.Add(-c.reserved)
	c.reserved, c.content = 0, nil
	if c.miss != nil {
		c.plugin.land(c.miss)
		c.miss = nil
	}
}
