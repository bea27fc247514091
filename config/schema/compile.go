package schema

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// codec decodes and encodes the values of one Go type with its constraints.
type codec interface {
	// decode sets v from n, which is no null. After an error, which it
	// reports, v holds what it held before or a part of the value.
	decode(r *Report, n *yaml.Node, v reflect.Value) bool
	encode(w *writer, v reflect.Value)
	describe() *Field
}

// tags are the struct tags of a field, parsed.
type tags struct {
	owner                        string // for panics
	doc, def, match, check, keys string
	min, max                     string
	hasDefault, required, unique bool
	vault, omit, omitZero        bool
	refused, pem                 bool
	lenMin, lenMax               int // -1 if not given
	enum, unserved               []string
}

// knownTags guards against misspelt constraints.
var knownTags = [...]string{
	"json", "doc", "default", "required", "min", "max", "enum", "match", "check",
	"keys", "len_min", "len_max", "unique", "unserved", "vault", "omit", "pem",
}

func parseTags(owner string, st reflect.StructTag) tags {
	t := tags{owner: owner, vault: true, lenMin: -1, lenMax: -1}
	for rest := string(st); rest != ""; {
		key, after, ok := strings.Cut(strings.TrimLeft(rest, " "), `:"`)
		end := 0
		for end < len(after) && after[end] != '"' {
			if after[end] == '\\' {
				end++
			}
			end++
		}
		val, found := st.Lookup(key)
		if !ok || !found || end >= len(after) || !slices.Contains(knownTags[:], key) {
			t.bug("bad tag at %q", rest)
		}
		rest = after[end+1:]
		t.set(key, val)
	}
	return t
}

func (t *tags) set(key, val string) {
	flag := func() bool {
		b, err := strconv.ParseBool(val)
		if err != nil {
			t.bug("tag %s is not a boolean", key)
		}
		return b
	}
	number := func() int {
		n, err := strconv.Atoi(val)
		if err != nil {
			t.bug("tag %s is not a number", key)
		}
		return n
	}
	switch key {
	case "doc":
		t.doc = val
	case "default":
		t.def, t.hasDefault = val, true
	case "required":
		t.required = flag()
	case "min":
		t.min = val
	case "max":
		t.max = val
	case "enum":
		t.enum = strings.Split(val, ",")
	case "match":
		t.match = val
	case "check":
		t.check = val
	case "keys":
		t.keys = val
	case "len_min":
		t.lenMin = number()
	case "len_max":
		t.lenMax = number()
	case "unique":
		t.unique = flag()
	case "unserved":
		if val == "true" {
			t.refused = true
		} else {
			t.unserved = strings.Split(val, ",")
		}
	case "pem":
		t.pem = flag()
	case "vault":
		t.vault = flag()
	case "omit":
		if t.omitZero = val == "zero"; !t.omitZero {
			t.omit = flag()
		}
	}
}

func (t *tags) bug(format string, args ...any) {
	panic("BUG: schema of " + t.owner + ": " + fmt.Sprintf(format, args...))
}

// forElements returns the constraints that a list or map hands on.
func (t tags) forElements() tags {
	t.def, t.hasDefault, t.required, t.unique, t.refused, t.keys, t.doc = "", false, false, false, false, "", ""
	t.lenMin, t.lenMax = -1, -1
	return t
}

var (
	textType      = reflect.TypeFor[Text]()
	referenceType = reflect.TypeFor[Reference]()
	unservedType  = reflect.TypeFor[Unserved]()
)

