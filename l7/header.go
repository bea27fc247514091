package l7

import "strings"

// Field is one header or trailer field as it stood on the wire: the name keeps
// its spelling, the value has no surrounding white space.
type Field struct {
	Name  string
	Value string
	ID    FieldID // what the name is, so that the data path never compares names twice
}

// Header is a list of fields in wire order, duplicates included. The zero
// value is an empty header. A Header is owned by its exchange and is not safe
// for concurrent use.
type Header struct {
	fields []Field
	seen   uint64 // bit FieldID is set if a field of that known name was ever added
}

// Fields returns the fields in wire order. The slice is the header's own: it
// is valid until the header changes.
func (h *Header) Fields() []Field { return h.fields }

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Add appends a field. A name or value that could break a message apart, or is
// none at all (see ValidField), is refused: the header stays as it is, and Add
// returns false.
func (h *Header) Add(name, value string) bool {
	if !ValidField(name, value) {
		return false
	}
	h.AddField(Field{Name: name, Value: value, ID: LookupField(name)})
	return true
}

// AddField appends a field whose ID the caller already knows and whose name and
// value it vouches for: they were parsed, or are constants.
func (h *Header) AddField(f Field) {
	h.seen |= 1 << f.ID
	h.fields = append(h.fields, f)
}

// Has reports whether a field of the known name id is present.
func (h *Header) Has(id FieldID) bool {
	_, ok := h.Known(id)
	return ok
}

// Known returns the first value of the known field id. For an absent field it
// costs one bit test.
func (h *Header) Known(id FieldID) (string, bool) {
	if h.seen&(1<<id) == 0 {
		return "", false
	}
	for i := range h.fields {
		if h.fields[i].ID == id {
			return h.fields[i].Value, true
		}
	}
	return "", false
}

// Get returns the first value of the named field, compared without case.
func (h *Header) Get(name string) (string, bool) {
	id := LookupField(name)
	if id != FieldOther {
		return h.Known(id)
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.ID == FieldOther && strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Set replaces every field of that name by one, at the place of the first, or
// appends it. It refuses what Add refuses.
func (h *Header) Set(name, value string) bool {
	if !ValidField(name, value) {
		return false
	}
	id := LookupField(name)
	kept, placed := h.fields[:0], false
	for _, f := range h.fields {
		if !f.is(id, name) {
			kept = append(kept, f)
			continue
		}
		if !placed {
			kept, placed = append(kept, Field{Name: name, Value: value, ID: id}), true
		}
	}
	h.truncate(kept)
	if !placed {
		h.AddField(Field{Name: name, Value: value, ID: id})
	}
	return true
}

// Del removes every field of that name.
func (h *Header) Del(name string) {
	id := LookupField(name)
	if id != FieldOther && h.seen&(1<<id) == 0 {
		return
	}
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !f.is(id, name) {
			kept = append(kept, f)
		}
	}
	h.truncate(kept)
	if id != FieldOther {
		h.seen &^= 1 << id
	}
}

// DelFunc removes every field for which del returns true.
func (h *Header) DelFunc(del func(f *Field) bool) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !del(&f) {
			kept = append(kept, f)
		}
	}
	h.truncate(kept)
}

// NominatesAny reports whether a Connection field of h names a field that is
// not the connection's own anyway.
func (h *Header) NominatesAny() bool {
	if h.seen&(1<<FieldConnection) == 0 {
		return false
	}
	for i := range h.fields {
		if h.fields[i].ID != FieldConnection {
			continue
		}
		if v := h.fields[i].Value; v == "keep-alive" || v == "close" {
			continue
		}
		for token := range strings.SplitSeq(h.fields[i].Value, ",") {
			switch strings.ToLower(strings.Trim(token, " \t")) {
			case "", "keep-alive", "close", "upgrade", "te":
			default:
				return true
			}
		}
	}
	return false
}

// DropNominated removes the fields that the Connection fields of h name, but
// for those that are an engine's to pass over or act on.
func (h *Header) DropNominated() {
	if !h.NominatesAny() {
		return
	}
	kept := make([]Field, 0, len(h.fields))
	for _, f := range h.fields {
		switch f.ID {
		case FieldConnection, FieldKeepAlive, FieldUpgrade:
		default:
			if h.Nominates(&f) {
				continue
			}
		}
		kept = append(kept, f)
	}
	h.truncate(append(h.fields[:0], kept...))
}

// Nominates reports whether a Connection field of h names f.
func (h *Header) Nominates(f *Field) bool {
	for i := range h.fields {
		if h.fields[i].ID != FieldConnection {
			continue
		}
		for token := range strings.SplitSeq(h.fields[i].Value, ",") {
			if equalFold(strings.Trim(token, " \t"), f.Name) {
				return true
			}
		}
	}
	return false
}

// CopyFrom makes h a copy of o that shares nothing but the strings.
func (h *Header) CopyFrom(o *Header) {
	h.fields = append(h.fields[:0], o.fields...)
	h.seen = o.seen
}

// Reset empties the header and keeps its storage, without keeping the strings
// alive.
func (h *Header) Reset() {
	clear(h.fields)
	h.fields, h.seen = h.fields[:0], 0
}

// truncate keeps the given prefix and forgets the strings behind it.
func (h *Header) truncate(kept []Field) {
	clear(h.fields[len(kept):])
	h.fields = kept
}

func (f *Field) is(id FieldID, name string) bool {
	return f.ID == id && (id != FieldOther || strings.EqualFold(f.Name, name))
}
