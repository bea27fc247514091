package responsetransformer

import (
	"encoding/json"
	"net/http"
	"strings"

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

// Plugin is an instance.
type Plugin struct {
	cfg                  Config
	rename               []edit.Pair // header fields, as the following
	replace, add, append []edit.Pair
	json                 rules
	editing              l7.Slot[bool] // the answer's content is edited
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
func New(cfg Config, _ plugins.Env) (any, error) {
	return &Plugin{
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

// Request asks the upstream for content that can be read, if JSON is edited.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if !p.json.empty() {
		x.UpstreamHeader().Set("Accept-Encoding", "identity")
	}
	return l7.Next
}

// invalid is what becomes of answers that cannot be edited.
var invalid = l7.Problem(http.StatusBadGateway, "An invalid response was received from the upstream server").WithReason(l7.ReasonUpstreamProtocol)

// Response changes the header fields, and refuses JSON that cannot be edited.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	if stored.Is(x) {
		return l7.Next
	}
	edits := p.edits(x)
	if edits && x.Proxied && !readable(x) {
		return x.Reply(invalid)
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
	return l7.Next
}

// edits reports whether the answer's content is JSON that is edited. What counts
// is the type the answer came with, whatever the rules make of it.
func (p *Plugin) edits(x *l7.Exchange) bool {
	if p.json.empty() {
		return false
	}
	contentType, _ := x.Resp.Header.Known(l7.FieldContentType)
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.Trim(kind, " \t")
	return kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
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
	return &filter{rules: &p.json}
}