// compile returns the codec of a type with the constraints of its field.
func compile(t reflect.Type, tag tags) codec {
	p := reflect.PointerTo(t)
	switch {
	case t == unservedType:
		return &refusedCodec{}
	case p.Implements(referenceType):
		ref := reflect.New(t).Interface().(Reference)
		collection, _ := ref.Target()
		return &refCodec{collection: collection}
	case p.Implements(textType):
		return compileText(t, tag)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return &pointerCodec{elem: compile(t.Elem(), tag), typ: t.Elem()}
	case reflect.String:
		return compileString(tag)
	case reflect.Bool:
		return &boolCodec{}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return compileInt(t, tag)
	case reflect.Float64:
		return compileFloat(tag)
	case reflect.Slice:
		if tag.unique && !t.Elem().Comparable() {
			tag.bug("the elements of a set must be comparable")
		}
		return &listCodec{elem: compile(t.Elem(), tag.forElements()), typ: t, tags: tag}
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			tag.bug("map keys must be strings")
		}
		keys := tag.forElements()
		keys.enum, keys.unserved, keys.match, keys.check, keys.vault = nil, nil, "", tag.keys, false
		return &mapCodec{keys: compileString(keys), elem: compile(t.Elem(), tag.forElements()), typ: t, tags: tag}
	case reflect.Struct:
		return compileRecord(t)
	case reflect.Interface:
		return &anyCodec{}
	}
	tag.bug("type %v is not supported", t)
	return nil
}

// record is the codec of a struct.
type record struct {
	field     *Field
	typ       reflect.Type
	fields    []member
	byName    map[string]int // index into fields
	names     []string       // for suggestions
	zero      reflect.Value  // a struct that holds the defaults
	validates bool
}

// member is one field of a record.
type member struct {
	name     string
	index    int // in the Go struct
	codec    codec
	required bool // and without a default
	refused  bool
	omit     bool
	omitZero bool
	nullable bool
	def      string
}

// maxMembers is the size of the set of fields seen while decoding.
const maxMembers = 128

func compileRecord(t reflect.Type) *record {
	c := &record{
		typ: t, field: &Field{Kind: kindRecord}, byName: make(map[string]int),
		zero: reflect.New(t).Elem(), validates: reflect.PointerTo(t).Implements(reflect.TypeFor[Validator]()),
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		c.add(f, i, name)
	}
	if len(c.fields) > maxMembers {
		panic("BUG: schema of " + t.String() + ": too many fields")
	}
	return c
}

func (c *record) add(f reflect.StructField, index int, name string) {
	tag := parseTags(c.typ.String()+"."+f.Name, f.Tag)
	m := member{
		name: name, index: index, codec: compile(f.Type, tag), refused: tag.refused, omit: tag.omit, omitZero: tag.omitZero,
		required: tag.required && !tag.hasDefault, nullable: f.Type.Kind() == reflect.Pointer, def: tag.def,
	}
	d := *m.codec.describe()
	d.Name, d.Doc, d.Required, d.Default = name, tag.doc, tag.required, tag.def
	d.Refused = d.Refused || tag.refused
	d.Nullable, d.Hidden = m.nullable, tag.omit
	if rec, ok := m.codec.(*record); ok {
		c.zero.Field(index).Set(rec.zero)
	}
	if tag.hasDefault {
		m.setDefault(c.zero.Field(index), tag)
	}
	c.byName[name] = len(c.fields)
	c.fields = append(c.fields, m)
	c.names = append(c.names, name)
	c.field.Fields = append(c.field.Fields, &d)
}

// setDefault decodes the default from its tag, by the field's own rules.
func (m *member) setDefault(v reflect.Value, tag tags) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(tag.def), &doc); err != nil || len(doc.Content) != 1 {
		tag.bug("default %q is not YAML", tag.def)
	}
	r := &Report{}
	n := doc.Content[0]
	if _, isText := m.codec.(*textCodec); isText {
		n.Tag = tagString
		if isDecimal(n.Value) {
			n.Tag = tagInt
		}
	}
	if !m.codec.decode(r, n, v) || r.Failed() {
		tag.bug("default %q: %v", tag.def, joined(r))
	}
}

func (c *record) describe() *Field { return c.field }

// compilePattern compiles a match tag.
func compilePattern(tag tags) *regexp.Regexp {
	if tag.match == "" {
		return nil
	}
	re, err := regexp.Compile(tag.match)
	if err != nil {
		tag.bug("match: %v", err)
	}
	return re
}
