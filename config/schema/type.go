package schema

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Validator is implemented by the pointer of a struct with rules that concern
// several of its fields.
type Validator interface{ Validate(r *Report) }

// Type is the description of one struct type, compiled once by Of. It is
// immutable and may be used by several goroutines.
type Type struct {
	typ    reflect.Type
	record *record
	equal  comparer
}

// Of describes the struct type C. It panics if the tags of C are wrong, as
// that is a mistake in the program.
func Of[C any]() *Type {
	t := reflect.TypeFor[C]()
	if t.Kind() != reflect.Struct {
		panic("BUG: schema of " + t.String() + ", which is no struct")
	}
	equal, _ := comparerOf(t, nil)
	return &Type{typ: t, record: compileRecord(t), equal: equal}
}

// Extra is asked about keys that no field has. It returns false for a key that
// it does not know either.
type Extra func(key, value *yaml.Node) bool

// New returns a pointer to a new struct that holds the defaults.
func (t *Type) New() any {
	v := reflect.New(t.typ)
	v.Elem().Set(t.record.zero)
	return v.Interface()
}

// Decode reads a node, nil standing for an empty record, and returns a pointer
// to a new struct. Everything wrong goes to r; fields that were wrong hold
// their defaults, and wrong elements of lists are zero. The text of vault references is returned by field path.
func (t *Type) Decode(r *Report, n *yaml.Node, extra Extra) (any, References) {
	if n == nil || isNull(n) {
		empty := &yaml.Node{Kind: yaml.MappingNode, Tag: tagMap}
		if n != nil {
			empty.Line, empty.Column = n.Line, n.Column
		}
		n = empty
	}
	refs, base := r.refs, r.base
	r.refs, r.base = nil, len(r.path)
	v := reflect.New(t.typ)
	t.record.decodeWith(r, n, v.Elem(), extra)
	got := r.refs
	r.refs, r.base = refs, base
	return v.Interface(), got
}

// DecodeBytes reads a whole document. The error joins everything that is wrong
// with it, one per line.
func (t *Type) DecodeBytes(src []byte) (any, error) {
	r := &Report{}
	n := Parse(src, r)
	if n == nil {
		return nil, joined(r)
	}
	v, _ := t.Decode(r, n, nil)
	if r.Failed() {
		return nil, joined(r)
	}
	return v, nil
}

// joined returns the errors of a report as one.
func joined(r *Report) error {
	list := ErrorList(r.errs)
	return list
}

// ErrorList is several errors, printed one per line with their positions.
type ErrorList []*Error

// Error returns one line per error: line:column: path: reason.
func (l ErrorList) Error() string {
	s := ""
	for i, e := range l {
		if i > 0 {
			s += "\n"
		}
		s += fmt.Sprintf("%d:%d: %v", e.Line, e.Column, e)
	}
	return s
}

// Kinds of values, in Kong's words.
const (
	kindString  = "string"
	kindInteger = "integer"
	kindNumber  = "number"
	kindBoolean = "boolean"
	kindArray   = "array"
	kindSet     = "set"
	kindMap     = "map"
	kindRecord  = "record"
	kindForeign = "foreign"
	kindAny     = "any"
)

// Field describes one field, list element or map value for documents and for
// schema answers.
type Field struct {
	Name      string
	Doc       string
	Kind      string   // Kong's word: string integer number boolean array set map record foreign any
	Format    string   // of a string: uuid, duration, size, regex, password, or the named check
	Example   string   // a valid value, if the format needs one
	Required  bool     // an absent field is an error
	Nullable  bool     // null differs from the default
	Default   string   // as YAML; empty if there is none
	Min, Max  string   // bounds, empty if there are none
	Enum      []string // allowed values; empty for any
	Unserved  []string // values of Enum that this version refuses
	Refused   bool     // anything but the default is refused by this version
	LenMin    int      // least length
	LenMax    int      // greatest length; 0 for none
	Match     string   // RE2 pattern
	Secret    bool     // never printed
	pem       bool     // errors tell only its length
	Vault     bool     // takes {vault://...} references
	Integer   bool     // a string that may also be written as an integer
	Reference string   // of kind foreign: the collection
	Elements  *Field   // of kind array and set
	Keys      *Field   // of kind map
	Values    *Field   // of kind map
	Fields    []*Field // of kind record
	Hidden    bool     // read but not part of what is marshalled
}

// Fields returns the description of the struct's fields in their order.
func (t *Type) Fields() []*Field { return t.record.field.Fields }
