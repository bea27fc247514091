package l7

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode/utf8"
	"weak"
)

// pathPattern is the regular expression of a path.
type pathPattern struct {
	re     *regexp.Regexp
	prefix string   // what every path it matches begins with
	groups []string // the name of each group, "" if it has none; the whole match comes first
}

// patternCache holds the expressions of the routers that stem from one another,
// so that a text is compiled once, and kept once. It keeps none alive.
type patternCache struct {
	mu     sync.Mutex
	byText map[string]weak.Pointer[pathPattern]
	most   int // number of texts at which those are forgotten that nobody uses
}

// fewPatterns is the least number of texts to look for unused ones.
const fewPatterns = 64

func (c *patternCache) get(text string) (*pathPattern, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.byText[text].Value(); p != nil {
		return p, nil
	}
	p, err := newPathPattern(text)
	if err != nil {
		return nil, err
	}
	if c.byText == nil {
		c.byText = map[string]weak.Pointer[pathPattern]{}
	}
	c.byText[text] = weak.Make(p)
	if len(c.byText) > c.most {
		maps.DeleteFunc(c.byText, func(_ string, p weak.Pointer[pathPattern]) bool { return p.Value() == nil })
		c.most = max(2*len(c.byText), fewPatterns)
	}
	return p, nil
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
