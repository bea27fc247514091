package waf

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/rules"
	engine "github.com/bulwark-edge/bulwark/waf"
)

var (
	_ l7.RequestHook    = (*Plugin)(nil)
	_ l7.BodyPeeker     = (*Plugin)(nil)
	_ l7.ResponseHook   = (*Plugin)(nil)
	_ l7.ResponsePeeker = (*Plugin)(nil)
	_ l7.LogHook        = (*Plugin)(nil)

	_ plugins.Dependent = (*Plugin)(nil)
	_ plugins.Reopener  = (*Plugin)(nil)
	_ plugins.Follower  = (*Plugin)(nil)
	_ io.Closer         = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "waf", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// Told returns a kind whose instances tell of each exchange that they inspect by
// calling tell, and write no log: for those who want to know what an instance makes
// of a request. Calls come on the goroutines of the exchanges.
func Told(tell func(*engine.Event)) plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "waf", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP,
		New: func(cfg Config, env plugins.Env) (any, error) {
			sharedOf(env).tell = tell // the first instance is built before any serves
			return New(cfg, env)
		},
	})
}

// Plugin is an instance.
type Plugin struct {
	cfg     Config
	shared  *shared
	engine  *engine.Engine  // nil: off
	profile *engine.Profile // nil: off
	rules   *engine.Rules
	version []rules.Version
	log     *eventLog // nil: off
	audit   *auditor  // nil: off
	blocked *l7.Reply // nil: its content tells the request's id
	types   bool      // the content of some responses is inspected

	inspection l7.Slot[*inspected]
}

// New shares the engine of the rules, or compiles it.
func New(cfg Config, env plugins.Env) (any, error) {
	p := &Plugin{cfg: cfg, shared: sharedOf(env)}
	if cfg.Mode == "off" {
		return p, nil
	}
	p.types = cfg.ResponseBody.Inspect && len(cfg.ResponseBody.Types) > 0
	if !strings.Contains(cfg.Blocked.Body, requestID) {
		p.blocked = blockedReply(&cfg.Blocked, http.StatusForbidden, "")
	}
	r, versions, err := p.shared.rules.of(env.Config, directives{cfg.Directives, cfg.DirectivesAfter})
	if err != nil {
		return nil, err
	}
	e, err := p.shared.openEngine(r)
	if err != nil {
		return nil, fmt.Errorf("compiling the rules: %w", err)
	}
	p.rules, p.version, p.engine = r, versions, e
	if p.profile, err = e.Profile(cfg.settings()); err == nil && p.shared.tell == nil {
		err = p.openLogs(env)
	}
	if err != nil {
		_ = p.shared.closeEngine(e)
		return nil, err
	}
	return p, nil
}

// openLogs opens those that the node's settings name.
func (p *Plugin) openLogs(env plugins.Env) (err error) {
	if p.log, err = p.shared.logs.use(env); err != nil {
		return err
	}
	var names []string
	for _, v := range p.version {
		names = append(names, v.Name+"/"+v.Version)
	}
	if p.audit, err = newAuditor(p.shared, env, names); err != nil {
		return errors.Join(err, p.shared.logs.leave(p.log))
	}
	return nil
}

// Outdated reports whether the rules, or where events go, are others now.
func (p *Plugin) Outdated(env plugins.Env) (bool, error) {
	if p.engine == nil {
		return false, nil
	}
	r, _, err := p.shared.rules.of(env.Config, directives{p.cfg.Directives, p.cfg.DirectivesAfter})
	if err != nil {
		return false, err
	}
	return r.Hash() != p.rules.Hash() || !p.log.serves(env) || !p.audit.serves(env), nil
}

// Follow notes that the instance's rules serve from now on.
func (p *Plugin) Follow(cfg *config.Config) {
	if p.engine != nil {
		p.shared.serve(cfg, p.version)
	}
}

// Profile returns how the instance uses the rule engine, nil if its mode is off.
func (p *Plugin) Profile() *engine.Profile { return p.profile }

// Reopen opens the logs' files anew.
func (p *Plugin) Reopen() error { return errors.Join(p.log.reopen(), p.audit.logOf().reopen()) }

// Close leaves the engine and the log to their other users.
func (p *Plugin) Close() error {
	if p.engine == nil {
		return nil
	}
	engineErr := p.shared.closeEngine(p.engine)
	return errors.Join(engineErr, p.shared.logs.leave(p.log), p.shared.logs.leave(p.audit.logOf()))
}

