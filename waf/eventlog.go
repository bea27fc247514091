package waf

import (
	"encoding/json"
	"strconv"
	"strings"
)

// AppendJSON appends the event as one line of JSON, without a line's end.
func (e *Event) AppendJSON(b []byte) []byte {
	line, err := json.Marshal(e)
	if err != nil {
		panic("BUG: an event cannot be marshalled: " + err.Error())
	}
	return append(b, line...)
}

// AppendModSecurity appends one line for each rule that matched, in the format
// of ModSecurity's error log as the tools of the Core Rule Set read it, each
// with a line's end. Everything that comes from outside stands in quotes, with
// quotes and control characters escaped, so no value can forge a line or a part
// of one.
func (e *Event) AppendModSecurity(b []byte) []byte {
	for n := range e.Matches {
		b = e.appendMatch(b, &e.Matches[n])
	}
	return b
}

func (e *Event) appendMatch(b []byte, m *Match) []byte {
	b = append(b, "[client "...)
	if e.Client.IsValid() {
		b = e.Client.AppendTo(b)
	}
	b = append(b, "] ModSecurity: "...)
	switch {
	case !m.Disruptive:
		b = append(b, "Warning."...)
	case e.Action == "redirect":
		b = append(b, "Access denied with redirection (phase "...)
		b = append(strconv.AppendInt(b, int64(m.Phase), 10), ")."...)
	case e.Action == "drop":
		b = append(b, "Access denied with connection close (phase "...)
		b = append(strconv.AppendInt(b, int64(m.Phase), 10), ")."...)
	default:
		b = append(b, "Access denied with code "...)
		b = strconv.AppendInt(b, int64(e.Status), 10)
		b = append(b, " (phase "...)
		b = append(strconv.AppendInt(b, int64(m.Phase), 10), ")."...)
	}
	if len(m.Targets) > 0 {
		b = append(b, " Match of "...)
		b = appendQuoted(b, m.Targets[0].Value)
		b = append(b, " at "...)
		b = appendQuoted(b, m.Targets[0].Variable)
		b = append(b, '.')
	}
	b = appendPart(b, "file", m.File)
	b = appendPart(b, "line", strconv.Itoa(m.Line))
	b = appendPart(b, "id", strconv.Itoa(m.Rule))
	b = appendPart(b, "msg", m.Message)
	b = appendPart(b, "data", m.Data)
	b = appendPart(b, "severity", strings.ToUpper(m.Severity))
	b = appendPart(b, "ver", m.Version)
	for _, t := range m.Tags {
		b = appendPart(b, "tag", t)
	}
	b = appendPart(b, "hostname", e.ServerName)
	b = appendPart(b, "uri", e.Target)
	b = appendPart(b, "unique_id", e.RequestID)
	return append(b, '\n')
}

// appendPart appends a part of the line, unless there is nothing to say.
func appendPart(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, " ["...), name...), ' ')
	return append(appendQuoted(b, value), ']')
}

// appendQuoted appends a value in quotes, as ModSecurity escapes it: bytes that
// are no printable ASCII, quotes and backslashes as \xhh.
func appendQuoted(b []byte, value string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, value[i])
	}
	return append(b, '"')
}
