package responsetransformer

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
	"github.com/bulwark-edge/bulwark/plugins/internal/stored"
)

var (
	_ l7.RequestHook      = (*Plugin)(nil)
	_ l7.ResponseHook     = (*Plugin)(nil)
	_ l7.ResponseBodyHook = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "response-transformer", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// maxContent bounds the JSON content of an answer that is edited, in bytes.
const maxContent = 8 << 20

// maxHeldBytes bounds the content, gathered and edited, that the process holds
// at once.
const maxHeldBytes = 256 << 20

// Plugin is an instance.
type Plugin struct {
	cfg                  Config
	rename               []edit.Pair // header fields, as the following
	replace, add, append []edit.Pair
	json                 rules
	editing              l7.Slot[bool] // the answer's content is edited
	held                 *atomic.Int64 // bytes of content, of the process
}

// rules are what is done to a JSON object.
type rules struct {
	remove               []string
	rename               []edit.Pair
	replace, add, append []member
}

// member is a name with a JSON text.
type member struct {
	name  string
	value []byte
}

func (r *rules) empty() bool {
	return len(r.remove)+len(r.rename)+len(r.replace)+len(r.add)+len(r.append) == 0
}

// New compiles the rules.
func New(cfg Config, env plugins.Env) (any, error) {
	return &Plugin{
		held:    env.State.Value("response-transformer content", func() any { return new(atomic.Int64) }).(*atomic.Int64),
		cfg:     cfg,
		rename:  edit.SplitPairs(cfg.Rename.Headers),
		replace: edit.SplitPairs(cfg.Replace.Headers),
		add:     edit.SplitPairs(cfg.Add.Headers),
		append:  edit.SplitPairs(cfg.Append.Headers),
		json: rules{
			remove: cfg.Remove.JSON, rename: edit.SplitPairs(cfg.Rename.JSON),
			replace: members(cfg.Replace), add: members(cfg.Add), append: members(cfg.Append),
		},
	}, nil
}

func members(v Values) []member {
	list := make([]member, len(v.JSON))
	for i, s := range v.JSON {
		p, kind := edit.SplitPair(s), ""
		if i < len(v.JSONTypes) {
			kind = v.JSONTypes[i]
		}
		list[i] = member{p.Name, jsonValue(p.Value, kind)}
	}
	return list
}

// jsonValue returns a configured value as JSON, or nil if it is not of its type.
func jsonValue(s, kind string) []byte {
	switch kind {
	case "boolean":
		if s != "true" && s != "false" {
			return nil
		}
		return []byte(s)
	case "number":
		if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || !json.Valid([]byte(s)) {
			return nil
		}
		return []byte(s)
	}
	return edit.String(s)
}

// Request asks the upstream for content that can be read, if JSON is edited: all
// of it, and without encoding.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if !p.json.empty() {
		h := x.UpstreamHeader()
		h.Set("Accept-Encoding", "identity")
		h.Del("Range")
		h.Del("If-Range")
	}
	return l7.Next
}

const invalidText = "An invalid response was received from the upstream server"

// What becomes of answers that cannot be edited.
var (
	invalid = l7.Problem(http.StatusBadGateway, invalidText).WithReason(l7.ReasonUpstreamProtocol)
	noRoom  = l7.Problem(http.StatusBadGateway, invalidText).WithReason(l7.ReasonOverLimit)
)

// Response changes the header fields, and refuses JSON that cannot be edited.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	if stored.Is(x) {
		return l7.Next
	}
	kind := mediaType(&x.Resp.Header)
	edits := !p.json.empty() && isJSON(kind)
	if x.Proxied && !p.json.empty() {
		switch {
		case edits && !readable(x), x.Resp.Status == http.StatusPartialContent && isRanges(kind):
			return x.Reply(invalid)
		case edits && p.held.Load()+max(x.Resp.Size, 0) > maxHeldBytes:
			return x.Reply(noRoom)
		}
	}
	p.editing.Set(x, edits)
	if edits {
		for _, name := range [...]string{"Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
			x.Resp.Header.Del(name)
		}
		if x.Req.Method == http.MethodHead {
			x.Resp.Size = -1 // only the content could tell
		}
	}
	p.editHeader(&x.Resp.Header)
	if len(p.cfg.Remove.Headers)+len(p.rename) > 0 {
		x.Resp.NoTrailer = true // a trailer could bring back what was removed
	}
	return l7.Next
}

// mediaType returns the type of the content, in lower case and without what
// follows it. What counts is the type the answer came with, whatever the rules
// make of it.
func mediaType(h *l7.Header) string {
	contentType, _ := h.Known(l7.FieldContentType)
	kind := strings.ToLower(strings.Trim(contentType, " \t"))
	if i := strings.IndexAny(kind, ";, \t"); i >= 0 {
		kind = kind[:i]
	}
	return kind
}

func isJSON(kind string) bool {
	return kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// isRanges reports whether content consists of several ranges, each of which may
// be of JSON.
func isRanges(kind string) bool {
	return kind == "multipart/byteranges" || kind == "multipart/x-byteranges"
}

// readable reports whether JSON content can be edited: it is whole, not encoded,
// and not too long.
func readable(x *l7.Exchange) bool {
	coding, encoded := x.Resp.Header.Known(l7.FieldContentEncoding)
	return (!encoded || strings.EqualFold(coding, "identity")) &&
		x.Resp.Status != http.StatusPartialContent && x.Resp.Size <= maxContent
}

func (p *Plugin) editHeader(h *l7.Header) {
	for _, name := range p.cfg.Remove.Headers {
		h.Del(name)
	}
	for i := range p.rename {
		edit.RenameField(h, p.rename[i].Name, p.rename[i].Value)
	}
	for i := range p.replace {
		if _, ok := h.Get(p.replace[i].Name); ok {
			h.Set(p.replace[i].Name, p.replace[i].Value)
		}
	}
	for i := range p.add {
		if _, ok := h.Get(p.add[i].Name); !ok {
			h.Add(p.add[i].Name, p.add[i].Value)
		}
	}
	for i := range p.append {
		h.Add(p.append[i].Name, p.append[i].Value)
	}
}

// ResponseBody gathers and edits JSON.
func (p *Plugin) ResponseBody(x *l7.Exchange) l7.BodyFilter {
	if !p.editing.Get(x) {
		return nil
	}
	x.Resp.Size = -1
	f := &filter{rules: &p.json}
	if x.Proxied { // our own answers are short, and tell that there is no room
		f.held = p.held
	}
	return f
}
