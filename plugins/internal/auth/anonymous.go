package auth

import (
	"net/http"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
)

// Anonymous is the id or username of the consumer that clients are which nobody
// recognises; "" for none.
type Anonymous string

// Settled reports whether there is nothing left to do: another plugin has
// recognised the client, and this one need not.
func (a Anonymous) Settled(x *l7.Exchange) bool { return a != "" && x.Credential != "" }

// Refuse answers a client that was not recognised with r, or makes it the
// anonymous consumer if there is one.
func (a Anonymous) Refuse(x *l7.Exchange, r *l7.Reply) l7.Verdict {
	if a == "" {
		return x.Reply(r)
	}
	consumer, ok := Consumer(x.Config(), string(a))
	if !ok {
		return Missing(x, "anonymous", string(a))
	}
	tell(x, consumer, "")
	x.UpstreamHeader().Set(anonymousConsumer, "true")
	return l7.Next
}

// Missing answers when a consumer does not exist that the configuration of a
// plugin names.
func Missing(x *l7.Exchange, which, name string) l7.Verdict {
	return x.Fail(&l7.Error{
		Status: http.StatusInternalServerError, Reason: l7.ReasonInternal, Side: l7.SideSelf,
		Message: which + " consumer " + name + " is configured but doesn't exist",
	})
}

// Consumer returns the consumer with an id or a username.
func Consumer(cfg *config.Config, name string) (*config.Consumer, bool) {
	if id, err := config.ParseID(name); err == nil {
		if c, ok := cfg.Consumers.Get(id); ok {
			return c, true
		}
	}
	return cfg.Consumers.Lookup(name)
}
