package syntax

import (
	"slices"

	"github.com/bulwark-edge/bulwark/l7"
)

// forbiddenIDs are the known fields that may not stand in a trailer section, as
// bits of FieldID.
const forbiddenIDs = 1<<l7.FieldAuthorization | 1<<l7.FieldConnection | 1<<l7.FieldContentEncoding |
	1<<l7.FieldContentLength | 1<<l7.FieldContentType | 1<<l7.FieldCookie | 1<<l7.FieldDate |
	1<<l7.FieldExpect | 1<<l7.FieldForwarded | 1<<l7.FieldHost | 1<<l7.FieldHTTP2Settings |
	1<<l7.FieldKeepAlive | 1<<l7.FieldLocation | 1<<l7.FieldProxy | 1<<l7.FieldProxyAuthenticate |
	1<<l7.FieldProxyAuthorization | 1<<l7.FieldProxyConnection | 1<<l7.FieldSetCookie |
	1<<l7.FieldTE | 1<<l7.FieldTrailer | 1<<l7.FieldTransferEncoding | 1<<l7.FieldUpgrade |
	1<<l7.FieldVia | 1<<l7.FieldXForwardedFor | 1<<l7.FieldXForwardedHost | 1<<l7.FieldXForwardedPath |
	1<<l7.FieldXForwardedPort | 1<<l7.FieldXForwardedPrefix | 1<<l7.FieldXForwardedProto |
	1<<l7.FieldXKongRequestID | 1<<l7.FieldXRealIP

// forbiddenNames and forbiddenPrefixes cover the names l7 has no FieldID for:
// controls, conditions, answer policy, and what tells an upstream server who is
// asking. A server that merges trailers into its header would believe them.
var (
	forbiddenNames = [...]string{
		"age", "apikey", "cache-control", "clear-site-data", "expires", "max-forwards", "pragma",
		"range", "refresh", "retry-after", "strict-transport-security", "true-client-ip", "vary",
		"www-authenticate", "x-api-key", "x-client-ip", "x-http-method-override",
		"x-original-url", "x-rewrite-url",
	}
	forbiddenPrefixes = [...]string{
		"access-control-", "content-", "if-", "proxy-", "sec-", "x-anonymous-", "x-authenticated-",
		"x-consumer-", "x-credential-", "x-forwarded-", "x-kong-",
	}
)

// TrailerAllowed reports whether a field may stand in a trailer section (RFC
// 9110 section 6.5.1): it must not frame, route, identify or give meaning to
// what came before it. id is what l7.LookupField says of name.
func TrailerAllowed(name string, id l7.FieldID) bool {
	if id != l7.FieldOther {
		return forbiddenIDs>>id&1 == 0
	}
	if equalFold(name, "content-digest") {
		return true // made for trailers, RFC 9530
	}
	return !slices.ContainsFunc(forbiddenNames[:], func(s string) bool { return equalFold(name, s) }) &&
		!slices.ContainsFunc(forbiddenPrefixes[:], func(s string) bool { return hasPrefixFold(name, s) })
}

// parseTrailer reads a trailer section, which is empty or ends in the CRLF of
// its last field line, into h.
func parseTrailer(section string, most int, h *l7.Header) fault {
	var m message
	if f := m.parseFields(section, 0, most, h); f != faultNone {
		return f
	}
	for _, field := range h.Fields() {
		if !TrailerAllowed(field.Name, field.ID) {
			return faultTrailerForbidden
		}
	}
	return faultNone
}
