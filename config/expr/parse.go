package expr

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of an expression.
const (
	maxExprBytes       = 16 << 10 // its text
	maxExprDepth       = 64       // parentheses within parentheses
	maxExprComparisons = 1024
)

// Parse compiles an expression. Its error is an *Error.
func Parse(text string) (*Expr, error) {
	p := parser{lexer: lexer{text: text}}
	if len(text) > maxExprBytes {
		return nil, p.errorAt(maxExprBytes, "expression too long", "at most "+strconv.Itoa(maxExprBytes)+" bytes")
	}
	if at := invalidUTF8(text); at >= 0 {
		return nil, p.errorAt(at, "invalid utf-8 character sequence", "a text in UTF-8")
	}
	root, err := p.chain(0)
	if err == nil {
		if p.space(); p.at < len(text) {
			err = p.errorAt(p.at, "expression goes on behind its end", "&&, || or the end")
		}
	}
	if err != nil {
		return nil, err
	}
	e := &Expr{text: text, steps: make([]step, 0, p.comparisons)}
	e.start = e.compile(root, accept, reject)
	e.hosts, e.prefixes = root.impliedHosts(), root.impliedPrefixes()
	return e, nil
}

// invalidUTF8 returns the place of the first byte that is not UTF-8, or -1.
func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return i
		}
	}
	return -1
}

// compile appends the steps of n, which go on at yes or no, and returns the
// first of them. Later steps are made first, since the earlier point at them.
func (e *Expr) compile(n *node, yes, no int16) int16 {
	switch n.kind {
	case kindNot:
		return e.compile(n.parts[0], no, yes)
	case kindAnd:
		for i := len(n.parts) - 1; i >= 0; i-- {
			yes = e.compile(n.parts[i], yes, no)
		}
		return yes
	case kindOr:
		for i := len(n.parts) - 1; i >= 0; i-- {
			no = e.compile(n.parts[i], yes, no)
		}
		return no
	}
	n.step.yes, n.step.no = yes, no
	e.steps = append(e.steps, n.step)
	return int16(len(e.steps) - 1)
}

// node is a place in the tree of an expression.
type node struct {
	kind  nodeKind
	parts []*node
	step  step // of a comparison
}

type nodeKind uint8

const (
	kindComparison nodeKind = iota
	kindNot                 // of its only part
	kindAnd
	kindOr
)

type parser struct {
	lexer
	comparisons int
}

// chain reads terms with either && or || between them.
func (p *parser) chain(depth int) (*node, *Error) {
	first, err := p.term(depth)
	if err != nil {
		return nil, err
	}
	n := &node{parts: []*node{first}}
	for {
		p.space()
		at, kind := p.at, kindAnd
		if !p.take("&&") {
			if kind = kindOr; !p.take("||") {
				break
			}
		}
		if len(n.parts) > 1 && kind != n.kind {
			return nil, p.errorAt(at, "&& and || side by side", "parentheses that say which of them goes first")
		}
		next, err := p.term(depth)
		if err != nil {
			return nil, err
		}
		n.kind, n.parts = kind, append(n.parts, next)
	}
	if len(n.parts) == 1 {
		return first, nil
	}
	return n, nil
}

// term reads a comparison, or an expression in parentheses, which may be
// negated.
func (p *parser) term(depth int) (*node, *Error) {
	p.space()
	at := p.at
	negated := p.take("!")
	if !p.take("(") {
		if negated {
			return nil, p.errorAt(p.at, "! without parentheses", "( after !")
		}
		return p.comparison()
	}
	if depth++; depth > maxExprDepth {
		return nil, p.errorAt(at, "parentheses too deep", "at most "+strconv.Itoa(maxExprDepth)+" within each other")
	}
	n, err := p.chain(depth)
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.errorAt(p.at, "parenthesis without an end", "), && or ||")
	}
	if negated {
		n = &node{kind: kindNot, parts: []*node{n}}
	}
	return n, nil
}

func (p *parser) comparison() (*node, *Error) {
	n := new(node)
	p.space()
	at := p.at
	if p.comparisons++; p.comparisons > maxExprComparisons {
		return nil, p.errorAt(at, "too many comparisons", "at most "+strconv.Itoa(maxExprComparisons))
	}
	name, err := p.left(&n.step)
	if err != nil {
		return nil, err
	}
	p.space()
	at = p.at
	op, ok := p.operator()
	if !ok && at < len(p.text) && p.text[at] == '-' {
		return nil, p.errorAt(at, "field name with a hyphen", "an underscore in its place")
	}
	if !ok {
		return nil, p.errorAt(at, "missing operator", operatorsOf(n.step.typ))
	}
	n.step.op = op
	if !fits(op, n.step.typ) {
		return nil, p.errorAt(at, "operator does not fit "+name+", which is "+n.step.typ.String(), operatorsOf(n.step.typ))
	}
	p.space()
	at = p.at
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if problem, expected := n.step.setValue(v); problem != "" {
		return nil, p.errorAt(at, problem, expected)
	}
	return n, nil
}