// settings returns what the instance wants of the engine.
func (c *Config) settings() engine.Settings {
	s := engine.Settings{
		Mode:             engine.Detect,
		ParanoiaLevel:    c.ParanoiaLevel,
		DetectionLevel:   valueOf(c.DetectionParanoiaLevel),
		InboundThreshold: valueOf(c.InboundThreshold), OutboundThreshold: valueOf(c.OutboundThreshold),
		EarlyBlocking:  c.EarlyBlocking,
		AllowedMethods: c.AllowedMethods, AllowedTypes: c.AllowedContentTypes,
		Packs:        c.Packs,
		RequestBody:  engine.BodySettings{Limit: int64(c.RequestBody.Limit), Beyond: beyond(c.RequestBody.Beyond)},
		ResponseBody: engine.BodySettings{Limit: int64(c.ResponseBody.Limit), Beyond: beyond(c.ResponseBody.Beyond)},
		Caps: engine.Caps{
			JSONDepth: c.Caps.JSONDepth, Parts: c.Caps.Parts, XMLNodes: c.Caps.XMLNodes, Cookies: c.Caps.Cookies,
			Beyond: beyond(c.Caps.Beyond),
		},
		ResponseTypes:   make([]string, 0, len(c.ResponseBody.Types)),
		DecodedRequests: c.RequestDecoding == "decode",
		FailOpen:        c.FailMode == "open",
	}
	if c.Mode == "block" {
		s.Mode = engine.Block
	}
	for _, t := range c.ResponseBody.Types {
		s.ResponseTypes = append(s.ResponseTypes, strings.ToLower(t))
	}
	if len(c.ContentTypes) > 0 {
		s.Processors = make(map[string]engine.Processor, len(c.ContentTypes))
		for t, name := range c.ContentTypes {
			s.Processors[t] = engine.Processor(strings.ToUpper(name))
		}
	}
	for _, x := range c.Exclusions {
		paths := x.Paths
		if len(paths) == 0 {
			paths = []string{""}
		}
		for _, path := range paths {
			s.Exclusions = append(s.Exclusions, engine.Exclusion{IDs: x.Rules, Tags: x.Tags, Target: x.Target, Path: path, Methods: x.Methods})
		}
	}
	return s
}

// valueOf returns a number, or the engine's word for none.
func valueOf(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func beyond(name string) engine.Beyond {
	switch name {
	case "reject":
		return engine.Reject
	case "auto":
		return engine.ByType
	}
	return engine.Prefix
}

// requestID is what stands for the request's id in the content of an answer.
const requestID = "{request_id}"

// blockedReply returns the answer to what is blocked, id being the request's.
func blockedReply(b *Blocked, status int, id string) *l7.Reply {
	if status == http.StatusForbidden {
		status = b.Status // a rule that says nothing of it, or what everybody says
	}
	if b.Body == "" {
		return l7.Problem(status, http.StatusText(status)).WithReason(l7.ReasonWAF)
	}
	body := strings.ReplaceAll(b.Body, requestID, id)
	return l7.NewReply(status, b.ContentType, []byte(body)).WithReason(l7.ReasonWAF)
}

// begin starts the inspection of an exchange with the head of its request.
func (p *Plugin) begin(x *l7.Exchange) *inspected {
	i := p.inspection.Get(x)
	if i != nil {
		return i
	}
	i = new(inspected)
	p.inspect(&i.ins, x)
	p.inspection.Set(x, i)
	i.request = fields{&x.Req.Header}
	head := engine.RequestHead{Method: x.Req.Method, Target: x.Req.Target, Proto: x.Req.Proto.String(), Fields: &i.request}
	i.verdict = i.ins.RequestHead(&head)
	return i
}

// inspect begins an inspection.
func (p *Plugin) inspect(ins *engine.Inspection, x *l7.Exchange) {
	ins.Begin(p.profile, engine.Connection{
		RequestID:  x.ID,
		Client:     netip.AddrPortFrom(x.ClientAddr(), x.Conn.Client.Port()),
		Server:     x.Conn.Local,
		ServerName: x.Host,
	})
	if p.shared.tell != nil {
		ins.TellAlways()
	}
	p.audit.begin(ins)
}

// BodyPeek inspects the head, and tells how much of the content is waited for.
func (p *Plugin) BodyPeek(x *l7.Exchange) int64 {
	if p.profile == nil {
		return 0
	}
	i := p.begin(x)
	if i.verdict.Action != engine.Pass || i.verdict.Err != nil {
		return 0
	}
	limit := int64(p.cfg.RequestBody.Limit)
	switch {
	case !p.cfg.RequestBody.Inspect:
		i.ins.Leave("request_body: off")
	case isStream(&x.Req.Header):
		i.ins.Leave("request_body: stream")
	case !i.ins.RequestBodyWanted():
	case x.Req.ContentLength > limit && i.ins.RefusesLong():
		i.tooLong = true // which is known before a byte is read
	default:
		i.peek = limit
	}
	return i.peek
}

// isStream reports whether content is a stream of messages that are answered
// while it goes on: gRPC, which no rule reads.
func isStream(h *l7.Header) bool {
	t, ok := h.Known(l7.FieldContentType)
	const grpc = "application/grpc"
	t, _, _ = strings.Cut(t, ";")
	t = strings.TrimSpace(t)
	if !ok || len(t) < len(grpc) || !strings.EqualFold(t[:len(grpc)], grpc) {
		return false
	}
	return len(t) == len(grpc) || t[len(grpc)] == '+'
}

// Request gives the verdict on the request, head and content.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if p.profile == nil {
		return l7.Next
	}
	i := p.begin(x)
	if i.verdict.Action == engine.Pass {
		p.requestBody(x, i)
	}
	if i.verdict.Action != engine.Pass {
		return p.deny(x, i)
	}
	if p.cfg.RequestTrailers == "remove" {
		x.Upstream.NoTrailer = true
	}
	if p.types && p.cfg.ResponseDecoding == "identity" {
		// Asked for only where it must be: the header is copied for it.
		if _, ok := x.HeaderToSend().Get("Accept-Encoding"); ok {
			x.UpstreamHeader().Set("Accept-Encoding", "identity")
		}
	}
	return l7.Next
}

