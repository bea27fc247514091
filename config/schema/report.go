package schema

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is one thing that is wrong with a document.
type Error struct {
	Place
	Reason     string // what is wrong, in Kong's words where Kong has some
	Found      string // the offending value, quoted and shortened; secrets are masked
	Expected   string // what would be right; empty if Reason says it
	Suggestion string // the nearest known name
}

// Error returns the path, the reason and the hints, without the position.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Reason)
	sep := " ("
	hint := func(s string) {
		b.WriteString(sep + s)
		sep = "; "
	}
	if e.Found != "" {
		hint("found " + e.Found)
	}
	if e.Expected != "" {
		hint("expected " + e.Expected)
	}
	if e.Suggestion != "" {
		hint("did you mean " + strconv.Quote(e.Suggestion) + "?")
	}
	if sep == "; " {
		b.WriteByte(')')
	}
	return b.String()
}

// Place is a position in a document.
type Place struct {
	Path   string // such as services[0].routes[1].paths[0]
	Line   int    // from 1; 0 if the value came from Source
	Column int    // from 1
	Source string // where the value came from if not from the document

	node *yaml.Node
}

// Field returns the place of a field of the record at p, or of the record if
// the field was not written.
func (p Place) Field(name string) Place {
	q := p
	q.Path = joinKey(p.Path, name)
	if _, v := lookup(p.node, name); v != nil {
		q.Line, q.Column, q.node = v.Line, v.Column, v
	}
	return q
}

// Index returns the place of an element of the list at p, or of the list if
// there is no such element.
func (p Place) Index(i int) Place {
	q := p
	q.Path = p.Path + "[" + strconv.Itoa(i) + "]"
	if p.node != nil && p.node.Kind == yaml.SequenceNode && i < len(p.node.Content) {
		q.node = p.node.Content[i]
		q.Line, q.Column = q.node.Line, q.node.Column
	}
	return q
}

// maxErrors bounds what one document can report; the rest is only counted.
const maxErrors = 1000

// Reasons that are used in more than one place. All but ReasonUnserved are
// Kong's words.
const (
	ReasonRequired = "required field missing"
	ReasonUnknown  = "unknown field"
	ReasonNull     = "value must be null"
	ReasonUnserved = "not served by this version of Bulwark"
)

// Report gathers the errors of one document while it is decoded.
type Report struct {
	// Resolve returns the value of a {vault://...} reference. A nil function
	// makes every reference an error.
	Resolve func(ref string) (string, error)

	errs    []*Error
	more    int // errors beyond maxErrors
	path    []step
	pending []Pending
	sources map[*yaml.Node]string
	refs    References
	base    int   // length of path at the record that refs belongs to
	scope   scope // of the running Validate
}

// step is one element of a path: a key, or an index if key is empty and index
// is not negative.
type step struct {
	key   string
	index int
}

// scope is the record that a Validate method looks at.
type scope struct {
	node   *yaml.Node
	record *record
	first  int // number of errors before the record
}

// secret reports whether a field of the record must not be printed.
func (s *scope) secret(field string) bool {
	if s.record == nil {
		return false
	}
	i, ok := s.record.byName[field]
	if !ok {
		return false
	}
	f := s.record.fields[i].codec.describe()
	return f.Secret || f.Elements != nil && f.Elements.Secret || f.Values != nil && f.Values.Secret
}

// pem reports whether a field of the record is of PEM: by mistake it may be a key,
// or the rest of one.
func (s *scope) pem(field string) bool {
	if s.record == nil {
		return false
	}
	i, ok := s.record.byName[field]
	return ok && s.record.fields[i].codec.describe().pem
}

// Pending is a reference that was read but not resolved yet.
type Pending struct {
	Field      string // name of the field
	Collection string // where it points
	Key        string // the id or lookup key as written
	IsID       bool   // it was written as {id: ...}
	Text       string // as Kong's messages show it
	ID         *ID    // where the resolved id goes
	Place      Place
}

// References holds the vault references of a decoded record: the text of each,
// by the path of the field inside the record.
type References map[string]string

// Errors returns all errors in the order they were found, and how many more
// there were beyond the bound.
func (r *Report) Errors() ([]*Error, int) { return r.errs, r.more }

// Failed reports whether there is any error.
func (r *Report) Failed() bool { return len(r.errs) > 0 }

// Add appends an error. A reason with a private key in it is not told: by mistake
// one stands in a field that is no secret, as when it was exchanged with its
// certificate.
func (r *Report) Add(e *Error) {
	if len(r.errs) >= maxErrors {
		r.more++
		return
	}
	if strings.Contains(e.Reason, keyMark) {
		e.Reason = "a private key stands in it, which is not shown"
	}
	r.errs = append(r.errs, e)
}

// keyMark stands in the first line of every private key as PEM, and in the last.
const keyMark = "PRIVATE KEY-"

// TakePending returns the references read since the last call.
func (r *Report) TakePending() []Pending {
	p := r.pending
	r.pending = nil
	return p
}

