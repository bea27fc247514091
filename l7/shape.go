package l7

import (
	"encoding/xml"
	"html"
	"strconv"
	"strings"
)

// shape is how the body of an error is written.
type shape uint8

const (
	shapeJSON shape = iota
	shapeHTML
	shapeXML
	shapePlain
)

// shapeTypes holds the Content-Type of each shape.
var shapeTypes = [...]string{
	shapeJSON:  "application/json; charset=utf-8",
	shapeHTML:  "text/html; charset=utf-8",
	shapeXML:   "application/xml; charset=utf-8",
	shapePlain: "text/plain; charset=utf-8",
}

// errorShape returns how an error is written for a client: as its Accept field
// prefers; without one as the request's own content, or else fallback says, a
// media type. What none of the shapes fits gets JSON.
func errorShape(h *Header, fallback string) shape {
	accept, ok := h.Known(FieldAccept)
	if !ok {
		if accept, ok = h.Known(FieldContentType); !ok {
			accept = fallback
		}
	}
	best, bestQ := shapeJSON, 0.0
	for element := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(element, ";")
		s, known := shapeOf(strings.ToLower(strings.Trim(name, " \t")))
		if q := quality(params); known && q > bestQ {
			best, bestQ = s, q
		}
	}
	return best
}

func shapeOf(mediaRange string) (s shape, known bool) {
	switch mediaRange {
	case "application/json", "application/*", "*/*":
		return shapeJSON, true
	case "text/html", "application/xhtml+xml":
		return shapeHTML, true
	case "application/xml", "text/xml":
		return shapeXML, true
	case "text/plain", "text/*":
		return shapePlain, true
	}
	return shapeJSON, false
}

// quality returns the weight among the parameters of an element of Accept
// (RFC 9110 section 12.4.2): 1 if there is none, 0 if it is none.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.Trim(p, " \t"), "=")
		if name == "q" || name == "Q" {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// body returns the error's text in the shape, for the request id.
func (s shape) body(message, id string) []byte {
	switch s {
	case shapeHTML:
		return []byte("<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  <body>\n" +
			"    <h1>Error</h1>\n    <p>" + html.EscapeString(message) + ".</p>\n    <p>request_id: " + id + "</p>\n  </body>\n</html>\n")
	case shapeXML:
		var m strings.Builder
		_ = xml.EscapeText(&m, []byte(message)) // a strings.Builder does not fail
		return []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>" + m.String() + "</message>\n  <requestid>" + id + "</requestid>\n</error>\n")
	case shapePlain:
		return []byte(message + "\nrequest_id: " + id + "\n")
	}
	b := append(appendJSON([]byte(`{"message":`), message), `,"request_id":"`...)
	return append(append(b, id...), `"}`...)
}
