package requesttransformer

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// template is a text with places that are filled from a request.
type template struct {
	parts []part
	text  string // of a template that is fixed
	fixed bool   // there are no places
}

// part is a literal or, with choices, a place.
type part struct {
	literal string
	choices []operand // the first that is there is taken
}

// operand is a string or a look-up in a table.
type operand struct {
	table table
	key   string // the text of a string
}

// table is where a look-up looks.
type table uint8

const (
	tableNone table = iota // a string
	tableHeaders
	tableQuery
	tableCaptures
)

// parseTemplate reads a template:
//
//	template = *( text / "$(" operand *( "or" operand ) ")" )
//	operand  = string / name "." word / name "[" ( string / number ) "]"
//
// Its errors name the place, counted in bytes from 1.
func parseTemplate(text string) (*template, error) {
	t := &template{}
	p := parser{text: text}
	for {
		i := strings.Index(text[p.at:], "$(")
		if i < 0 {
			break
		}
		t.literal(text[p.at : p.at+i])
		p.at += i + len("$(")
		choices, err := p.expression()
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{choices: choices})
	}
	t.literal(text[p.at:])
	if t.fixed = true; len(t.parts) > 0 {
		t.fixed = len(t.parts) == 1 && t.parts[0].choices == nil
		t.text = t.parts[0].literal
	}
	return t, nil
}

func (t *template) literal(s string) {
	if s != "" {
		t.parts = append(t.parts, part{literal: s})
	}
}

// isPath reports whether what is fixed of the template may stand in a path that
// begins with a slash.
func (t *template) isPath() bool {
	if len(t.parts) == 0 || !strings.HasPrefix(t.parts[0].literal, "/") {
		return false
	}
	for _, p := range t.parts {
		if strings.ContainsAny(p.literal, "?#\x00") {
			return false
		}
	}
	if t.fixed {
		_, ok := upstreamPath(t.text)
		return ok
	}
	return true
}

// parser reads what stands between the parentheses of a place.
type parser struct {
	text string
	at   int
}

func (p *parser) fail(found int, what string) error {
	return fmt.Errorf("cannot read the template at byte %d: %s", found+1, what)
}

// expression reads up to and with the closing parenthesis.
func (p *parser) expression() ([]operand, error) {
	var choices []operand
	for {
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		choices = append(choices, o)
		p.space()
		start := p.at
		switch {
		case p.take(')'):
			return choices, nil
		case p.word() == "or":
		default:
			return nil, p.fail(start, `expected "or" or ")"`)
		}
	}
}

func (p *parser) operand() (operand, error) {
	p.space()
	start := p.at
	if s, ok, err := p.quoted(); ok || err != nil {
		return operand{key: s}, err
	}
	var o operand
	switch name := p.word(); name {
	case "headers":
		o.table = tableHeaders
	case "query_params":
		o.table = tableQuery
	case "uri_captures":
		o.table = tableCaptures
	case "shared":
		return o, p.fail(start, "there is no kong.ctx.shared, since there are no Lua plugins")
	case "":
		return o, p.fail(start, "expected a string, headers, query_params or uri_captures")
	default:
		return o, p.fail(start, "unknown name "+strconv.Quote(name)+", expected headers, query_params or uri_captures")
	}
	var err error
	o.key, err = p.key(o.table)
	return o, err
}

// key reads .word, ['string'] or [number].
func (p *parser) key(t table) (key string, err error) {
	if p.take('.') {
		start := p.at
		if key = p.word(); key == "" {
			return "", p.fail(start, "expected a name")
		}
		return key, nil
	}
	start := p.at
	if !p.take('[') {
		return "", p.fail(start, `expected "." or "["`)
	}
	p.space()
	start = p.at
	key, ok, err := p.quoted()
	switch {
	case err != nil:
		return "", err
	case !ok:
		key = p.word()
		if _, err := strconv.ParseUint(key, 10, 16); err != nil || t != tableCaptures {
			return "", p.fail(start, "expected a string in quotes, or in uri_captures a number")
		}
	case key == "":
		return "", p.fail(start, "expected a name")
	}
	p.space()
	start = p.at
	if !p.take(']') {
		return "", p.fail(start, `expected "]"`)
	}
	return key, nil
}

// quoted reads a string in single or double quotes; a backslash takes the
// character behind it literally.
func (p *parser) quoted() (s string, ok bool, err error) {
	if p.at == len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
		return "", false, nil
	}
	start, quote := p.at, p.text[p.at]
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == quote:
			p.at++
			return b.String(), true, nil
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", false, p.fail(start, "the string has no end")
}

func (p *parser) word() string {
	start := p.at
	for p.at < len(p.text) && isWordByte(p.text[p.at]) {
		p.at++
	}
	return p.text[start:p.at]
}

func isWordByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_'
}

func (p *parser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
}

func (p *parser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// render fills the places from x. In a path, what the request brings is escaped;
// groups of the route's path are so already.
func (t *template) render(x *l7.Exchange, path bool) string {
	if t.fixed {
		return t.text
	}
	var b strings.Builder
	for i := range t.parts {
		p := &t.parts[i]
		b.WriteString(p.literal)
		for j := range p.choices {
			o := &p.choices[j]
			if o.table == tableNone {
				b.WriteString(o.key)
				break
			}
			if v, ok := o.lookup(x); ok {
				if path && o.table != tableCaptures {
					v = escapePath(v)
				}
				b.WriteString(v)
				break
			}
		}
	}
	return b.String()
}

// escapePath escapes every byte that could end a path or be taken for an escape.
func escapePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isWordByte(c) || strings.IndexByte("/-.~!$&'()*+,;=:@", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (o *operand) lookup(x *l7.Exchange) (string, bool) {
	switch o.table {
	case tableHeaders:
		return lookupHeader(x, o.key)
	case tableQuery:
		return lookupQuery(x.Upstream.Query, o.key)
	}
	return x.Capture(o.key)
}

// lookupHeader returns a field that the upstream would be sent. As in Kong,
// underscores also stand for dashes.
func lookupHeader(x *l7.Exchange, name string) (string, bool) {
	h := x.HeaderToSend()
	if v, ok := h.Get(name); ok {
		return v, true
	}
	if strings.Contains(name, "_") {
		return h.Get(strings.ReplaceAll(name, "_", "-"))
	}
	return "", false
}

// lookupQuery returns the first argument of that name.
func lookupQuery(query, name string) (string, bool) {
	for arg := range strings.SplitSeq(query, "&") {
		n, v, _ := strings.Cut(arg, "=")
		if n == name || decodeArg(n) == name {
			return decodeArg(v), true
		}
	}
	return "", false
}

// decodeArg decodes a name or value of a form; what cannot be decoded stays as
// it is.
func decodeArg(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}