// SetSource says that a node and all below it came from somewhere else than
// the document, such as an environment variable.
func (r *Report) SetSource(n *yaml.Node, source string) {
	if r.sources == nil {
		r.sources = make(map[*yaml.Node]string)
	}
	r.sources[n] = source
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		r.SetSource(c, source)
	}
}

// Place returns the place of a node at the current path.
func (r *Report) Place(n *yaml.Node) Place {
	p := Place{Path: pathString(r.path), node: n}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
		p.Source = r.sources[n]
	}
	return p
}

// Enter puts a key on the path of what is decoded next; Leave takes the last
// key or index off.
func (r *Report) Enter(key string) { r.path = append(r.path, step{key: key, index: -1}) }

// EnterIndex puts an index on the path.
func (r *Report) EnterIndex(i int) { r.path = append(r.path, step{index: i}) }

// Leave takes the last key or index off the path.
func (r *Report) Leave() { r.path = r.path[:len(r.path)-1] }

// Fail reports that a field of the record being validated is wrong; without
// steps, that the record is. Steps are field names and list indexes. A field
// that already has an error gets no second one.
func (r *Report) Fail(reason string, at ...any) { r.Expect(reason, "", at...) }

// Expect is Fail with a hint at what would be right.
func (r *Report) Expect(reason, expected string, at ...any) {
	n := r.scope.node
	depth := len(r.path)
	found := true
	for _, s := range at {
		var child *yaml.Node
		switch s := s.(type) {
		case string:
			r.path = append(r.path, step{key: s})
			_, child = lookup(n, s)
		case int:
			r.path = append(r.path, step{index: s})
			if n != nil && n.Kind == yaml.SequenceNode && s >= 0 && s < len(n.Content) {
				child = n.Content[s]
			}
		default:
			panic("BUG: a step of a path is neither a string nor an int")
		}
		if child == nil {
			found = false
			continue
		}
		n = child
	}
	e := &Error{Place: r.Place(n), Reason: reason, Expected: expected}
	if found && len(at) > 0 && n != nil {
		e.Found = show(n)
		if field, ok := at[0].(string); ok && !isRef(n.Value) && r.scope.secret(field) {
			e.Found = masked
		} else if ok && n.Kind == yaml.ScalarNode && !isRef(n.Value) && r.scope.pem(field) {
			e.Found = strconv.Itoa(len(n.Value)) + " bytes"
		}
	}
	r.path = r.path[:depth]
	if len(at) > 0 && r.hasError(e.Path) {
		return
	}
	r.Add(e)
}

// Given reports whether a field of the record being validated was written with
// a value other than null.
func (r *Report) Given(field string) bool {
	_, v := lookup(r.scope.node, field)
	return v != nil && !isNull(v)
}

// Bad reports whether a field of the record being validated already has an
// error.
func (r *Report) Bad(field string) bool {
	if len(r.errs) <= r.scope.first {
		return false
	}
	return r.hasError(joinKey(pathString(r.path), field))
}

// hasError reports whether the record being validated has an error at path or
// below it.
func (r *Report) hasError(path string) bool {
	for _, e := range r.errs[min(r.scope.first, len(r.errs)):] {
		if rest, ok := strings.CutPrefix(e.Path, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// at reports an error of node n at the current path, with what was found.
func (r *Report) at(n *yaml.Node, reason, expected string) {
	r.Add(&Error{Place: r.Place(n), Reason: reason, Found: show(n), Expected: expected})
}

// lookup returns the key and value nodes of a key of a mapping.
func lookup(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// maxShown is how many bytes of a value an error shows.
const maxShown = 60

// show returns a node's value as errors print it.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if strings.Contains(n.Value, keyMark) {
		return masked
	}
	if isNull(n) {
		return "null"
	}
	if isRef(n.Value) || n.Tag == tagString {
		return Quote(n.Value)
	}
	return shorten(n.Value)
}

// Quote returns s quoted, and shortened if it is long; a private key is masked.
func Quote(s string) string {
	if strings.Contains(s, keyMark) {
		return masked
	}
	if q := shorten(s); q != s {
		return strconv.Quote(strings.TrimSuffix(q, "...")) + "..."
	}
	return strconv.Quote(s)
}

func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "..."
}

// pathString joins the steps of a path.
func pathString(path []step) string {
	var b strings.Builder
	for _, s := range path {
		if s.key == "" && s.index >= 0 {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		}
		writeKey(&b, s.key)
	}
	return b.String()
}

func joinKey(path, key string) string {
	var b strings.Builder
	b.WriteString(path)
	writeKey(&b, key)
	return b.String()
}

// writeKey appends .key, or ["key"] if the key has other bytes than a name.
func writeKey(b *strings.Builder, key string) {
	if key == "" {
		b.WriteString(`[""]`)
		return
	}
	for i := range len(key) {
		if c := key[i]; !isAlnum(c) && c != '_' && c != '-' {
			b.WriteString("[" + Quote(key) + "]")
			return
		}
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	b.WriteString(key)
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
