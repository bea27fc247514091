package compression

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.ResponseHook     = (*Plugin)(nil)
	_ l7.ResponseBodyHook = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "compression", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	order     []coding
	minLength int64
	types     map[string]bool // media types, and "text/*"
	encoders  *encoders
}

// New prepares the encoders.
func New(cfg Config, env plugins.Env) (any, error) {
	inUse := env.State.Value("compression encoders", func() any { return new(atomic.Int64) }).(*atomic.Int64)
	e, err := newEncoders(cfg.Levels, inUse)
	if err != nil {
		return nil, err
	}
	p := &Plugin{minLength: int64(cfg.MinLength), types: make(map[string]bool), encoders: e}
	for _, name := range cfg.Algorithms {
		for c := range codings {
			if codingNames[c] == name {
				p.order = append(p.order, c)
			}
		}
	}
	for _, t := range cfg.ContentTypes {
		p.types[strings.ToLower(t)] = true
	}
	return p, nil
}

// Response gives answers without content, to HEAD and 304, the Vary and the ETag
// that the content would have come with.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	h := &x.Resp.Header
	switch {
	case x.Resp.Status == http.StatusNotModified:
		if !p.transformable(h) {
			return l7.Next
		}
	case x.Req.Method != http.MethodHead || !p.compressible(x):
		return l7.Next
	}
	addVary(h)
	if choose(&x.Req.Header, p.order) != codingNone && !noTransform(&x.Req.Header) {
		weaken(h)
	}
	return l7.Next
}

// transformable reports whether the content a 304 stands for may be compressed.
// It often has no type, and its length tells nothing.
func (p *Plugin) transformable(h *l7.Header) bool {
	contentType, ok := h.Known(l7.FieldContentType)
	return !h.Has(l7.FieldContentEncoding) && !noTransform(h) && (!ok || p.compresses(contentType))
}

// ResponseBody compresses what the client can decode.
func (p *Plugin) ResponseBody(x *l7.Exchange) l7.BodyFilter {
	if !p.compressible(x) {
		return nil
	}
	h := &x.Resp.Header
	addVary(h)
	c := choose(&x.Req.Header, p.order)
	if c == codingNone || noTransform(&x.Req.Header) {
		return nil
	}
	f := p.encoders.take(c)
	if f == nil {
		return nil
	}
	for _, name := range [...]string{"Accept-Ranges", "Content-MD5", "Digest", "Content-Digest"} {
		h.Del(name)
	}
	weaken(h)
	h.Add("Content-Encoding", codingNames[c])
	x.Resp.Size = -1
	return f
}

// compressible reports whether the answer is compressed for clients that can
// decode it.
func (p *Plugin) compressible(x *l7.Exchange) bool {
	h := &x.Resp.Header
	if x.Resp.Size >= 0 && x.Resp.Size < p.minLength || x.Resp.Status == http.StatusPartialContent ||
		h.Has(l7.FieldContentEncoding) || noTransform(h) {
		return false
	}
	if _, ok := h.Get("Content-Range"); ok {
		return false
	}
	contentType, ok := h.Known(l7.FieldContentType)
	return ok && p.compresses(contentType)
}

// compresses reports whether content of a type is compressed.
func (p *Plugin) compresses(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.Trim(kind, " \t"))
	if p.types[kind] {
		return true
	}
	slash := strings.IndexByte(kind, '/')
	return slash >= 0 && (p.types[kind[:slash+1]+"*"] || p.types["*/*"])
}

// noTransform reports whether Cache-Control forbids to change the content
// (RFC 9111 sections 5.2.1.6 and 5.2.2.6).
func noTransform(h *l7.Header) bool {
	for _, f := range h.Fields() {
		if f.ID != l7.FieldOther || !strings.EqualFold(f.Name, "Cache-Control") {
			continue
		}
		for directive := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.Trim(directive, " \t"), "no-transform") {
				return true
			}
		}
	}
	return false
}

// weaken makes a strong ETag weak.
func weaken(h *l7.Header) {
	if tag, ok := h.Get("ETag"); ok && !strings.HasPrefix(tag, "W/") {
		h.Set("ETag", "W/"+tag)
	}
}

// addVary adds Accept-Encoding to Vary, unless it stands there.
func addVary(h *l7.Header) {
	for _, f := range h.Fields() {
		if f.ID != l7.FieldOther || !strings.EqualFold(f.Name, "Vary") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if name = strings.Trim(name, " \t"); name == "*" || strings.EqualFold(name, acceptEncoding) {
				return
			}
		}
	}
	h.Add("Vary", acceptEncoding)
}
