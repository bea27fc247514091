package botdetection

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/rules"
)

var _ l7.RequestHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "bot-detection", Scopes: plugins.NotConsumer, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	allow, deny *regexp.Regexp // nil: none
	bots        *automaton     // shared by all instances
	known       *verdicts
	judge       func(agent string) bool // refuses, as a value, so that a call makes none
	forbidden   *l7.Reply
	several     *l7.Reply
}

// New joins the expressions. The first instance of a process compiles the
// built-in list.
func New(cfg Config, env plugins.Env) (any, error) {
	p := &Plugin{
		known:     newVerdicts(),
		forbidden: l7.Problem(http.StatusForbidden, "Forbidden"),
		several:   l7.Problem(http.StatusBadRequest, "Only one User-Agent header allowed"),
	}
	p.judge = p.refuses
	p.bots = env.State.Value("bot-detection list", func() any {
		list := rules.LoadBots()
		env.Log.Info("compiling the list of bots", "version", list.Version, "names", len(list.Names))
		return newAutomaton(list)
	}).(*automaton)
	var err error
	if p.allow, err = join(cfg.Allow); err != nil {
		return nil, err
	}
	p.deny, err = join(cfg.Deny)
	return p, err
}

// Request refuses bots.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	agent, ok := x.Req.Header.Known(l7.FieldUserAgent)
	if !ok {
		return l7.Next
	}
	if repeated(&x.Req.Header) {
		return x.Reply(p.several)
	}
	if p.known.refuse(agent, p.judge) {
		return x.Reply(p.forbidden)
	}
	return l7.Next
}

// refuses judges an agent by the expressions and the list.
func (p *Plugin) refuses(agent string) bool {
	switch {
	case p.allow != nil && p.allow.MatchString(agent):
		return false
	case p.deny != nil && p.deny.MatchString(agent):
		return true
	}
	return p.bots.match(agent)
}

// repeated reports whether there is more than one User-Agent.
func repeated(h *l7.Header) bool {
	n := 0
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID == l7.FieldUserAgent {
			n++
		}
	}
	return n > 1
}

// join makes one expression of several.
func join(patterns []schema.Pattern) (*regexp.Regexp, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	var b strings.Builder
	for i, p := range patterns {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString("(?:" + p.Source() + ")")
	}
	return regexp.Compile(b.String())
}
