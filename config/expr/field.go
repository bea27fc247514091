package expr

import (
	"slices"
	"strconv"
	"strings"
)

// typ is the type of a field and of the values it is compared with.
type typ uint8

const (
	typeString typ = iota
	typeInt
	typeIP
)

func (t typ) String() string {
	return [...]string{typeString: "a string", typeInt: "a number", typeIP: "an IP address"}[t]
}

// field says where the values of a comparison's left side come from.
type field uint8

const (
	netProtocol field = iota
	tlsSNI
	httpMethod
	httpHost
	httpPath
	httpSegments     // a part of the path
	httpSegmentCount // the number of parts
	httpHeader       // the only fields, with httpQuery, of several values
	httpQuery
	netSourceIP
	netSourcePort
	netDestinationIP
	netDestinationPort
)

// fields are the fields with a fixed name. net.port is Kong's old name for
// net.dst.port.
var fields = map[string]struct {
	field field
	typ   typ
}{
	"net.protocol":           {netProtocol, typeString},
	"tls.sni":                {tlsSNI, typeString},
	"http.method":            {httpMethod, typeString},
	"http.host":              {httpHost, typeString},
	"http.path":              {httpPath, typeString},
	"http.path.segments.len": {httpSegmentCount, typeInt},
	"net.src.ip":             {netSourceIP, typeIP},
	"net.src.port":           {netSourcePort, typeInt},
	"net.dst.ip":             {netDestinationIP, typeIP},
	"net.dst.port":           {netDestinationPort, typeInt},
	"net.port":               {netDestinationPort, typeInt},
}

// The fields whose names go on behind a prefix.
const (
	segmentsPrefix = "http.path.segments."
	headersPrefix  = "http.headers."
	queriesPrefix  = "http.queries."
)

// FieldNames lists the fields for messages. Those that end in a dot go on with
// a name or a number.
func FieldNames() []string {
	names := []string{segmentsPrefix, headersPrefix, queriesPrefix}
	for name := range fields {
		if name != "net.port" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// HTTPField returns the name of a field of a request that the expression asks
// about, without the name or number that goes on behind a dot; "" if it asks only
// about the connection.
func (e *Expr) HTTPField() string {
	for i := range e.steps {
		switch e.steps[i].field {
		case httpMethod:
			return "http.method"
		case httpHost:
			return "http.host"
		case httpPath:
			return "http.path"
		case httpSegments, httpSegmentCount:
			return segmentsPrefix
		case httpHeader:
			return headersPrefix
		case httpQuery:
			return queriesPrefix
		}
	}
	return ""
}

// NamesPlace reports whether the expression asks for a server name or for a port
// that clients connect to.
func (e *Expr) NamesPlace() bool {
	return slices.ContainsFunc(e.steps, func(s step) bool { return s.field == tlsSNI || s.field == netDestinationPort })
}

// setField sets the left side of s by the name of a field.
func (s *step) setField(name string) (problem string, ok bool) {
	if f, known := fields[name]; known {
		s.field, s.typ = f.field, f.typ
		return "", true
	}
	if rest, is := strings.CutPrefix(name, segmentsPrefix); is {
		s.field = httpSegments
		if s.first, s.last, ok = segmentRange(rest); !ok {
			return "illformed http.path.segments.* field", false
		}
		return "", true
	}
	if rest, is := strings.CutPrefix(name, headersPrefix); is && rest != "" {
		s.field, s.name = httpHeader, strings.ReplaceAll(strings.ToLower(rest), "_", "-")
		return "", true
	}
	if rest, is := strings.CutPrefix(name, queriesPrefix); is && rest != "" {
		s.field, s.name = httpQuery, rest
		return "", true
	}
	return "unknown field", false
}

// segmentRange reads N or N_M, where N is less than M.
func segmentRange(s string) (first, last uint16, ok bool) {
	from, to, isRange := strings.Cut(s, "_")
	first, ok = segmentNumber(from)
	if !isRange {
		return first, first, ok
	}
	last, ok2 := segmentNumber(to)
	return first, last, ok && ok2 && first < last
}

// segmentNumber reads a decimal number without a sign or leading zeros.
func segmentNumber(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == s
}

// segments returns the part of a path from one segment to another, both
// counted from 0. A slash at the end begins no segment.
func segments(path string, first, last uint16) (string, bool) {
	path = trimPath(path)
	start := 0
	for n := uint16(0); n < first; n++ {
		slash := strings.IndexByte(path[start:], '/')
		if slash < 0 {
			return "", false
		}
		start += slash + 1
	}
	end := start
	for n := first; ; n++ {
		slash := strings.IndexByte(path[end:], '/')
		switch {
		case slash < 0 && n < last:
			return "", false
		case slash < 0:
			return path[start:], path != ""
		case n == last:
			return path[start : end+slash], true
		}
		end += slash + 1
	}
}

// countSegments returns the number of segments of a path.
func countSegments(path string) int {
	if path = trimPath(path); path == "" {
		return 0
	}
	return strings.Count(path, "/") + 1
}

// trimPath takes the slash in front and those at the end off a path. What is no
// path, as the target "*", has no segments.
func trimPath(path string) string {
	if path == "" || path[0] != '/' {
		return ""
	}
	return strings.TrimRight(path[1:], "/")
}
