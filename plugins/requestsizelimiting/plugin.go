package requestsizelimiting

import (
	"net/http"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var _ l7.RequestHook = (*Plugin)(nil)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "request-size-limiting", Scopes: plugins.Anywhere, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	most    int64
	require bool

	tooLarge, unexpected, noLength *l7.Reply
}

// New builds the refusals.
func New(cfg Config, _ plugins.Env) (any, error) {
	const text = "Request size limit exceeded"
	return &Plugin{
		most:       int64(cfg.AllowedPayloadSize) * units[cfg.SizeUnit],
		require:    cfg.RequireContentLength,
		tooLarge:   l7.Problem(http.StatusRequestEntityTooLarge, text).WithReason(l7.ReasonBodyTooLarge),
		unexpected: l7.Problem(http.StatusExpectationFailed, text).WithReason(l7.ReasonBodyTooLarge),
		noLength:   l7.Problem(http.StatusLengthRequired, "A valid Content-Length header is required"),
	}, nil
}

// Request refuses content that is announced, or here, and too large, and bounds
// what is neither.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	if p.require && !x.Req.Header.Has(l7.FieldContentLength) {
		return x.Reply(p.noLength)
	}
	size := x.Req.ContentLength
	if size < 0 {
		size = int64(len(x.Body())) // what another plugin has had read
	}
	refusal := p.tooLarge
	if x.Req.Expect100 {
		refusal = p.unexpected
	}
	if size > p.most {
		return x.Reply(refusal)
	}
	x.LimitBody(p.most, refusal)
	return l7.Next
}
