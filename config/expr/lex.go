package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// operator compares the two sides of a step.
type operator uint8

const (
	opEqual operator = iota
	opNotEqual
	opRegex
	opPrefix
	opSuffix
	opContains
	opGreater
	opGreaterEqual
	opLess
	opLessEqual
	opIn
	opNotIn
)

// operators are the spellings; one that begins with another comes first.
var operators = [...]struct {
	text string
	op   operator
}{
	{"==", opEqual},
	{"!=", opNotEqual},
	{"=^", opSuffix},
	{"^=", opPrefix},
	{"~", opRegex},
	{">=", opGreaterEqual},
	{">", opGreater},
	{"<=", opLessEqual},
	{"<", opLess},
	{"contains", opContains},
	{"in", opIn},
}

// lexer cuts an expression into what the parser asks for. What stands at a
// place depends on that: "fd00" may begin a name or an address.
type lexer struct {
	text string
	at   int
}

func (l *lexer) space() {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
}

// take consumes s if it is what comes next, behind white space.
func (l *lexer) take(s string) bool {
	l.space()
	if !strings.HasPrefix(l.text[l.at:], s) {
		return false
	}
	l.at += len(s)
	return true
}

// word consumes a name; "" if none stands here.
func (l *lexer) word() string {
	l.space()
	start := l.at
	if start < len(l.text) && isLetter(l.text[start]) {
		l.at += wordLen(l.text[start:])
	}
	return l.text[start:l.at]
}

func wordLen(s string) (n int) {
	for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '_' || s[n] == '.') {
		n++
	}
	return n
}

// operator consumes an operator.
func (l *lexer) operator() (operator, bool) {
	l.space()
	if l.wholeWord("not") {
		at := l.at
		l.at += len("not")
		l.space()
		if l.wholeWord("in") {
			l.at += len("in")
			return opNotIn, true
		}
		l.at = at
		return 0, false
	}
	for _, o := range operators {
		if isLetter(o.text[0]) && l.wholeWord(o.text) || !isLetter(o.text[0]) && strings.HasPrefix(l.text[l.at:], o.text) {
			l.at += len(o.text)
			return o.op, true
		}
	}
	return 0, false
}

// wholeWord reports whether the word that comes next is w.
func (l *lexer) wholeWord(w string) bool {
	return l.text[l.at:l.at+wordLen(l.text[l.at:])] == w
}

// literal is a value as it is written.
type literal struct {
	quoted bool
	text   string // without quotes and escapes
}

// value consumes a literal. Its text is empty, and not quoted, if none stands
// here.
func (l *lexer) value() (literal, *Error) {
	l.space()
	rest := l.text[l.at:]
	switch {
	case strings.HasPrefix(rest, `r#"`):
		end := strings.Index(rest[3:], `"#`)
		if end < 0 {
			return literal{}, l.errorAt(len(l.text), "raw string without an end", `"#`)
		}
		l.at += 3 + end + 2
		return literal{true, rest[3 : 3+end]}, nil
	case strings.HasPrefix(rest, `"`):
		return l.quoted()
	}
	n := 0
	for n < len(rest) && (isLetter(rest[n]) || isDigit(rest[n]) || strings.IndexByte(".:/", rest[n]) >= 0 || n == 0 && rest[n] == '-') {
		n++
	}
	l.at += n
	return literal{false, rest[:n]}, nil
}

// quoted consumes a string in quotes.
func (l *lexer) quoted() (literal, *Error) {
	start := l.at + 1
	var out []byte // nil as long as there is no escape
	clean := start // where what is not in out begins
	for i := start; i < len(l.text); i++ {
		switch l.text[i] {
		case '"':
			l.at = i + 1
			if out == nil {
				return literal{true, l.text[start:i]}, nil
			}
			return literal{true, string(append(out, l.text[clean:i]...))}, nil
		case '\\':
			var c byte
			if i+1 < len(l.text) {
				c = unescaped(l.text[i+1])
			}
			if c == 0 {
				return literal{}, l.errorAt(i, "unknown escape", `one of \" \\ \n \r \t; a raw string r#"..."# has no escapes`)
			}
			out = append(append(out, l.text[clean:i]...), c)
			i++
			clean = i + 1
		}
	}
	return literal{}, l.errorAt(len(l.text), "string without an end", `"`)
}

// unescaped returns what a backslash and c stand for, or 0.
func unescaped(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

// Error says what is wrong with an expression.
type Error struct {
	Line, Column int    // from 1; the column counts bytes
	Reason       string // such as "unknown field"
	Found        string // what stands there, quoted, or "the end"
	Expected     string // what would be right
	Field        string // the name of an unknown field, else ""
}

// Error returns all of it in a line.
func (e *Error) Error() string {
	return "line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ": " + e.Reason +
		" (found " + e.Found + "; expected " + e.Expected + ")"
}

// maxFoundBytes bounds what an error shows of an expression.
const maxFoundBytes = 40

// errorAt makes the error of a place.
func (l *lexer) errorAt(at int, reason, expected string) *Error {
	before := l.text[:at]
	e := &Error{
		Line: 1 + strings.Count(before, "\n"), Column: at - strings.LastIndexByte(before, '\n'),
		Reason: reason, Expected: expected, Found: "the end",
	}
	if rest := l.text[at:]; rest != "" {
		e.Found = strconv.Quote(rest[:foundLen(rest)])
	}
	return e
}

// foundLen returns the length of the word, literal, operator or else the
// character that s begins with, as far as an error shows it.
func foundLen(s string) int {
	n := 0
	switch {
	case s[0] == '"':
		n = 2 + strings.IndexByte(s[1:]+`"`, '"')
	case isOperatorByte(s[0]):
		for n < len(s) && isOperatorByte(s[n]) {
			n++
		}
	default:
		for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] >= utf8.RuneSelf || strings.IndexByte("_.:/-", s[n]) >= 0) {
			n++
		}
	}
	return min(max(n, 1), maxFoundBytes, len(s))
}

func isOperatorByte(c byte) bool { return strings.IndexByte("&|=!<>^~", c) >= 0 }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
