package syntax

import "github.com/bulwark-edge/bulwark/l7"

// fault is a broken rule. It is the cause in the *l7.Error of a refusal.
type fault uint8

const (
	faultNone fault = iota

	// The head as a whole.
	faultHeadTooLarge
	faultHeadEnd
	faultLeadingLines
	faultBareLF
	faultBareCR
	faultControl

	// The start line.
	faultMethod
	faultTarget
	faultTargetTooLong
	faultEscape
	faultUserinfo
	faultAuthority
	faultAsterisk
	faultConnect
	faultNoVersion
	faultVersion
	faultVersionUnknown
	faultStatus
	faultReasonPhrase

	// Fields.
	faultTooManyFields
	faultFold
	faultFieldName
	faultSpaceBeforeColon
	faultHostMissing
	faultHostTwice
	faultHost
	faultHostDiffers
	faultLengthTwice
	faultLength
	faultEncodingTwice
	faultEncoding
	faultEncodingUnknown
	faultEncodingHTTP10
	faultLengthAndEncoding
	faultInterimBody
	faultExpect
	faultConnection
	faultConnectionOptions

	// The chunked coding.
	faultChunkSize
	faultChunkTooLarge
	faultChunkExtension
	faultChunkExtensionTooLong
	faultChunkLineEnd
	faultChunkDataEnd
	faultTrailerTooLarge
	faultTrailerForbidden

	faultCount
)

var faultTexts = [faultCount]string{
	faultNone:                  "no fault",
	faultHeadTooLarge:          "head too large",
	faultHeadEnd:               "head without its final empty line",
	faultLeadingLines:          "too many empty lines before the request line",
	faultBareLF:                "line feed without carriage return",
	faultBareCR:                "carriage return without line feed",
	faultControl:               "control byte",
	faultMethod:                "method is not a token of at most 32 bytes followed by one space",
	faultTarget:                "request target has an invalid form or byte",
	faultTargetTooLong:         "request target too long",
	faultEscape:                "percent sign in the path without two hexadecimal digits",
	faultUserinfo:              "user information in the request target",
	faultAuthority:             "request target without a valid host and port",
	faultAsterisk:              "request target * with a method other than OPTIONS",
	faultConnect:               "method CONNECT",
	faultNoVersion:             "request line without HTTP version",
	faultVersion:               "malformed HTTP version",
	faultVersionUnknown:        "HTTP version other than 1.0 and 1.1",
	faultStatus:                "status code is not a number from 100 to 599",
	faultReasonPhrase:          "invalid byte in the status line",
	faultTooManyFields:         "too many fields",
	faultFold:                  "folded field line",
	faultFieldName:             "field name is not a token followed by a colon",
	faultSpaceBeforeColon:      "white space between field name and colon",
	faultHostMissing:           "no Host",
	faultHostTwice:             "more than one Host",
	faultHost:                  "Host is not a valid host and port",
	faultHostDiffers:           "Host differs from the request target",
	faultLengthTwice:           "more than one Content-Length",
	faultLength:                "Content-Length is not a number below 2^63",
	faultEncodingTwice:         "more than one Transfer-Encoding",
	faultEncoding:              "malformed Transfer-Encoding",
	faultEncodingUnknown:       "transfer coding other than chunked",
	faultEncodingHTTP10:        "Transfer-Encoding with HTTP/1.0",
	faultLengthAndEncoding:     "both Content-Length and Transfer-Encoding",
	faultInterimBody:           "content announced by a 1xx answer",
	faultExpect:                "unknown expectation",
	faultConnection:            "malformed Connection",
	faultConnectionOptions:     "too many connection options",
	faultChunkSize:             "malformed chunk size",
	faultChunkTooLarge:         "chunk size above 2^62",
	faultChunkExtension:        "malformed chunk extension",
	faultChunkExtensionTooLong: "chunk extensions too long",
	faultChunkLineEnd:          "chunk size line does not end in CRLF",
	faultChunkDataEnd:          "chunk data does not end in CRLF",
	faultTrailerTooLarge:       "trailer section too large",
	faultTrailerForbidden:      "field not allowed in a trailer section",
}

// Error returns the broken rule.
func (f fault) Error() string { return faultTexts[f] }

// requestErrors and responseErrors hold what each fault means for a client and
// for an upstream server. Built once, never written again.
var requestErrors, responseErrors = buildErrors()

func buildErrors() (request, response [faultCount]*l7.Error) {
	for f := faultNone + 1; f < faultCount; f++ {
		request[f] = requestError(f)
		response[f] = &l7.Error{
			Status:  502,
			Message: "An invalid response was received from the upstream server",
			Reason:  l7.ReasonUpstreamProtocol,
			Side:    l7.SideUpstream,
			Err:     f,
		}
	}
	return request, response
}

func requestError(f fault) *l7.Error {
	e := &l7.Error{Status: 400, Message: "Bad request", Reason: l7.ReasonBadRequest, Side: l7.SideClient, Err: f}
	switch f {
	case faultConnect:
		e.Status, e.Message, e.Reason = 405, "Method not allowed", l7.ReasonConnectRefused
	case faultTargetTooLong:
		e.Status, e.Message, e.Reason = 414, "URI too long", l7.ReasonHeadTooLarge
	case faultExpect:
		e.Status, e.Message, e.Reason = 417, "Expectation failed", l7.ReasonExpectation
	case faultHeadTooLarge, faultTooManyFields, faultTrailerTooLarge:
		e.Status, e.Message, e.Reason = 431, "Request header or cookie too large", l7.ReasonHeadTooLarge
	case faultEncodingUnknown:
		e.Status, e.Message, e.Reason = 501, "Not implemented", l7.ReasonUnsupported
	case faultVersionUnknown:
		e.Status, e.Message, e.Reason = 505, "HTTP version not supported", l7.ReasonUnsupported
	}
	return e
}
