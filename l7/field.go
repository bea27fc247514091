package l7

import "strings"

// FieldID names the fields the data path itself acts on. Every other name is
// FieldOther.
type FieldID uint8

// The known fields. The order is of no meaning; there may be at most 63.
const (
	FieldOther FieldID = iota
	FieldAccept
	FieldAuthorization
	FieldConnection
	FieldContentEncoding
	FieldContentLength
	FieldContentType
	FieldCookie
	FieldDate
	FieldExpect
	FieldForwarded
	FieldHost
	FieldHTTP2Settings
	FieldKeepAlive
	FieldLocation
	FieldProxy
	FieldProxyAuthenticate
	FieldProxyAuthorization
	FieldProxyConnection
	FieldServer
	FieldSetCookie
	FieldTE
	FieldTrailer
	FieldTransferEncoding
	FieldUpgrade
	FieldUserAgent
	FieldVia
	FieldXForwardedFor
	FieldXForwardedHost
	FieldXForwardedPath
	FieldXForwardedPort
	FieldXForwardedPrefix
	FieldXForwardedProto
	FieldXKongRequestID
	FieldXRealIP

	fieldCount
)

// fieldNames holds each known name in lower case.
var fieldNames = [fieldCount]string{
	FieldAccept:             "accept",
	FieldAuthorization:      "authorization",
	FieldConnection:         "connection",
	FieldContentEncoding:    "content-encoding",
	FieldContentLength:      "content-length",
	FieldContentType:        "content-type",
	FieldCookie:             "cookie",
	FieldDate:               "date",
	FieldExpect:             "expect",
	FieldForwarded:          "forwarded",
	FieldHost:               "host",
	FieldHTTP2Settings:      "http2-settings",
	FieldKeepAlive:          "keep-alive",
	FieldLocation:           "location",
	FieldProxy:              "proxy",
	FieldProxyAuthenticate:  "proxy-authenticate",
	FieldProxyAuthorization: "proxy-authorization",
	FieldProxyConnection:    "proxy-connection",
	FieldServer:             "server",
	FieldSetCookie:          "set-cookie",
	FieldTE:                 "te",
	FieldTrailer:            "trailer",
	FieldTransferEncoding:   "transfer-encoding",
	FieldUpgrade:            "upgrade",
	FieldUserAgent:          "user-agent",
	FieldVia:                "via",
	FieldXForwardedFor:      "x-forwarded-for",
	FieldXForwardedHost:     "x-forwarded-host",
	FieldXForwardedPath:     "x-forwarded-path",
	FieldXForwardedPort:     "x-forwarded-port",
	FieldXForwardedPrefix:   "x-forwarded-prefix",
	FieldXForwardedProto:    "x-forwarded-proto",
	FieldXKongRequestID:     "x-kong-request-id",
	FieldXRealIP:            "x-real-ip",
}

// fieldSlots finds a known name by its length and first letter; names that
// share both are chained through fieldNext. Built once from fieldNames, never
// written again.
var fieldSlots, fieldNext = indexFields()

const (
	longestField = len("proxy-authorization")
	slotLetters  = 32 // a letter's low five bits
)

func indexFields() (slots [longestField + 1][slotLetters]FieldID, next [fieldCount]FieldID) {
	for id := FieldID(1); id < fieldCount; id++ {
		name := fieldNames[id]
		slot := &slots[len(name)][name[0]&(slotLetters-1)]
		next[id], *slot = *slot, id
	}
	return slots, next
}

// LookupField returns the FieldID of a field name, compared without case.
func LookupField(name string) FieldID {
	if len(name) == 0 || len(name) > longestField {
		return FieldOther
	}
	for id := fieldSlots[len(name)][name[0]&(slotLetters-1)]; id != FieldOther; id = fieldNext[id] {
		if equalLower(name, fieldNames[id]) {
			return id
		}
	}
	return FieldOther
}

// equalLower reports whether name, in ASCII lower case, is lower, which has
// the same length. It differs from strings.EqualFold in folding ASCII letters
// only.
func equalLower(name, lower string) bool {
	for i := 0; i < len(lower); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// ValidField reports whether name and value may stand in a message: the name is
// a token and the value has no control byte but the tab (RFC 9110 sections 5.1
// and 5.5). Anything else could end the field, or the message, early.
func ValidField(name, value string) bool {
	for i := 0; i < len(name); i++ {
		if !isToken(name[i]) {
			return false
		}
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return name != ""
}

// isToken reports whether c may stand in a token (RFC 9110 section 5.6.2).
func isToken(c byte) bool {
	letter := 'a' <= c|0x20 && c|0x20 <= 'z'
	return letter || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
