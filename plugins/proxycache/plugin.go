package proxycache

import (
	"encoding/hex"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/stored"
)

var (
	_ l7.RequestHook      = (*Plugin)(nil)
	_ l7.ResponseHook     = (*Plugin)(nil)
	_ l7.ResponseBodyHook = (*Plugin)(nil)
	_ l7.FailureHook      = (*Plugin)(nil)
	_ l7.LogHook          = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "proxy-cache", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// The fields that tell a client about the cache.
const (
	statusField = "X-Cache-Status"
	keyField    = "X-Cache-Key"
)

// status is what the cache did about an exchange.
type status uint8

const (
	statusNone status = iota // the plugin was not asked
	statusHit
	statusMiss
	statusRefresh
	statusBypass
	statusStale // a hit, although stale
	statusCount
)

var statusNames = [...]string{statusHit: "Hit", statusMiss: "Miss", statusRefresh: "Refresh", statusBypass: "Bypass", statusStale: "Hit"}

// Plugin is an instance.
type Plugin struct {
	cfg         Config
	store       *store
	seed        key
	ignoreCase  bool
	varyQuery   []string // nil: all
	varyHeaders []string
	types       []mediaType

	status l7.Slot[status]
	hit    l7.Slot[*entry]
	miss   l7.Slot[*miss]
}

// mediaType is a configured type.
type mediaType struct {
	kind, subtype string // "*": any
	params        map[string]string
}

// New finds the process's store.
func New(cfg Config, env plugins.Env) (any, error) {
	p := &Plugin{
		cfg:         cfg,
		store:       storeOf(env),
		seed:        seedOf(&cfg),
		ignoreCase:  cfg.IgnoreURICase,
		varyHeaders: slices.Sorted(slices.Values(cfg.VaryHeaders)),
	}
	if len(cfg.VaryQueryParams) > 0 {
		p.varyQuery = cfg.VaryQueryParams
	}
	for _, s := range cfg.ContentType {
		full, params, err := mime.ParseMediaType(s)
		if err != nil {
			return nil, err
		}
		kind, subtype, _ := strings.Cut(full, "/")
		p.types = append(p.types, mediaType{kind, subtype, params})
	}
	return p, nil
}

// miss is a request whose answer may be stored.
type miss struct {
	primary  key
	shown    string  // the key that clients are shown
	resource uint16  // see store.forgotten
	asked    int64   // sock.Now at which it came
	flight   *flight // of which it is the one others wait for; nil: of none
	entry    *entry  // what its answer is stored as; nil: not known yet
	index    *entry  // where it is found, if it depends on fields; else nil
	stale    *entry  // what it is answered with if the upstream fails; nil: nothing
}

// onlyIfCached is the answer to who wants nothing but what is stored
// (RFC 9111 section 5.2.1.7).
var onlyIfCached = l7.NewReply(http.StatusGatewayTimeout, "", nil)

// maxWait bounds how long a request waits for another one's answer.
const maxWait = 5 * time.Second

// Request answers from the store if it can.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	var cc control
	if p.cfg.CacheControl {
		cc = controlOf(&x.Req.Header)
	}
	if !p.cacheable(x, &cc) {
		p.status.Set(x, statusBypass)
		return l7.Next
	}
	shown := p.keyOf(x, x.Req.Method)
	k := shown.at(placeOf(x))
	e, st := p.find(x, k, &cc)
	if st == statusHit {
		return p.serve(x, e, st)
	}
	if cc.onlyIfCached {
		return x.Reply(onlyIfCached)
	}
	now := sock.Now()
	m := &miss{primary: k, shown: hex.EncodeToString(shown[:]), resource: p.resource(x), asked: now}
	anew := e != nil && p.staleFor(e, now, &cc) <= e.whileAsked
	if e != nil && p.staleFor(e, now, &cc) <= e.ifError {
		m.stale = e
	}
	if verdict, served := p.wait(x, m, e, anew, &cc); served {
		return verdict
	}
	p.miss.Set(x, m)
	p.status.Set(x, st)
	return l7.Next
}

