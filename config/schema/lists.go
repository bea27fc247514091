package schema

import (
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// listCodec is the codec of slices: arrays, and sets if tagged unique.
type listCodec struct {
	elem codec
	typ  reflect.Type
	tags tags
}

func (c *listCodec) describe() *Field {
	return &Field{Kind: c.kind(), Elements: c.elem.describe(), LenMin: max(c.tags.lenMin, 0), LenMax: max(c.tags.lenMax, 0)}
}

func (c *listCodec) kind() string {
	if c.tags.unique {
		return kindSet
	}
	return kindArray
}

func (c *listCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.SequenceNode {
		article := "an "
		if c.tags.unique {
			article = "a "
		}
		r.at(n, "expected "+article+c.kind(), "a list, such as [a, b]")
		return false
	}
	ok := true
	out := reflect.MakeSlice(c.typ, len(n.Content), len(n.Content))
	for i, e := range n.Content {
		r.EnterIndex(i)
		if isNull(e) {
			r.at(e, ReasonRequired, expectation(c.elem.describe()))
			ok = false
		} else if !c.elem.decode(r, e, out.Index(i)) {
			ok = false
		}
		r.Leave()
	}
	if !ok {
		v.Set(out) // so that rules of several fields see that something was there
		return false
	}
	if c.tags.unique {
		out = distinct(out)
	}
	if p := lengthProblem(c.tags, out.Len()); p != "" {
		r.at(n, p, "")
		return false
	}
	v.Set(out)
	return true
}

// fewElements is up to where elements are compared with each other.
const fewElements = 16

// distinct drops repeated elements, as Kong does with sets.
func distinct(s reflect.Value) reflect.Value {
	if s.Len() < 2 {
		return s
	}
	var seen map[any]bool
	if s.Len() > fewElements {
		seen = make(map[any]bool, s.Len())
	}
	kept := 0
	for i := range s.Len() {
		e := s.Index(i)
		repeated := false
		if seen != nil {
			key := e.Interface()
			repeated, seen[key] = seen[key], true
		}
		for j := 0; seen == nil && j < kept; j++ {
			repeated = repeated || s.Index(j).Equal(e)
		}
		if !repeated {
			s.Index(kept).Set(e)
			kept++
		}
	}
	return s.Slice3(0, kept, kept)
}

func lengthProblem(t tags, n int) string {
	switch {
	case n < t.lenMin:
		return "length must be at least " + strconv.Itoa(t.lenMin)
	case t.lenMax >= 0 && n > t.lenMax:
		return "length must be at most " + strconv.Itoa(t.lenMax)
	}
	return ""
}

// mapCodec is the codec of maps with string keys.
type mapCodec struct {
	keys *stringCodec
	elem codec
	typ  reflect.Type
	tags tags
}

func (c *mapCodec) describe() *Field {
	return &Field{
		Kind: kindMap, Keys: c.keys.describe(), Values: c.elem.describe(),
		LenMin: max(c.tags.lenMin, 0), LenMax: max(c.tags.lenMax, 0),
	}
}

func (c *mapCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.MappingNode {
		r.at(n, "expected a map", "names and values")
		return false
	}
	ok := true
	out := reflect.MakeMapWithSize(c.typ, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		r.Enter(key.Value)
		ok = c.pair(r, out, key, val) && ok
		r.Leave()
	}
	if !ok {
		v.Set(out)
		return false
	}
	if p := lengthProblem(c.tags, out.Len()); p != "" {
		r.at(n, p, "")
		return false
	}
	v.Set(out)
	return true
}

func (c *mapCodec) pair(r *Report, out reflect.Value, key, val *yaml.Node) bool {
	if p := c.keys.problem(key.Value); p != nil {
		r.at(key, p.Reason, p.Expected)
		return false
	}
	if isNull(val) {
		r.at(val, ReasonRequired, expectation(c.elem.describe()))
		return false
	}
	e := reflect.New(c.typ.Elem()).Elem()
	if !c.elem.decode(r, val, e) {
		return false
	}
	out.SetMapIndex(reflect.ValueOf(key.Value).Convert(c.typ.Key()), e)
	return true
}
