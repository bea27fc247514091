package auth

import (
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
)

// The fields that tell the upstream who the client is, by Kong's names.
const (
	consumerID           = "X-Consumer-ID"
	consumerCustomID     = "X-Consumer-Custom-ID"
	consumerUsername     = "X-Consumer-Username"
	credentialIdentifier = "X-Credential-Identifier"
	anonymousConsumer    = "X-Anonymous-Consumer"
	authenticatedGroups  = "X-Authenticated-Groups"
)

// The fields of skip_consumer_lookup.
const (
	clientCertDN  = "X-Client-Cert-Dn"
	clientCertSAN = "X-Client-Cert-San"
)

// claims are the fields that only plugins which recognise clients may set: Kong's,
// whichever of them sets it.
var claims = []string{
	consumerID, consumerCustomID, consumerUsername, credentialIdentifier, anonymousConsumer, authenticatedGroups,
	clientCertDN, clientCertSAN,
	"X-Consumer-Groups", "X-Credential-Username", "X-Authenticated-Scope", "X-Authenticated-UserId",
}

// Unclaim removes what the client itself says in those fields. It is called by
// every plugin here before all else; only the first call has an effect.
func Unclaim(x *l7.Exchange) {
	if !x.Unclaimed {
		x.Unclaimed = true
		Forget(x, claims)
	}
}

// Authenticate makes the consumer the exchange's, and tells the upstream so.
// credential is what the client was recognised by.
func Authenticate(x *l7.Exchange, consumer *config.Consumer, credential string) {
	x.Credential = credential
	x.UpstreamHeader().Del(anonymousConsumer)
	tell(x, consumer, credential)
}

// tell sets the fields of a consumer, in the place of those of another.
func tell(x *l7.Exchange, consumer *config.Consumer, credential string) {
	x.SetConsumer(consumer)
	h := x.UpstreamHeader()
	h.Set(consumerID, consumer.ID.String())
	set(h, consumerCustomID, consumer.CustomID)
	set(h, consumerUsername, consumer.Username)
	set(h, credentialIdentifier, credential)
}

// set sets a field, or removes it for an empty value or one that no field may
// have.
func set(h *l7.Header, name, value string) {
	if value == "" || !h.Set(name, value) {
		h.Del(name)
	}
}

// Forget removes fields from what the upstream is sent, and lets trailers be
// dropped, which could bring them back.
func Forget(x *l7.Exchange, names []string) {
	x.Upstream.NoTrailer = true
	x.UpstreamHeader().DelFunc(func(f *l7.Field) bool {
		for _, name := range names {
			if Alike(f.Name, name) {
				return true
			}
		}
		return false
	})
}

// Alike compares names as servers do that take them for variables (RFC 3875
// section 4.1.18): without case, and an underscore for a hyphen.
func Alike(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}
