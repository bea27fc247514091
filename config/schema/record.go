package schema

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (c *record) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	return c.decodeWith(r, n, v, nil)
}

// decodeWith is decode with someone to ask about unknown keys.
func (c *record) decodeWith(r *Report, n *yaml.Node, v reflect.Value, extra Extra) bool {
	v.Set(c.zero)
	if n.Kind != yaml.MappingNode {
		r.at(n, "expected a record", "a map of names to values")
		return false
	}
	first, more := len(r.errs), r.more
	var seen [maxMembers]bool
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at, ok := c.byName[key.Value]
		if !ok {
			if extra == nil || !extra(key, val) {
				c.unknown(r, key)
			}
			continue
		}
		m := &c.fields[at]
		r.Enter(m.name)
		if isNull(val) {
			if m.nullable {
				v.Field(m.index).SetZero()
			}
		} else {
			seen[at] = true
			ok := m.codec.decode(r, val, v.Field(m.index))
			if ok && m.refused && !reflect.DeepEqual(v.Field(m.index).Interface(), c.zero.Field(m.index).Interface()) {
				r.at(val, ReasonUnserved, m.onlyDefault())
			}
		}
		r.Leave()
	}
	for i := range c.fields {
		if m := &c.fields[i]; m.required && !seen[i] {
			c.missing(r, n, m)
		}
	}
	if c.validates {
		outer := r.scope
		r.scope = scope{node: n, record: c, first: first}
		v.Addr().Interface().(Validator).Validate(r)
		r.scope = outer
	}
	return len(r.errs) == first && r.more == more
}

func (m *member) onlyDefault() string {
	if m.def == "" {
		return "null"
	}
	return "null or the default, " + m.def
}

func (c *record) missing(r *Report, n *yaml.Node, m *member) {
	k, _ := lookup(n, m.name)
	if k == nil {
		k = n
	}
	place := r.Place(k)
	place.Path = joinKey(place.Path, m.name)
	r.Add(&Error{Place: place, Reason: ReasonRequired, Expected: expectation(m.codec.describe())})
}

func (c *record) unknown(r *Report, key *yaml.Node) {
	r.Unknown(key, c.names)
}

// Unknown reports a key that is none of the known names.
func (r *Report) Unknown(key *yaml.Node, known []string) {
	place := r.Place(key)
	place.Path = joinKey(place.Path, key.Value)
	r.Add(&Error{Place: place, Reason: ReasonUnknown, Suggestion: Nearest(key.Value, known)})
}

// Reject reports a key that must not be there.
func (r *Report) Reject(key *yaml.Node, reason, expected string) {
	place := r.Place(key)
	place.Path = joinKey(place.Path, key.Value)
	r.Add(&Error{Place: place, Reason: reason, Expected: expected})
}

// expectation describes what a field takes, in a few words.
func expectation(f *Field) string {
	s := f.Kind
	switch {
	case len(f.Enum) > 0:
		return "one of " + strings.Join(f.Enum, ", ")
	case f.Kind == kindForeign:
		return "the id or name of one of the " + f.Reference
	case f.Min != "" && f.Max != "":
		s += " between " + f.Min + " and " + f.Max
	case f.Min != "":
		s += " of at least " + f.Min
	case f.Example != "":
		s += " such as " + f.Example
	}
	if strings.HasPrefix(s, "a") || strings.HasPrefix(s, "i") {
		return "an " + s
	}
	return "a " + s
}

// pointerCodec is the codec of a nullable value.
type pointerCodec struct {
	elem codec
	typ  reflect.Type
}

func (c *pointerCodec) describe() *Field { return c.elem.describe() }

func (c *pointerCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	p := reflect.New(c.typ)
	if !c.elem.decode(r, n, p.Elem()) {
		return false
	}
	v.Set(p)
	return true
}

// refusedCodec is the codec of Unserved.
type refusedCodec struct{}

func (*refusedCodec) describe() *Field { return &Field{Kind: kindAny, Refused: true} }

func (*refusedCodec) decode(r *Report, n *yaml.Node, _ reflect.Value) bool {
	if n.Kind != yaml.ScalarNode && len(n.Content) == 0 {
		return true
	}
	r.at(n, ReasonUnserved, "null")
	return false
}

// refCodec is the codec of a Reference.
type refCodec struct{ collection string }

func (c *refCodec) describe() *Field { return &Field{Kind: kindForeign, Reference: c.collection} }

func (c *refCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	_, id := v.Addr().Interface().(Reference).Target()
	p := Pending{Field: r.lastKey(), Collection: c.collection, ID: id}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == tagString && n.Value != "":
		p.Key, p.Text = n.Value, n.Value
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[1].Tag == tagString && n.Content[1].Value != "":
		p.Key, p.IsID = n.Content[1].Value, n.Content[0].Value == "id"
		p.Text = `{"` + n.Content[0].Value + `":"` + p.Key + `"}`
		switch n.Content[0].Value {
		case "id":
			if _, err := ParseID(p.Key); err != nil {
				r.Enter("id")
				r.at(n.Content[1], err.Error(), "")
				r.Leave()
				return false
			}
		case "name", "username":
		default:
			r.Unknown(n.Content[0], []string{"id", "name"})
			return false
		}
	default:
		r.at(n, "expected the id or name of one of the "+c.collection, `a string, {id: ...} or {name: ...}`)
		return false
	}
	p.Place = r.Place(n)
	r.pending = append(r.pending, p)
	return true
}

func (r *Report) lastKey() string {
	if len(r.path) == 0 {
		return ""
	}
	return r.path[len(r.path)-1].key
}

// anyCodec keeps the node, to be decoded once its type is known.
type anyCodec struct{}

func (*anyCodec) describe() *Field { return &Field{Kind: kindAny} }

func (*anyCodec) decode(_ *Report, n *yaml.Node, v reflect.Value) bool {
	v.Set(reflect.ValueOf(n))
	return true
}
