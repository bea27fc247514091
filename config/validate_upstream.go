package config

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

var _ schema.Validator = (*Upstream)(nil)

// Values of Upstream.Algorithm and of Upstream.HashOn.
const (
	consistentHashing = "consistent-hashing"
	leastConnections  = "least-connections"
	leastLatency      = "latency"

	hashNone       = "none"
	hashHeader     = "header"
	hashCookie     = "cookie"
	hashQueryArg   = "query_arg"
	hashURICapture = "uri_capture"
)

// Validate settles the algorithm as Kong does, and checks that what is hashed
// is named and that the fallback is another than that.
func (u *Upstream) Validate(r *schema.Report) {
	if r.Bad("algorithm") || r.Bad("hash_on") || r.Bad("hash_fallback") {
		return
	}
	switch {
	case u.Algorithm == leastConnections || u.Algorithm == leastLatency:
		u.HashOn = hashNone
	case u.HashOn != hashNone:
		u.Algorithm = consistentHashing
	}
	on := u.hashOn()
	fallback := u.hashFallback()
	on.require(r)
	fallback.require(r)
	u.validateFallback(r, on, fallback)
	if strings.Contains(u.HashOnCookiePath, ";") {
		r.Fail("a cookie's path has no semicolon", "hash_on_cookie_path")
	}
}

// hashInput is a part of the request to hash, with the field that names it.
type hashInput struct {
	kind  string
	field string // "" if the kind needs no name
	name  string
}

func (u *Upstream) hashOn() hashInput {
	switch u.HashOn {
	case hashHeader:
		return hashInput{u.HashOn, "hash_on_header", u.HashOnHeader}
	case hashQueryArg:
		return hashInput{u.HashOn, "hash_on_query_arg", u.HashOnQueryArg}
	case hashURICapture:
		return hashInput{u.HashOn, "hash_on_uri_capture", u.HashOnURICapture}
	case hashCookie:
		return hashInput{u.HashOn, "hash_on_cookie", u.HashOnCookie}
	}
	return hashInput{kind: u.HashOn}
}

func (u *Upstream) hashFallback() hashInput {
	switch u.HashFallback {
	case hashHeader:
		return hashInput{u.HashFallback, "hash_fallback_header", u.HashFallbackHeader}
	case hashQueryArg:
		return hashInput{u.HashFallback, "hash_fallback_query_arg", u.HashFallbackQueryArg}
	case hashURICapture:
		return hashInput{u.HashFallback, "hash_fallback_uri_capture", u.HashFallbackURICapture}
	case hashCookie:
		return hashInput{u.HashFallback, "hash_on_cookie", u.HashOnCookie}
	}
	return hashInput{kind: u.HashFallback}
}

func (h hashInput) require(r *schema.Report) {
	if h.field != "" && h.name == "" && !r.Bad(h.field) {
		r.Expect(schema.ReasonRequired, "the name of what to hash", h.field)
	}
}

// validateFallback checks that there is something to fall back from, and that
// the fallback is something else.
func (u *Upstream) validateFallback(r *schema.Report, on, fallback hashInput) {
	switch {
	case fallback.kind == hashNone:
	case on.kind == hashNone || on.kind == hashCookie:
		r.Expect("expected one of: none", "none, since 'hash_on' is '"+on.kind+"'", "hash_fallback")
	case on.kind != fallback.kind:
	case on.field == "":
		r.Expect("must not be the same as 'hash_on'", "another value than '"+on.kind+"'", "hash_fallback")
	case on.same(fallback):
		r.Fail("values of these fields must be distinct: '"+on.field+"', '"+fallback.field+"'", fallback.field)
	}
}

func (h hashInput) same(o hashInput) bool {
	if h.kind == hashHeader {
		return strings.EqualFold(h.name, o.name)
	}
	return h.name == o.name
}

// HashOnName returns what hash_on names, or "" if it needs no name.
func (u *Upstream) HashOnName() string { return u.hashOn().name }

// HashFallbackName returns what hash_fallback names, or "".
func (u *Upstream) HashFallbackName() string { return u.hashFallback().name }
