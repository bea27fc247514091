package syntax

import "strconv"

// statusLines holds the status line of every code that has a reason phrase.
// Built once, never written again.
var statusLines = buildStatusLines()

func buildStatusLines() (lines [maxStatus + 1]string) {
	for code, text := range statusTexts {
		if text != "" {
			lines[code] = "HTTP/1.1 " + strconv.Itoa(code) + " " + text + "\r\n"
		}
	}
	return lines
}

// AppendStatusLine appends the status line of an answer. The version is always
// the one we speak (RFC 9110 section 6.2). The code must have three digits.
func AppendStatusLine(b []byte, code int) []byte {
	if code >= 0 && code <= maxStatus && statusLines[code] != "" {
		return append(b, statusLines[code]...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	return append(b, " \r\n"...)
}

// AppendField appends a field line. Neither name nor value is checked: what did
// not come from a parsed head must have passed ValidFieldName and
// ValidFieldValue.
func AppendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// AppendContentLength appends a Content-Length field line.
func AppendContentLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// AppendChunkSize appends the line in front of a chunk's n bytes, which must be
// positive; a CRLF follows them.
func AppendChunkSize(b []byte, n int) []byte {
	b = strconv.AppendUint(b, uint64(n), 16)
	return append(b, "\r\n"...)
}
