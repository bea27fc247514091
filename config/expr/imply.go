package expr

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// maxImplied bounds the hosts, and the paths' beginnings, of which an
// expression is known to imply one.
const maxImplied = 32

// Host is what the host of a request must be, or begin or end with.
type Host struct {
	Text string
	Form HostForm
}

// HostForm says which part of a host is known.
type HostForm uint8

// What may be known of a host.
const (
	HostIs HostForm = iota
	HostBegins
	HostEnds
)

// Hosts returns hosts of which one fits every request for which the expression
// holds; none if the expression implies nothing of the host.
func (e *Expr) Hosts() []Host { return e.hosts }

// PathPrefixes returns texts with one of which the path of every request for
// which the expression holds begins; none if the expression implies nothing of
// the path.
func (e *Expr) PathPrefixes() []string { return e.prefixes }

func (n *node) impliedHosts() []Host {
	return implied(n, func(s *step) []Host {
		if s.field != httpHost || s.lower || s.text == "" {
			return nil
		}
		switch s.op {
		case opEqual:
			return []Host{{s.text, HostIs}}
		case opPrefix:
			return []Host{{s.text, HostBegins}}
		case opSuffix:
			return []Host{{s.text, HostEnds}}
		}
		return nil
	})
}

func (n *node) impliedPrefixes() []string {
	return implied(n, func(s *step) []string {
		var prefix string
		switch {
		case s.field != httpPath || s.lower:
		case s.op == opEqual || s.op == opPrefix:
			prefix = s.text
		case s.op == opRegex:
			prefix = anchoredText(s.text)
		}
		if prefix == "" {
			return nil
		}
		return []string{prefix}
	})
}

// implied returns facts of which one holds when n does, or nil: of all parts
// of &&, those of one part, the fewest; of || those of all parts together.
func implied[T any](n *node, of func(*step) []T) (facts []T) {
	switch n.kind {
	case kindComparison:
		return of(&n.step)
	case kindAnd:
		for _, part := range n.parts {
			if f := implied(part, of); f != nil && (facts == nil || len(f) < len(facts)) {
				facts = f
			}
		}
	case kindOr:
		for _, part := range n.parts {
			f := implied(part, of)
			if f == nil || len(facts)+len(f) > maxImplied {
				return nil
			}
			facts = append(facts, f...)
		}
	}
	return facts
}

// anchoredText returns the plain text that follows the ^ a regular expression
// begins with.
func anchoredText(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	next := re.Sub[1]
	if next.Op != syntax.OpLiteral || next.Flags&syntax.FoldCase != 0 {
		return ""
	}
	// The replacement character matches invalid bytes too.
	text, _, _ := strings.Cut(string(next.Rune), string(utf8.RuneError))
	return text
}