// left reads a field, within any number of lower() and any().
func (p *parser) left(s *step) (name string, err *Error) {
	p.space()
	at, open, lowerAt := p.at, 0, 0
	for name = p.word(); p.take("("); name = p.word() {
		switch open++; name {
		case "lower":
			s.lower, lowerAt = true, at
		case "any":
			s.any = true
		default:
			return "", p.errorAt(at, "unknown function", "lower or any")
		}
		p.space()
		at = p.at
	}
	if name == "" {
		return "", p.errorAt(at, "missing field", "a field, such as http.path")
	}
	if problem, ok := s.setField(name); !ok {
		err = p.errorAt(at, problem, "a field, such as http.path")
		if strings.HasPrefix(name, segmentsPrefix) {
			err.Expected = segmentsPrefix + "N, .N_M with N less than M, or .len"
		} else {
			err.Field = name
		}
		return "", err
	}
	if s.lower && s.typ != typeString {
		return "", p.errorAt(lowerAt, "lower() of "+name+", which is "+s.typ.String(), "a field that is a string")
	}
	for ; open > 0; open-- {
		if !p.take(")") {
			return "", p.errorAt(p.at, "parenthesis without an end", ")")
		}
	}
	return name, nil
}

// fits reports whether an operator compares values of a type.
func fits(op operator, t typ) bool {
	switch op {
	case opEqual, opNotEqual:
		return true
	case opRegex, opPrefix, opSuffix, opContains:
		return t == typeString
	case opGreater, opGreaterEqual, opLess, opLessEqual:
		return t == typeInt
	}
	return t == typeIP
}

func operatorsOf(t typ) string {
	return [...]string{
		typeString: "==, !=, ~, ^=, =^ or contains",
		typeInt:    "==, !=, >, >=, < or <=",
		typeIP:     "==, !=, in or not in",
	}[t]
}

// setValue sets the right side.
func (s *step) setValue(v literal) (problem, expected string) {
	switch {
	case s.typ == typeString:
		return s.setText(v)
	case s.typ == typeInt:
		n, ok := parseNumber(v.text)
		if !ok || v.quoted {
			return "not a number", "a number of 64 bits, such as 443, -1, 0x1F or 017"
		}
		s.number = n
	case s.op == opIn || s.op == opNotIn:
		prefix, err := netip.ParsePrefix(v.text)
		if err != nil || v.quoted {
			return "not a range of addresses", "a range such as 10.0.0.0/8 or fd00::/8"
		}
		if prefix != prefix.Masked() {
			return "range with bits behind its length", prefix.Masked().String()
		}
		s.prefix = &prefix
	default:
		addr, err := netip.ParseAddr(v.text)
		if err != nil || v.quoted || addr.Zone() != "" {
			return "not an address", "an address such as 192.0.2.1 or fd00::1"
		}
		addr = addr.Unmap()
		prefix := netip.PrefixFrom(addr, addr.BitLen())
		s.prefix = &prefix
	}
	return "", ""
}

// parseNumber reads a decimal number, a hexadecimal one behind 0x or an octal
// one behind 0.
func parseNumber(s string) (int64, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	base := 10
	if rest, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = rest, 16
	} else if rest, ok := strings.CutPrefix(digits, "0"); ok && rest != "" {
		digits, base = rest, 8
	}
	if strings.HasPrefix(digits, "-") {
		return 0, false
	}
	if negative {
		digits = "-" + digits
	}
	n, err := strconv.ParseInt(digits, base, 64)
	return n, err == nil
}

func (s *step) setText(v literal) (problem, expected string) {
	if !v.quoted {
		return "not a string", `a string, such as "/v1" or r#"/v1"#`
	}
	s.text = v.text
	if s.op != opRegex {
		return "", ""
	}
	re, err := regexp.Compile(v.text)
	if err != nil {
		return "invalid regex: '" + v.text + "' (RE2 returned: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ") + ")",
			"an expression in RE2 syntax, which has no look-around and no back-references"
	}
	s.pattern = re
	return "", ""
}
