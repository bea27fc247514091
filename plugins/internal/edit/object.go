package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrJSON is content that is not one JSON text.
var ErrJSON = errors.New("reading JSON: the content is not valid")

// maxMembers bounds the members of an object, whose places cost more than their
// bytes.
const maxMembers = 100000

// ErrMembers is an object with too many members.
var ErrMembers = fmt.Errorf("reading JSON: the object has more than %d members", maxMembers)

// Object is a JSON object. Members that are not edited keep their place and
// their bytes, so that numbers keep their digits; of members with the same name
// only the last counts, as with most readers, and the others are dropped.
type Object struct {
	members []member
	index   map[string]int // of the member of a name in members
}

type member struct {
	name  string
	value []byte // a JSON text; nil: removed
}

// NewObject returns an object without members.
func NewObject() *Object { return &Object{index: make(map[string]int)} }

// ParseObject reads an object. It returns nil for JSON that is no object, and
// ErrJSON for what is no JSON. The object refers to text.
func ParseObject(text []byte) (*Object, error) {
	if !json.Valid(text) {
		return nil, ErrJSON
	}
	text = bytes.TrimLeft(text, whiteSpace)
	if text[0] != '{' {
		return nil, nil
	}
	o := NewObject()
	for at := skipSpace(text, 1); text[at] != '}'; {
		end := skipValue(text, at)
		var name string
		if err := json.Unmarshal(text[at:end], &name); err != nil {
			return nil, ErrJSON
		}
		at = skipSpace(text, skipSpace(text, end)+1) // behind the colon
		end = skipValue(text, at)
		o.drop(name)
		if len(o.members) == maxMembers {
			return nil, ErrMembers
		}
		o.put(name, text[at:end])
		if at = skipSpace(text, end); text[at] == ',' {
			at = skipSpace(text, at+1)
		}
	}
	return o, nil
}

// whiteSpace is what may stand between the tokens of JSON.
const whiteSpace = " \t\r\n"

// skipSpace returns where the next token of a valid text begins.
func skipSpace(text []byte, at int) int {
	for at < len(text) && bytes.IndexByte([]byte(whiteSpace), text[at]) >= 0 {
		at++
	}
	return at
}

// skipValue returns the end of the value of a valid text that begins at at.
func skipValue(text []byte, at int) int {
	for depth := 0; at < len(text); at++ {
		switch text[at] {
		case '"':
			for at++; text[at] != '"'; at++ {
				if text[at] == '\\' {
					at++
				}
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
		}
	}
	return at
}

func (o *Object) put(name string, value []byte) {
	o.index[name] = len(o.members)
	o.members = append(o.members, member{name, value})
}

func (o *Object) drop(name string) {
	if i, ok := o.index[name]; ok {
		o.members[i].value = nil
		delete(o.index, name)
	}
}

// Has reports whether there is a member of that name.
func (o *Object) Has(name string) bool {
	_, ok := o.index[name]
	return ok
}

// Remove removes a member.
func (o *Object) Remove(name string) { o.drop(name) }

// Rename gives a member another name; a member that has that name is replaced.
func (o *Object) Rename(name, to string) {
	i, ok := o.index[name]
	if !ok || name == to {
		return
	}
	o.drop(to)
	o.members[i].name = to
	delete(o.index, name)
	o.index[to] = i
}

// Set gives a member a value, a JSON text; a new member comes last.
func (o *Object) Set(name string, value []byte) {
	if i, ok := o.index[name]; ok {
		o.members[i].value = value
		return
	}
	o.put(name, value)
}

// Append adds value, a JSON text, to a member's array. A string becomes an
// array first; any other value, and none, is replaced by an array of value
// alone, as in Kong.
func (o *Object) Append(name string, value []byte) {
	var old []byte
	if i, ok := o.index[name]; ok {
		old = o.members[i].value
	}
	list := []byte{'['}
	switch {
	case len(old) > 0 && old[0] == '"':
		list = append(append(list, old...), ',')
	case len(old) > 0 && old[0] == '[':
		if inner := bytes.Trim(old[1:len(old)-1], whiteSpace); len(inner) > 0 {
			list = append(append(list, inner...), ',')
		}
	}
	o.Set(name, append(append(list, value...), ']'))
}

// AppendTo appends the object as JSON.
func (o *Object) AppendTo(b []byte) []byte {
	b = append(b, '{')
	first := true
	for i := range o.members {
		m := &o.members[i]
		if m.value == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(b, String(m.name)...), ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// String returns s as a JSON string.
func String(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("BUG: a string cannot be encoded: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
