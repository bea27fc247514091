package requesttransformer

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// maxQuery bounds the query, in bytes, that a form is put into.
const maxQuery = 64 << 10

const formType = "application/x-www-form-urlencoded"

var tooLong = l7.Problem(http.StatusRequestEntityTooLarge, "Payload too large")

// isForm reports whether content is a form.
func isForm(h *l7.Header) bool {
	kind, _ := mediaType(h)
	return kind == formType
}

// formToQuery puts the arguments of the content behind those of the query, as
// they stand: a request that is made a GET, HEAD or TRACE is asked by these. It
// returns the refusal of a form that cannot stand in a query, or nil.
func formToQuery(x *l7.Exchange) *l7.Reply {
	content := x.BodyToSend()
	if content == nil {
		content = x.Body()
	}
	if len(content) == 0 {
		return nil
	}
	h := x.HeaderToSend()
	if count(h, l7.FieldContentType) > 1 {
		return badRequest // the upstream might believe the other
	}
	if coding, ok := h.Known(l7.FieldContentEncoding); ok && !strings.EqualFold(coding, "identity") {
		return unsupported
	}
	u := &x.Upstream
	switch {
	case bytes.Count(content, []byte{'&'}) >= maxArgs, bytes.ContainsFunc(content, notInQuery):
		return badRequest
	case len(u.Query)+1+len(content) > maxQuery:
		return tooLong
	case u.Query == "":
		u.Query = string(content)
	default:
		u.Query += "&" + string(content)
	}
	u.HasQuery = true
	return nil
}

// notInQuery reports whether a byte may not stand in a query as it is (RFC 3986
// section 3.4; other readers end it at some of those that are left out).
func notInQuery(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"#<>\\^`{|}", r)
}
