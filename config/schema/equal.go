package schema

import (
	"bytes"
	"reflect"
	"slices"
)

// Equal reports whether a and b, pointers to two structs that t describes, hold
// the same, as reflect.DeepEqual does, many times as fast: thousands of entities
// are compared for every change of configuration. Fields that have the tag
// derived:"true" follow from others and are not looked at.
func (t *Type) Equal(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if p := reflect.PointerTo(t.typ); x.Type() != p || y.Type() != p {
		panic("BUG: comparing values of another type than " + t.typ.String())
	}
	return t.equal(x.Elem(), y.Elem())
}

// comparer reports whether two values of one type are equal.
type comparer func(a, b reflect.Value) bool

// deeply compares what has no comparer of its own. It cannot look at what is in
// a field that is not exported.
func deeply(a, b reflect.Value) bool { return reflect.DeepEqual(a.Interface(), b.Interface()) }

// comparerOf returns the comparer of a type, and whether it can also look at
// what is in a field that is not exported. within are the types that this one
// is a part of.
func comparerOf(t reflect.Type, within []reflect.Type) (c comparer, anywhere bool) {
	switch t.Kind() {
	case reflect.String:
		return func(a, b reflect.Value) bool { return a.String() == b.String() }, true
	case reflect.Bool:
		return func(a, b reflect.Value) bool { return a.Bool() == b.Bool() }, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(a, b reflect.Value) bool { return a.Int() == b.Int() }, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(a, b reflect.Value) bool { return a.Uint() == b.Uint() }, true
	case reflect.Float32, reflect.Float64:
		return func(a, b reflect.Value) bool { return a.Float() == b.Float() }, true
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return equalBytes, false
		}
	case reflect.Struct:
		if !slices.Contains(within, t) {
			return structComparer(t, append(within, t))
		}
	case reflect.Slice:
		element, anywhere := comparerOf(t.Elem(), within)
		return sliceComparer(element), anywhere
	case reflect.Map:
		element, anywhere := comparerOf(t.Elem(), within)
		return mapComparer(element), anywhere
	}
	return deeply, false
}

func equalBytes(a, b reflect.Value) bool {
	if a.CanAddr() && b.CanAddr() {
		return bytes.Equal(a.Bytes(), b.Bytes())
	}
	return deeply(a, b)
}

func sliceComparer(element comparer) comparer {
	return func(a, b reflect.Value) bool {
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		if a.Pointer() == b.Pointer() {
			return true // such as a default
		}
		for i := range a.Len() {
			if !element(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
}

func mapComparer(element comparer) comparer {
	return func(a, b reflect.Value) bool {
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		if a.Len() == 0 {
			return true
		}
		for all := a.MapRange(); all.Next(); {
			other := b.MapIndex(all.Key())
			if !other.IsValid() || !element(all.Value(), other) {
				return false
			}
		}
		return true
	}
}

// structComparer compares the fields, unless one that is not exported can only
// be looked at with all the others.
func structComparer(t reflect.Type, within []reflect.Type) (c comparer, anywhere bool) {
	type compared struct {
		index int
		equal comparer
	}
	var fields []compared
	derived, hidden := false, false
	anywhere = true
	for f := range t.Fields() {
		if f.Tag.Get("derived") == "true" {
			derived = true
			continue
		}
		equal, reads := comparerOf(f.Type, within)
		anywhere = anywhere && reads
		hidden = hidden || !reads && !f.IsExported()
		fields = append(fields, compared{f.Index[0], equal})
	}
	if hidden {
		if derived {
			panic("BUG: " + t.String() + " has derived fields, and others that are not exported and cannot be compared")
		}
		return deeply, false
	}
	return func(a, b reflect.Value) bool {
		for i := range fields {
			f := &fields[i]
			if !f.equal(a.Field(f.index), b.Field(f.index)) {
				return false
			}
		}
		return true
	}, anywhere
}
