package requesttransformer

import (
	"bytes"
	"mime"
	"net/http"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

var (
	_ l7.RequestHook = (*Plugin)(nil)
	_ l7.BodyReader  = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "request-transformer", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// maxBody bounds the content of a request that is edited, in bytes.
const maxBody = 8 << 20

// Plugin is an instance.
type Plugin struct {
	method              string    // "": the request's
	uri                 *template // nil: the path is left alone
	body, header, query rules
	toQuery             bool // the method is one that wants forms in the query
	retypes             bool // a header rule may change Content-Type
	refused             *telemetry.Counter
}

// New compiles the rules.
func New(cfg Config, env plugins.Env) (any, error) {
	p := &Plugin{method: cfg.HTTPMethod, refused: &env.Metrics.RefusedFields}
	if cfg.Replace.URI != "" {
		var err error
		if p.uri, err = parseTemplate(cfg.Replace.URI); err != nil {
			return nil, err
		}
	}
	for _, part := range [...]struct {
		rules                                *rules
		remove, rename, replace, add, append []string
	}{
		{&p.body, cfg.Remove.Body, cfg.Rename.Body, cfg.Replace.Body, cfg.Add.Body, cfg.Append.Body},
		{&p.header, cfg.Remove.Headers, cfg.Rename.Headers, cfg.Replace.Headers, cfg.Add.Headers, cfg.Append.Headers},
		{&p.query, cfg.Remove.Querystring, cfg.Rename.Querystring, cfg.Replace.Querystring, cfg.Add.Querystring, cfg.Append.Querystring},
	} {
		r := rules{remove: part.remove, rename: edit.SplitPairs(part.rename)}
		var err error
		for _, list := range [...]struct {
			to   *[]value
			from []string
		}{{&r.replace, part.replace}, {&r.add, part.add}, {&r.append, part.append}} {
			if *list.to, err = values(list.from); err != nil {
				return nil, err
			}
		}
		*part.rules = r
	}
	switch p.method {
	case http.MethodGet, http.MethodHead, http.MethodTrace:
		p.toQuery = true
	}
	p.retypes = p.header.touches("Content-Type")
	return p, nil
}

func values(list []string) ([]value, error) {
	var vs []value
	for _, pair := range edit.SplitPairs(list) {
		t, err := parseTemplate(pair.Value)
		if err != nil {
			return nil, err
		}
		vs = append(vs, value{pair.Name, t})
	}
	return vs, nil
}

// BodyLimit returns how much content is looked at: none of a type that the rules
// leave alone, unless they may give it another one.
func (p *Plugin) BodyLimit(x *l7.Exchange) int64 {
	if p.toQuery && isForm(&x.Req.Header) {
		return maxBody
	}
	if p.body.empty() {
		return 0
	}
	if kind, _ := mediaType(x.HeaderToSend()); !p.retypes && !editable(kind) {
		return 0
	}
	return maxBody
}

// mediaType returns the type of the content, in lower case, and its parameters.
// Of a field that cannot be read it is what a lenient reader would take for it.
func mediaType(h *l7.Header) (kind string, params map[string]string) {
	contentType, _ := h.Known(l7.FieldContentType)
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = strings.ToLower(strings.TrimSpace(contentType))
		if i := strings.IndexAny(kind, ";, \t"); i >= 0 {
			kind = kind[:i]
		}
	}
	return kind, params
}

func editable(kind string) bool {
	switch kind {
	case "application/json", formType, "multipart/form-data":
		return true
	}
	return false
}

// Prebuilt refusals.
var (
	badRequest  = l7.Problem(http.StatusBadRequest, "Bad request")
	unsupported = l7.Problem(http.StatusUnsupportedMediaType, "Unsupported media type")
)

// Request changes what the upstream is sent.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	var room [8]string
	header := p.header.render(x, room[:0])
	var query, body texts
	if !p.query.empty() {
		query = p.query.render(x, nil)
	}
	if !p.body.empty() {
		body = p.body.render(x, nil)
	}
	if p.uri != nil {
		path, ok := upstreamPath(p.uri.render(x, true))
		if !ok {
			return x.Reply(badRequest)
		}
		x.Upstream.Path = path
	}
	if p.method != "" {
		x.Upstream.Method = p.method
	}
	if p.toQuery && isForm(x.HeaderToSend()) {
		if refusal := formToQuery(x); refusal != nil {
			return x.Reply(refusal)
		}
	}
	if !p.header.empty() {
		p.header.apply(&fields{x, x.UpstreamHeader(), p.refused}, header)
		p.header.trimTrailer(x)
	}
	if !p.body.empty() { // of the type the upstream is told
		if refusal := p.editBody(x, body); refusal != nil {
			return x.Reply(refusal)
		}
	}
	if !p.query.empty() {
		a := parseArgs(x.Upstream.Query)
		p.query.apply(a, query)
		x.Upstream.Query = a.String()
		x.Upstream.HasQuery = len(a.list) > 0
	}
	return l7.Next
}

