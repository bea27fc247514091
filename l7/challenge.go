package l7

import (
	"net/http"
	"strings"
)

// ChallengePath is where an authority looks for the proof that a name is ours
// (RFC 8555 section 8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// proves answers an authority that looks for a proof. It stands before all hooks
// and routes: neither may keep a certificate from being renewed. Tokens that are
// not ours are requests as any other.
func (p *Pipeline) proves(x *Exchange) bool {
	token, ok := strings.CutPrefix(x.Req.Path, ChallengePath)
	if !ok || x.Req.Method != http.MethodGet && x.Req.Method != http.MethodHead {
		return false
	}
	answer, ok := p.Challenges(token)
	if !ok {
		return false
	}
	x.plan = &Plan{Log: x.plan.Log}
	x.Reply(NewReply(http.StatusOK, "text/plain; charset=utf-8", []byte(answer)).WithReason(ReasonNone))
	return true
}
