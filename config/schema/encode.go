package schema

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// Marshal returns v, a pointer to a struct that t describes, as JSON in Kong's
// manner: absent values are null, empty lists are []. Fields that came from a
// vault are shown as their reference. The fields of kind any in v are
// described by dynamic, which may be nil.
func (t *Type) Marshal(v any, refs References, dynamic *Type) ([]byte, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.Type().Elem() != t.typ {
		panic("BUG: marshalling a value of another type than " + t.typ.String())
	}
	w := &writer{refs: refs, dynamic: dynamic}
	t.record.encode(w, rv.Elem())
	return w.buf.Bytes(), w.err
}

// writer gathers the JSON text.
type writer struct {
	buf     bytes.Buffer
	refs    References
	path    []step // kept only if there are references
	dynamic *Type
	err     error
}

func (w *writer) null() { w.buf.WriteString("null") }

// json appends any value by the rules of encoding/json.
func (w *writer) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.buf.Write(b)
}

func (w *writer) enter(s step) {
	if len(w.refs) > 0 {
		w.path = append(w.path, s)
	}
}

func (w *writer) leave() {
	if len(w.refs) > 0 {
		w.path = w.path[:len(w.path)-1]
	}
}

// ref returns the reference that the value at the current path came from.
func (w *writer) ref() string {
	if len(w.refs) == 0 {
		return ""
	}
	return w.refs[pathString(w.path)]
}

func (c *record) encode(w *writer, v reflect.Value) {
	w.buf.WriteByte('{')
	first := true
	for i := range c.fields {
		m := &c.fields[i]
		if m.omit || m.omitZero && v.Field(m.index).IsZero() {
			continue
		}
		if !first {
			w.buf.WriteByte(',')
		}
		first = false
		w.json(m.name)
		w.buf.WriteByte(':')
		w.enter(step{key: m.name})
		m.codec.encode(w, v.Field(m.index))
		w.leave()
	}
	w.buf.WriteByte('}')
}

func (c *pointerCodec) encode(w *writer, v reflect.Value) {
	if v.IsNil() {
		w.null()
		return
	}
	c.elem.encode(w, v.Elem())
}

func (*refusedCodec) encode(w *writer, _ reflect.Value) { w.null() }

func (*refCodec) encode(w *writer, v reflect.Value) {
	_, id := v.Addr().Interface().(Reference).Target()
	if id.IsZero() {
		w.null()
		return
	}
	w.buf.WriteString(`{"id":"` + id.String() + `"}`)
}

func (*anyCodec) encode(w *writer, v reflect.Value) {
	if v.IsNil() {
		w.null()
		return
	}
	e := v.Elem()
	if w.dynamic != nil && e.Kind() == reflect.Pointer && !e.IsNil() && e.Type().Elem() == w.dynamic.typ {
		w.dynamic.record.encode(w, e.Elem())
		return
	}
	w.json(v.Interface())
}

func (c *stringCodec) encode(w *writer, v reflect.Value) {
	s := v.String()
	if ref := w.ref(); ref != "" {
		s = ref
	}
	if s == "" && c.field.LenMin > 0 {
		w.null()
		return
	}
	w.json(s)
}

func (*boolCodec) encode(w *writer, v reflect.Value) {
	w.buf.WriteString(strconv.FormatBool(v.Bool()))
}

func (c *intCodec) encode(w *writer, v reflect.Value) {
	if c.unsigned {
		w.buf.WriteString(strconv.FormatUint(v.Uint(), 10))
		return
	}
	w.buf.WriteString(strconv.FormatInt(v.Int(), 10))
}

func (*floatCodec) encode(w *writer, v reflect.Value) { w.json(v.Interface()) }

func (c *textCodec) encode(w *writer, v reflect.Value) {
	if ref := w.ref(); ref != "" {
		w.json(ref)
		return
	}
	if v.IsZero() && !v.CanInt() {
		w.null()
		return
	}
	w.json(v.Interface())
}

func (c *listCodec) encode(w *writer, v reflect.Value) {
	if v.IsNil() {
		w.null()
		return
	}
	w.buf.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			w.buf.WriteByte(',')
		}
		w.enter(step{index: i})
		c.elem.encode(w, v.Index(i))
		w.leave()
	}
	w.buf.WriteByte(']')
}

func (c *mapCodec) encode(w *writer, v reflect.Value) {
	if v.IsNil() {
		w.null()
		return
	}
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	w.buf.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			w.buf.WriteByte(',')
		}
		w.json(k)
		w.buf.WriteByte(':')
		w.enter(step{key: k})
		e := reflect.New(c.typ.Elem()).Elem()
		e.Set(v.MapIndex(reflect.ValueOf(k).Convert(c.typ.Key())))
		c.elem.encode(w, e)
		w.leave()
	}
	w.buf.WriteByte('}')
}
