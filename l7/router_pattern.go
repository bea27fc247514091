package l7

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// pathPattern is the regular expression of a path.
type pathPattern struct {
	re     *regexp.Regexp
	prefix string   // what every path it matches begins with
	groups []string // the name of each group, "" if it has none; the whole match comes first
}

// newPathPattern compiles a path's expression. It matches at the beginning of
// a path, as a whole: in "~/a|/b" both branches are held to the beginning.
func newPathPattern(text string) (*pathPattern, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`\A(?:` + text + `)`)
	if err != nil {
		return nil, err
	}
	prefix, _ := literalPrefix(tree)
	return &pathPattern{re: re, prefix: prefix, groups: re.SubexpNames()}, nil
}

// fill sets what the expression matched of path, which it does match.
func (p *pathPattern) fill(m *Match, path string) {
	loc := p.re.FindStringSubmatchIndex(path)
	m.Matched = path[:loc[1]]
	m.addCaptures(p.groups, loc, path)
}

// literalPrefix returns text that everything the expression matches begins
// with, and whether more may be added to it from what follows the expression.
func literalPrefix(re *syntax.Regexp) (prefix string, open bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return "", true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return "", false
		}
		prefix = string(re.Rune)
		// The replacement character matches invalid bytes too.
		if i := strings.IndexRune(prefix, utf8.RuneError); i >= 0 {
			return prefix[:i], false
		}
		return prefix, true
	case syntax.OpCapture:
		return literalPrefix(re.Sub[0])
	case syntax.OpPlus:
		prefix, _ = literalPrefix(re.Sub[0])
		return prefix, false
	case syntax.OpRepeat:
		if re.Min > 0 {
			prefix, _ = literalPrefix(re.Sub[0])
		}
		return prefix, false
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			more, open := literalPrefix(sub)
			prefix += more
			if !open {
				return prefix, false
			}
		}
		return prefix, true
	}
	return "", false
}
