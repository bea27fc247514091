package waf

import (
	"bytes"
	"mime"
	"slices"
)

// completed ends the beginning of a body so that its parser gives out all that is
// there: what is left open, a long string above all, is dropped otherwise. b is not
// changed.
func completed(p Processor, contentType string, b []byte) []byte {
	b = b[:len(b):len(b)]
	switch p {
	case JSON:
		return completeJSON(b)
	case XML:
		return completeXML(b)
	case Multipart:
		_, params, err := mime.ParseMediaType(contentType)
		if boundary := params["boundary"]; err == nil && boundary != "" {
			return append(b, "\r\n--"+boundary+"--\r\n"...)
		}
	}
	return b
}

// completeJSON closes the string, the member and the arrays and objects that are
// open at the end. b may be anything that looks like JSON.
func completeJSON(b []byte) []byte {
	var open []byte           // what closes that which is open, outermost first
	var inString, isKey bool  // isKey: the next string, or this one, is a name
	var colon, escapeCut bool // colon: a name has been, its value has not
	wanted := false           // the colon has been, too
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
			escapeCut = i == len(b)
		case inString && c == '"':
			inString = false
			colon, isKey = isKey, false
		case inString:
		case c == '"':
			inString, wanted = true, false
		case c == '{':
			open, isKey, wanted = append(open, '}'), true, false
		case c == '[':
			open, isKey, wanted = append(open, ']'), false, false
		case (c == '}' || c == ']') && len(open) > 0:
			open, isKey, colon, wanted = open[:len(open)-1], false, false, false
		case c == ',':
			isKey, wanted = len(open) > 0 && open[len(open)-1] == '}', false
		case c == ':':
			wanted, colon = true, false
		case c > ' ':
			wanted = false
		}
	}
	if escapeCut {
		b = b[: len(b)-1 : len(b)-1]
	}
	if inString {
		b = append(b, '"')
		colon = isKey
	}
	switch {
	case colon:
		b = append(b, ":0"...)
	case wanted:
		b = append(b, '0')
	}
	slices.Reverse(open)
	return append(b, open...)
}

// completeXML closes the tag or section that is open at the end. Elements may stay
// open.
func completeXML(b []byte) []byte {
	const cdata = "<![CDATA["
	if at := bytes.LastIndex(b, []byte(cdata)); at >= 0 && !bytes.Contains(b[at:], []byte("]]>")) {
		return append(b, "]]>"...)
	}
	at := bytes.LastIndexByte(b, '<')
	if at < 0 {
		return b
	}
	var quote byte
	for _, c := range b[at:] {
		switch {
		case quote == c:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return b // closed; what follows is text
		}
	}
	if quote != 0 {
		b = append(b, quote)
	}
	return append(b, '>')
}