// requestBody inspects what is here of the content.
func (p *Plugin) requestBody(x *l7.Exchange, i *inspected) {
	content, whole := []byte(nil), !i.tooLong
	if i.peek > 0 {
		content, whole = x.BodyPrefix(i.peek)
	}
	sent, all := content, whole && (i.peek > 0 || x.Req.Body == nil)
	if codings := codingsOf(&x.Req.Header); codings != "" && (i.peek > 0 || p.cfg.RequestDecoding == "refuse") {
		content, whole = p.decodeRequest(i, codings, content, whole)
	}
	if i.verdict.Action == engine.Pass {
		i.verdict = i.ins.RequestBody(content, whole)
	}
	p.audit.keep(i, sent, all)
}

// decodeRequest returns what is within encoded content. What cannot be known is
// refused in mode block.
func (p *Plugin) decodeRequest(i *inspected, codings string, content []byte, whole bool) ([]byte, bool) {
	if p.cfg.RequestDecoding == "refuse" || !engine.CanDecode(codings) {
		i.verdict = i.ins.Refuse(http.StatusUnsupportedMediaType, "request_body: encoding")
		return nil, true
	}
	plain, all, err := engine.Decode(codings, content, int64(p.cfg.RequestBody.Limit))
	switch {
	case errors.Is(err, engine.ErrDecodedRatio):
		i.verdict = i.ins.Refuse(http.StatusRequestEntityTooLarge, "request_body: expands too much")
	case err != nil && (whole || len(plain) == 0 || !errors.Is(err, io.ErrUnexpectedEOF)):
		// The beginning of encoded content ends too early, and is wrong in no
		// other way.
		i.verdict = i.ins.Refuse(http.StatusBadRequest, "request_body: broken encoding")
	}
	return plain, all && whole && err == nil
}

// ResponsePeek inspects the head of the upstream's answer, and tells how much of
// its content is waited for.
func (p *Plugin) ResponsePeek(x *l7.Exchange) int64 {
	i := p.inspection.Get(x)
	if i == nil {
		return 0
	}
	i.response = fields{&x.Resp.Header}
	codings := codingsOf(&x.Resp.Header)
	if codings != "" && p.types && engine.CanDecode(codings) {
		// Rules skip what is encoded; they are shown what is within.
		plain := new(l7.Header)
		plain.CopyFrom(&x.Resp.Header)
		plain.Del("Content-Encoding")
		i.response = fields{plain}
	}
	head := engine.ResponseHead{Status: x.Resp.Status, Proto: x.Resp.Proto.String(), Fields: &i.response}
	i.verdict = i.ins.ResponseHead(&head)
	if i.verdict.Action != engine.Pass || !p.types || x.Resp.Status == http.StatusSwitchingProtocols || x.Req.Method == http.MethodHead || x.Resp.Size == 0 || !i.ins.ResponseBodyWanted() {
		return 0
	}
	if codings != "" && !engine.CanDecode(codings) {
		i.ins.Leave("response_body: encoding")
		return 0
	}
	i.held = true
	return int64(p.cfg.ResponseBody.Limit)
}

// Response gives the verdict on the upstream's answer.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	i := p.inspection.Get(x)
	if i == nil || !x.Proxied {
		return l7.Next
	}
	if i.verdict.Action == engine.Pass {
		content, whole := []byte(nil), true
		if i.held {
			if content, whole = x.ResponsePrefix(); content != nil {
				content, whole = p.decodeResponse(x, i, content, whole)
			}
		}
		i.verdict = i.ins.ResponseBody(content, whole)
	}
	if i.verdict.Action == engine.Pass {
		return l7.Next
	}
	i.outbound = true
	return p.deny(x, i)
}

