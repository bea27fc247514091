package l7

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendLogHeader appends the fields as an object with lower-case names;
// repeated fields become an array.
func appendLogHeader(b []byte, h *Header) []byte {
	fields := h.Fields()
	if anyRepeats(fields) {
		return appendRepeating(b, fields)
	}
	b = append(b, '{')
	for i := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		f := &fields[i]
		b = appendLogValue(appendLogName(b, f), f)
	}
	return append(b, '}')
}

// anyRepeats reports whether a name stands there twice. Only names of the same
// length, modulo 64, are compared.
func anyRepeats(fields []Field) bool {
	var lengths uint64
	for i := range fields {
		bit := uint64(1) << (len(fields[i].Name) & 63)
		if lengths&bit != 0 && repeats(fields[:i], fields[i].Name) {
			return true
		}
		lengths |= bit
	}
	return false
}

func appendRepeating(b []byte, fields []Field) []byte {
	b = append(b, '{')
	first := true
	for i := range fields {
		f := &fields[i]
		if repeats(fields[:i], f.Name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendLogName(b, f)
		if redacted(f.ID) || !repeats(fields[i+1:], f.Name) {
			b = appendLogValue(b, f)
			continue
		}
		b = append(b, '[')
		b = appendJSON(b, f.Value)
		for j := i + 1; j < len(fields); j++ {
			if equalFold(fields[j].Name, f.Name) {
				b = appendJSON(append(b, ','), fields[j].Value)
			}
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// logNames holds each known name as the key of an object, with its colon.
var logNames = func() (names [fieldCount]string) {
	for id, name := range fieldNames {
		names[id] = `"` + name + `":`
	}
	return names
}()

// appendLogName appends a field's name as a key, with its colon.
func appendLogName(b []byte, f *Field) []byte {
	if f.ID != FieldOther {
		return append(b, logNames[f.ID]...)
	}
	return append(appendLowerJSON(b, f.Name), ':')
}

func appendLogValue(b []byte, f *Field) []byte {
	if redacted(f.ID) {
		return append(b, `"REDACTED"`...)
	}
	return appendJSON(b, f.Value)
}

// redacted reports whether a log does not tell the field's value.
func redacted(id FieldID) bool { return id == FieldAuthorization || id == FieldProxyAuthorization }

func repeats(fields []Field, name string) bool {
	for i := range fields {
		if equalFold(fields[i].Name, name) {
			return true
		}
	}
	return false
}

func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// maxLogArgs bounds the query arguments of a log entry, as Kong's
// lua_max_uri_args does.
const maxLogArgs = 100

// appendLogQuery appends the decoded query arguments; a name without "=" is
// true and a repeated name keeps its first value, whichever way it is written:
// readers of the log must not differ about which one counts.
func appendLogQuery(b []byte, query string) []byte {
	if query == "" {
		return append(b, "{}"...)
	}
	return appendLogArgs(b, query)
}

func appendLogArgs(b []byte, query string) []byte {
	b = append(b, '{')
	var seen [maxLogArgs]string
	n := 0
	for arg := range strings.SplitSeq(query, "&") {
		name, value, hasValue := strings.Cut(arg, "=")
		if name == "" || n == maxLogArgs {
			continue
		}
		if name = logArgName(name); repeatsArg(seen[:n], name) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		seen[n] = name
		n++
		b = append(appendJSON(b, name), ':')
		if hasValue {
			b = appendJSON(b, unescapeQuery(value))
		} else {
			b = append(b, "true"...)
		}
	}
	return append(b, '}')
}

// logArgName returns an argument's name as the entry has it.
func logArgName(raw string) string {
	name := unescapeQuery(raw)
	if utf8.ValidString(name) {
		return name
	}
	return string([]rune(name)) // what is not UTF-8 is U+FFFD in JSON
}

func repeatsArg(seen []string, name string) bool {
	for _, s := range seen {
		if s == name {
			return true
		}
	}
	return false
}

// unescapeQuery decodes %XX and "+"; what is no escape stays as it is, since a
// log tells what was sent.
func unescapeQuery(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s):
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
			fallthrough
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}