// wait lets a request wait for another one's answer to the same, or makes it the
// one that others wait for. Where what is stored, e, may be used while it is
// asked for anew, nobody waits.
func (p *Plugin) wait(x *l7.Exchange, m *miss, e *entry, anew bool, cc *control) (v l7.Verdict, served bool) {
	if conditional(&x.Req.Header) {
		if anew && p.store.flying(m.primary) {
			return p.serve(x, e, statusStale), true
		}
		return l7.Next, false
	}
	f, started := p.store.join(m.primary, m.asked)
	switch {
	case started:
		m.flight = f
	case f == nil:
	case anew:
		return p.serve(x, e, statusStale), true
	case await(f):
		if e, st := p.find(x, m.primary, cc); st == statusHit {
			return p.serve(x, e, st), true
		}
	default:
		m.flight = p.store.takeOver(m.primary, f)
	}
	return l7.Next, false
}

// staleFor returns for how long e has been stale, in nanoseconds, or a time that
// nothing allows if the request wants nothing stale.
func (p *Plugin) staleFor(e *entry, now int64, cc *control) int64 {
	if !p.cfg.CacheControl || cc.broken || cc.maxAge >= 0 || cc.minFresh >= 0 || e.ageAt(now) < e.fresh {
		return math.MaxInt64
	}
	return e.ageAt(now) - e.fresh
}

// cacheable reports whether a request may be answered from the store, and its
// answer stored. One with content may not, since the content is no part of the
// key.
func (p *Plugin) cacheable(x *l7.Exchange, cc *control) bool {
	return slices.Contains(p.cfg.RequestMethod, x.Req.Method) && x.Req.Body == nil && x.BodyToSend() == nil && x.Req.Upgrade == "" &&
		!cc.noStore && !cc.noCache
}

// conditional reports whether an answer may be one that is not stored although
// others would be: a part, or 304.
func conditional(h *l7.Header) bool {
	for _, f := range h.Fields() {
		if f.ID == l7.FieldOther && len(f.Name) >= len("Range") &&
			(strings.EqualFold(f.Name, "Range") || strings.EqualFold(f.Name[:3], "If-")) {
			return true
		}
	}
	return false
}

func await(f *flight) (landed bool) {
	t := time.NewTimer(maxWait)
	defer t.Stop()
	select {
	case <-f.landed:
		return true
	case <-t.C:
		return false
	}
}

// find returns the stored answer to a request, and whether it may be used (Hit)
// or not (Refresh); nil and Miss if there is none.
func (p *Plugin) find(x *l7.Exchange, k key, cc *control) (*entry, status) {
	now := sock.Now()
	e := p.store.get(k, now)
	if e != nil && e.reply == nil {
		e = p.store.get(e.variant(x), now)
	}
	switch {
	case e == nil:
		return nil, statusMiss
	case !p.store.current(e):
		p.store.remove(e.key)
		return nil, statusMiss
	case p.varyQuery != nil && !p.store.since(e, p.wholeResource(x)):
		return nil, statusMiss // others that e serves may be as they were
	case !p.usable(e, now, cc):
		return e, statusRefresh
	}
	return e, statusHit
}

// usable reports whether a stored answer satisfies a request.
func (p *Plugin) usable(e *entry, now int64, cc *control) bool {
	age := e.ageAt(now)
	if !p.cfg.CacheControl {
		return age < e.fresh
	}
	within := func(limit, age int64) bool { return age <= limit*int64(time.Second) }
	switch {
	case cc.broken, cc.maxAge >= 0 && !within(cc.maxAge, age):
		return false
	case cc.minFresh >= 0 && e.fresh-age < cc.minFresh*int64(time.Second):
		return false
	case age >= e.fresh:
		return cc.maxStale >= 0 && !e.noStale && within(cc.maxStale, age-e.fresh)
	}
	return true
}

