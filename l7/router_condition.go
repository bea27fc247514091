package l7

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config/expr"
)

// methodSet is a set of well-known methods, a bit for each.
type methodSet uint16

// newMethodSet returns the set of so many methods; none if there is none, or one
// of them is not well known.
func newMethodSet(methods []string) (set methodSet) {
	for _, m := range methods {
		bit := methodBit(m)
		if bit == 0 {
			return 0
		}
		set |= bit
	}
	return set
}

// has reports whether a method is in the set.
func (s methodSet) has(method string) bool { return s&methodBit(method) != 0 }

// methodBit returns the bit of a method, 0 if it is not well known.
func methodBit(method string) methodSet {
	switch method {
	case http.MethodGet:
		return 1 << 0
	case http.MethodHead:
		return 1 << 1
	case http.MethodPost:
		return 1 << 2
	case http.MethodPut:
		return 1 << 3
	case http.MethodPatch:
		return 1 << 4
	case http.MethodDelete:
		return 1 << 5
	case http.MethodOptions:
		return 1 << 6
	case http.MethodConnect:
		return 1 << 7
	case http.MethodTrace:
		return 1 << 8
	}
	return 0
}

// conditions are what a route asks of a request besides host and path, and what
// candidates tell by themselves. Each that is set must hold.
type conditions struct {
	plainOnly  bool     // the connection is not TLS
	methods    []string // those of a route of which one is not well known
	snis       []sniPattern
	headers    []headerCondition
	expression *expr.Expr // nil for none; then there is nothing else but plainOnly
}

// newConditions returns nil if there are none.
func newConditions(methods, snis []string, headers map[string][]string, plainOnly bool) (*conditions, error) {
	if len(methods) == 0 && len(snis) == 0 && len(headers) == 0 && !plainOnly {
		return nil, nil
	}
	c := &conditions{methods: methods, plainOnly: plainOnly}
	for _, s := range snis {
		c.snis = append(c.snis, newSNIPattern(s))
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		h, err := newHeaderCondition(name, headers[name])
		if err != nil {
			return nil, err
		}
		c.headers = append(c.headers, h)
	}
	return c, nil
}

// hold reports whether all conditions do. f is q as expressions see it.
func (c *conditions) hold(q *Query, f *expr.Fields) bool {
	if c.plainOnly && q.HTTPS {
		return false
	}
	if c.expression != nil {
		return c.expression.Eval(f)
	}
	if len(c.methods) > 0 && !slices.Contains(c.methods, q.Method) {
		return false
	}
	if len(c.snis) > 0 && q.HTTPS && !c.matchSNI(q.SNI) {
		return false
	}
	for i := range c.headers {
		if !c.headers[i].holds(q.Header) {
			return false
		}
	}
	return true
}

func (c *conditions) matchSNI(name string) bool {
	for i := range c.snis {
		if c.snis[i].matches(name) {
			return true
		}
	}
	return false
}

// sniPattern is a server name, "*.name" or "name.*".
type sniPattern struct {
	kind hostKind // never hostAny
	text string   // lower case; with the dot at the star of a wildcard
}

func newSNIPattern(s string) sniPattern {
	s = strings.ToLower(s)
	if strings.HasSuffix(s, ".*") {
		return sniPattern{hostPrefix, s[:len(s)-1]}
	}
	s = strings.TrimSuffix(s, ".") // the root's dot is never in a handshake (RFC 6066 section 3)
	if strings.HasPrefix(s, "*.") {
		return sniPattern{hostSuffix, s[1:]}
	}
	return sniPattern{hostExact, s}
}

func (p *sniPattern) matches(name string) bool {
	if len(name) < len(p.text) {
		return false
	}
	switch p.kind {
	case hostSuffix:
		name = name[len(name)-len(p.text):]
	case hostPrefix:
		name = name[:len(p.text)]
	}
	return len(name) == len(p.text) && equalLower(name, p.text)
}

// headerCondition holds if a field of the name has one of the values.
type headerCondition struct {
	name     string   // lower case, with hyphens for underscores
	values   []string // lower case
	patterns []*regexp.Regexp
}

// patternMark begins a header value that is a regular expression.
const patternMark = "~*"

func newHeaderCondition(name string, values []string) (headerCondition, error) {
	h := headerCondition{name: strings.ReplaceAll(strings.ToLower(name), "_", "-")}
	for _, v := range values {
		text, isPattern := strings.CutPrefix(v, patternMark)
		if !isPattern {
			h.values = append(h.values, lowerASCII(v))
			continue
		}
		re, err := regexp.Compile(`(?i:` + text + `)`)
		if err != nil {
			return h, fmt.Errorf("compiling the value %q of header %q: %w", v, name, err)
		}
		h.patterns = append(h.patterns, re)
	}
	return h, nil
}

func (c *headerCondition) holds(h *Header) bool {
	if h == nil {
		return false
	}
	for i := range h.fields {
		f := &h.fields[i]
		if len(f.Name) == len(c.name) && sameFieldName(f.Name, c.name) && c.hasValue(f.Value) {
			return true
		}
	}
	return false
}

func (c *headerCondition) hasValue(value string) bool {
	for _, v := range c.values {
		if len(v) == len(value) && equalLower(value, v) {
			return true
		}
	}
	for _, re := range c.patterns {
		if re.MatchString(value) {
			return true
		}
	}
	return false
}

// lowerASCII lowers ASCII letters only, as values are compared.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// sameFieldName reports whether name is lower, which has the same length and
// is in lower case, when case is ignored and an underscore counts as a hyphen.
// Kong's router knows field names only so.
func sameFieldName(name, lower string) bool {
	for i := range len(lower) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