// decodeResponse returns what is within content that the upstream has encoded all
// the same.
func (p *Plugin) decodeResponse(x *l7.Exchange, i *inspected, content []byte, whole bool) ([]byte, bool) {
	codings := codingsOf(&x.Resp.Header)
	if codings == "" {
		return content, whole
	}
	plain, all, err := engine.Decode(codings, content, int64(p.cfg.ResponseBody.Limit))
	if errors.Is(err, engine.ErrHidden) && len(plain) > 0 && int64(len(plain)) < int64(p.cfg.ResponseBody.Limit) {
		return plain, whole // the upstream's own, and no matter of it what it hides
	}
	if err != nil && whole {
		i.ins.Leave("response_body: broken encoding")
	}
	return plain, all && whole && err == nil
}

// codingsOf returns the values of Content-Encoding, without those that say that
// nothing is encoded.
func codingsOf(h *l7.Header) string {
	if !h.Has(l7.FieldContentEncoding) {
		return ""
	}
	var codings []string
	for _, f := range h.Fields() {
		if f.ID == l7.FieldContentEncoding && !strings.EqualFold(f.Value, "identity") && f.Value != "" {
			codings = append(codings, f.Value)
		}
	}
	return strings.Join(codings, ", ")
}

// deny answers by the verdict.
func (p *Plugin) deny(x *l7.Exchange, i *inspected) l7.Verdict {
	v := &i.verdict
	switch {
	case v.Err != nil:
		return x.Fail(&l7.Error{Status: http.StatusInternalServerError, Message: "An unexpected error occurred", Reason: l7.ReasonWAF, Side: l7.SideSelf, Err: v.Err})
	case v.Action == engine.Drop:
		return x.Fail(&l7.Error{Status: l7.StatusClientGone, Message: "dropped", Reason: l7.ReasonWAF, Side: l7.SideClient})
	case v.Action == engine.Redirect:
		status := v.Status
		if status < 300 || status > 399 {
			status = http.StatusFound
		}
		return x.Reply(l7.NewReply(status, "", nil).SetHeader("Location", v.Location).WithReason(l7.ReasonWAF))
	case p.blocked != nil && v.Status == http.StatusForbidden:
		return x.Reply(p.blocked)
	}
	return x.Reply(blockedReply(&p.cfg.Blocked, v.Status, x.ID))
}

// Log ends the inspection, and tells of it what there is to tell.
func (p *Plugin) Log(x *l7.Exchange) {
	i := p.inspection.Get(x)
	if i == nil {
		i = p.refused(x)
	}
	if i == nil {
		return
	}
	if b := x.Req.Body; b != nil && b.Trailer().Len() > 0 {
		i.ins.Leave("request_trailers: " + p.cfg.RequestTrailers)
	}
	e := i.ins.End()
	p.shared.counts.exchange(i, e)
	p.audit.end(i)
	if e == nil {
		return
	}
	p.audit.write(e)
	if x.Route != nil {
		e.Route = x.Route.Entity.Name
		if e.Route == "" {
			e.Route = x.Route.Entity.ID.String()
		}
		if s := x.Route.Service; s != nil {
			e.Service = s.Entity.Name
		}
	}
	if p.shared.tell != nil {
		p.shared.tell(e)
		return
	}
	if p.log != nil && !e.Routine() {
		p.log.write(e)
	}
}

// refused shows the rules a request that was refused before they were asked, so
// that the log tells what it tried; nil if this is no such exchange. The answer
// is out, and stays what it is.
func (p *Plugin) refused(x *l7.Exchange) *inspected {
	if p.profile == nil {
		return nil
	}
	h := x.RefusedHead()
	if h == nil {
		return nil
	}
	i := &inspected{refused: true, request: fields{h.Header}}
	p.inspect(&i.ins, x)
	i.ins.Refused(x.LogStatus())
	head := engine.RequestHead{Method: h.Method, Target: h.Target, Proto: h.Proto, Fields: &i.request}
	if i.ins.RequestHead(&head).Action == engine.Pass {
		i.ins.RequestBody(nil, true) // rules that look at the whole request run there
	}
	return i
}

// inspected is what the plugin knows of an exchange.
type inspected struct {
	ins      engine.Inspection
	verdict  engine.Verdict
	peek     int64 // bytes of the request's content that are waited for
	tooLong  bool  // there is more of it than may be
	held     bool  // the answer's content is waited for
	audited  int64 // bytes that are kept for the audit log
	outbound bool  // it is the answer that is denied
	refused  bool  // the request was, before the rules were asked

	request, response fields
}

// fields are those of a head, as the engine reads them.
type fields struct{ *l7.Header }

// Len returns the number of fields.
func (f *fields) Len() int { return f.Header.Len() }

// At returns a field as it was sent.
func (f *fields) At(i int) (name, value string) {
	field := &f.Header.Fields()[i]
	return field.Name, field.Value
}