// editBody edits the content if it is of a type that can be edited.
func (p *Plugin) editBody(x *l7.Exchange, t texts) *l7.Reply {
	h := x.HeaderToSend()
	if count(h, l7.FieldContentType) > 1 {
		return badRequest // the upstream might believe the other
	}
	kind, params := mediaType(h)
	if !editable(kind) {
		return nil
	}
	if coding, ok := h.Known(l7.FieldContentEncoding); ok && !strings.EqualFold(coding, "identity") {
		return unsupported
	}
	content := x.BodyToSend()
	if content == nil {
		content = x.Body()
	}
	var edited []byte
	var err error
	switch kind {
	case "application/json":
		edited, err = p.editJSON(content, t)
	case "multipart/form-data":
		if contentType, _ := h.Known(l7.FieldContentType); extended(contentType, "boundary") {
			return badRequest // the upstream might read another boundary
		}
		edited, err = p.editParts(content, params["boundary"], t)
	default:
		edited, err = p.editForm(content, t)
	}
	if err != nil {
		return badRequest
	}
	if edited != nil && (len(edited) > 0 || len(content) > 0) {
		x.SetBody(edited)
	}
	return nil
}

// editJSON returns the edited content, or nil if it is to be left alone.
func (p *Plugin) editJSON(content []byte, t texts) ([]byte, error) {
	o := edit.NewObject()
	if len(content) > 0 {
		var err error
		if o, err = edit.ParseObject(content); o == nil || err != nil {
			return nil, err
		}
	} else if len(p.body.add)+len(p.body.append) == 0 {
		return nil, nil
	}
	p.body.apply(object{o}, t)
	return o.AppendTo(nil), nil
}

func (p *Plugin) editForm(content []byte, t texts) ([]byte, error) {
	if bytes.Count(content, []byte{'&'}) >= maxArgs {
		return nil, errArgs
	}
	a := parseArgs(string(content))
	p.body.apply(a, t)
	return []byte(a.String()), nil
}

func (p *Plugin) editParts(content []byte, boundary string, t texts) ([]byte, error) {
	if len(content) == 0 {
		return nil, nil
	}
	m, err := parseParts(content, boundary)
	if err != nil {
		return nil, err
	}
	p.body.apply(m, t)
	return m.encode()
}

func count(h *l7.Header, id l7.FieldID) (n int) {
	for i := range h.Fields() {
		if h.Fields()[i].ID == id {
			n++
		}
	}
	return n
}

// upstreamPath returns a rendered path as it may stand in a request's target. A
// path with dot segments is refused: an upstream would leave the path that was
// configured.
func upstreamPath(path string) (string, bool) {
	for segment := range strings.SplitSeq(path, "/") {
		if !strings.Contains(segment, ".") && !strings.Contains(segment, "%") {
			continue
		}
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return "", false
		}
	}
	normal, err := l7.NormalizePath(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return "", false
	}
	return l7.EscapePath(normal), true
}
