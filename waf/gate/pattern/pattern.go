package pattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"rsc.io/binaryregexp"
)

// Pattern is a compiled regular expression. Any number of goroutines may use it
// at once.
type Pattern struct {
	expr    string
	bytes   bool // over bytes, not characters
	min     int  // bytes of the shortest string that matches, or fewer
	program *program
	memory  *Memory
	states  atomic.Pointer[states]
	exact   func() matcher // compiled by the first who wants it
}

// matcher is what regexp and binaryregexp have in common.
type matcher interface {
	MatchString(s string) bool
	FindStringSubmatchIndex(s string) []int
}

// Compile compiles an expression over characters, as regexp.Compile does; the
// error is regexp's. m accounts for the states.
func Compile(expr string, m *Memory) (*Pattern, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	p := &Pattern{expr: expr, memory: m, min: shortest(tree)}
	p.exact = sync.OnceValue(func() matcher { return regexp.MustCompile(expr) })
	code, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("compiling %q: %w", expr, err)
	}
	p.program = newProgram(charactersOf(code))
	return p, nil
}

// CompileBytes compiles an expression over bytes, as binaryregexp.Compile does.
func CompileBytes(expr string, m *Memory) (*Pattern, error) {
	code, err := parseBytes(expr)
	if err != nil {
		return nil, err
	}
	p := &Pattern{expr: expr, bytes: true, memory: m, program: newProgram(code)}
	p.exact = sync.OnceValue(func() matcher { return binaryregexp.MustCompile(expr) })
	return p, nil
}

// MatchString reports whether s contains a match.
func (p *Pattern) MatchString(s string) bool {
	if len(s) < p.min {
		return false
	}
	if matched, known := p.scan(s); known {
		return matched
	}
	return p.exact().MatchString(s)
}

// FindStringSubmatchIndex returns where the leftmost match and its groups lie,
// as regexp does, or nil if there is none.
func (p *Pattern) FindStringSubmatchIndex(s string) []int {
	if len(s) < p.min {
		return nil
	}
	if matched, known := p.scan(s); known && !matched {
		return nil
	}
	return p.exact().FindStringSubmatchIndex(s)
}

// scan follows the states through s. known is false if that took more new ones
// than a string may make.
func (p *Pattern) scan(s string) (matched, known bool) {
	g := p.program
	if g == nil {
		return false, false
	}
	c := p.current()
	st, left := c.start, freeSteps+len(s)/bytesPerStep
	if st.end {
		return st.matched, true
	}
	for i := 0; i < len(s); {
		b := s[i]
		if st == c.idle && c.skip != nil {
			for c.skip[b] {
				if i++; i == len(s) {
					break
				}
				b = s[i]
			}
			if i == len(s) {
				break
			}
		}
		class, width := g.first[b], 1
		if class == lookUp {
			var r rune
			r, width = utf8.DecodeRuneInString(s[i:])
			class = g.classOf(r)
		}
		i += width
		next := st.next[class].Load()
		if next == nil {
			if next = c.follow(st, class, &left); next == nil {
				return false, false
			}
		}
		if next.end {
			return next.matched, true
		}
		st = next
	}
	next := st.next[g.classes].Load()
	if next == nil {
		if next = c.follow(st, g.classes, &left); next == nil {
			return false, false
		}
	}
	return next.matched, true
}

// shortest returns the fewest bytes that a match has: each character is one at
// least, and one of those that are no UTF-8 is exactly one.
func shortest(t *syntax.Regexp) int {
	const enough = 1 << 16 // no need to count further
	n := 0
	switch t.Op {
	case syntax.OpLiteral:
		n = len(t.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 1
	case syntax.OpCapture, syntax.OpPlus:
		n = shortest(t.Sub[0])
	case syntax.OpRepeat:
		n = t.Min * shortest(t.Sub[0])
	case syntax.OpConcat:
		for _, sub := range t.Sub {
			n = min(n+shortest(sub), enough)
		}
	case syntax.OpAlternate:
		n = shortest(t.Sub[0])
		for _, sub := range t.Sub[1:] {
			n = min(n, shortest(sub))
		}
	}
	return min(n, enough)
}