// serve answers from the store.
func (p *Plugin) serve(x *l7.Exchange, e *entry, st status) l7.Verdict {
	p.status.Set(x, st)
	p.hit.Set(x, e)
	stored.Mark(x)
	if e.notModified != nil {
		if list, ok := x.Req.Header.Get("If-None-Match"); ok && e.matches(list) {
			return x.Reply(e.notModified)
		}
	}
	return x.Reply(e.reply)
}

// Response tells the client about the cache, and finds out whether the answer is
// to be stored.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	st := p.status.Get(x)
	if st == statusNone {
		return l7.Next
	}
	h := &x.Resp.Header
	if st == statusHit || st == statusStale {
		e := p.hit.Get(x)
		x.Resp.Size = e.size
		if p.cfg.ResponseHeaders.Age {
			h.Set("Age", e.ageField(sock.Now()))
		}
		p.tell(h, st, e.hexKey)
		return l7.Next
	}
	if p.cfg.CacheControl {
		p.invalidate(x)
	}
	m := p.miss.Get(x)
	if m == nil {
		p.tell(h, statusBypass, "")
		return l7.Next
	}
	if x.Proxied && isFailure(x.Resp.Status) && p.useStale(x, m) {
		return l7.Done
	}
	e := p.storable(x, m)
	if e == nil {
		if m.flight != nil && x.Proxied {
			p.store.refuse(m.primary, sock.Now())
		}
		p.forget(x, m)
		p.status.Set(x, statusBypass)
		p.tell(h, statusBypass, m.shown)
		return l7.Next
	}
	if x.Req.Method == http.MethodHead || x.Resp.Status == http.StatusNoContent || x.Resp.Size == 0 {
		e.takeHead(x, m)
		p.keep(m)
		p.forget(x, m)
	}
	p.tell(h, st, m.shown)
	return l7.Next
}

// isFailure reports whether stale-if-error holds for a status (RFC 5861 section
// 4).
func isFailure(status int) bool {
	return status == http.StatusInternalServerError || status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout
}

// Failure answers from the store, where a stale answer may be used if the
// upstream fails.
func (p *Plugin) Failure(x *l7.Exchange) l7.Verdict {
	if m := p.miss.Get(x); m != nil && isFailure(x.Err().Status) && p.useStale(x, m) {
		return l7.Done
	}
	return l7.Next
}

// useStale answers with what is stored, if that may be used because the upstream
// has failed.
func (p *Plugin) useStale(x *l7.Exchange, m *miss) bool {
	e := m.stale
	if e == nil || e.ageAt(sock.Now())-e.fresh > e.ifError || !p.store.current(e) {
		return false
	}
	p.forget(x, m)
	p.serve(x, e, statusStale)
	return true
}

// tell sets the fields that were configured.
func (p *Plugin) tell(h *l7.Header, st status, keyText string) {
	if p.cfg.ResponseHeaders.Status {
		h.Set(statusField, statusNames[st])
	}
	if p.cfg.ResponseHeaders.Key && keyText != "" {
		h.Set(keyField, keyText)
	}
}

// forget ends the interest in an answer: it is stored, or will not be.
func (p *Plugin) forget(x *l7.Exchange, m *miss) {
	p.land(m)
	p.miss.Set(x, nil)
}

func (p *Plugin) land(m *miss) {
	if m.flight != nil {
		p.store.land(m.primary, m.flight)
		m.flight = nil
	}
}

// invalidate forgets what is stored of a resource that a request has changed
// (RFC 9111 section 4.4).
func (p *Plugin) invalidate(x *l7.Exchange) {
	switch x.Req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return
	}
	if x.Proxied && x.Resp.Status >= 200 && x.Resp.Status < 400 {
		now := sock.Now()
		p.store.forget(p.resource(x), now)
		p.store.forget(p.wholeResource(x), now)
	}
}

// Log counts the exchange, and ends what one that had no answer has begun.
func (p *Plugin) Log(x *l7.Exchange) {
	if st := p.status.Get(x); st != statusNone {
		p.store.counts[st].Inc()
	}
	if m := p.miss.Get(x); m != nil {
		p.forget(x, m)
	}
}
