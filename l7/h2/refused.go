package h2

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// keep keeps a field of a malformed request for what is told of it: nothing acts
// on it.
func (m *message) keep(name, value string) {
	switch {
	case name == ":method" && m.method == "":
		m.method = value
	case name == ":path" && m.path == "":
		m.path = value
	default:
		m.odd = keepLine(m.odd, name, value)
	}
}

// text writes a malformed request as one of HTTP/1.
func (m *message) text() string {
	b := []byte(oneLine(m.method) + " " + oneLine(m.path) + " " + l7.HTTP2.String())
	b = append(b, '\n')
	for _, f := range m.header.Fields() {
		b = keepLine(b, f.Name, f.Value)
	}
	return string(append(b, m.odd...))
}

func keepLine(b []byte, name, value string) []byte {
	b = append(b, oneLine(strings.TrimLeft(name, ": \t"))...)
	return append(append(append(b, ": "...), oneLine(value)...), '\n')
}

// oneLine keeps s from ending its line, or the head.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "\r") }
