package expr

import (
	"net/netip"
	"regexp"
)

// Expr is a compiled expression. It is immutable and safe for concurrent use.
//
// It is a list of comparisons, each with the place where to go on if it holds
// and where if not, so that evaluating needs no stack: && || and ! exist in
// these jumps only.
type Expr struct {
	text  string
	steps []step
	start int16

	hosts    []Host
	prefixes []string
}

// step is one comparison.
type step struct {
	yes, no     int16 // index of the next step, or accept or reject
	field       field
	typ         typ
	op          operator
	lower, any  bool
	first, last uint16         // segments
	name        string         // of the header field or query argument
	text        string         // what strings are compared with
	number      int64          // what integers are compared with
	pattern     *regexp.Regexp // of ~
	prefix      *netip.Prefix  // what addresses are compared with
}

// Where the evaluation ends.
const (
	accept int16 = -1
	reject int16 = -2
)

// Fields are the facts that an expression asks about. A zero value is none.
type Fields struct {
	Protocol string // http, https, tcp, tls or udp
	SNI      string // lower case
	Method   string
	Host     string // lower case, without port
	Path     string // normalised
	Query    string // as sent, without the question mark
	Header   Header // nil for none

	Source      netip.AddrPort
	Destination netip.AddrPort
}

// Header gives the values of header fields. Next returns the first field at or
// behind place from that has the name, which is in lower case and has hyphens
// for underscores, and the place to go on from; from 0 on, ok is false once
// there are no more. It keeps nothing of its arguments and may be called by
// several goroutines.
type Header interface {
	Next(name string, from int) (value string, next int, ok bool)
}

// String returns the text of the expression.
func (e *Expr) String() string { return e.text }

// Eval reports whether the expression holds. It allocates only to decode
// escaped query arguments, and to lower text with capitals for a regular
// expression.
func (e *Expr) Eval(f *Fields) bool {
	at := e.start
	for at >= 0 {
		s := &e.steps[at]
		at = s.no
		if s.holds(f) {
			at = s.yes
		}
	}
	return at == accept
}

// PathMatch tells how an expression matched a path.
type PathMatch struct {
	// Matched is the beginning of the path that the last comparison with it
	// matched, "" if there was none.
	Matched string
	// Pattern is the last regular expression that matched the path, nil if
	// there was none, and Text what it looked at: the path, or the path in
	// lower case.
	Pattern *regexp.Regexp
	Text    string
}

// MatchPath tells how the expression, which holds, matched the path. As in
// Kong, comparisons count that turned out true on the way, whatever came of
// the operators around them.
func (e *Expr) MatchPath(f *Fields) (m PathMatch) {
	at := e.start
	for at >= 0 {
		s := &e.steps[at]
		at = s.no
		if s.holds(f) {
			at = s.yes
			if s.field == httpPath {
				s.matchPath(f.Path, &m)
			}
		}
	}
	return m
}

// matchPath notes what s, which holds, matched of the path.
func (s *step) matchPath(path string, m *PathMatch) {
	switch s.op {
	case opEqual:
		m.Matched = path
	case opPrefix:
		rest, _ := s.cut(path)
		m.Matched = path[:len(path)-len(rest)]
	case opRegex:
		m.Pattern, m.Text = s.pattern, s.lowered(path)
		// A match elsewhere than at the beginning is nothing to strip, nor is
		// one in a text that lowering has made longer or shorter.
		if loc := s.pattern.FindStringIndex(m.Text); loc[0] == 0 && len(m.Text) == len(path) {
			m.Matched = path[:loc[1]]
		}
	}
}
