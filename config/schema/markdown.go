package schema

import (
	"strconv"
	"strings"
)

// Markdown returns a table of all fields, nested ones by their path.
func (t *Type) Markdown() string {
	var b strings.Builder
	b.WriteString("| field | type | default | constraints | meaning |\n|---|---|---|---|---|\n")
	rows(&b, "", t.record.field.Fields)
	return b.String()
}

func rows(b *strings.Builder, prefix string, fields []*Field) {
	for _, f := range fields {
		def := f.Default
		switch {
		case def != "":
			def = "`" + def + "`"
		case f.Required:
			def = "required"
		}
		cells := [...]string{"`" + prefix + f.Name + "`", f.typeName(), def, f.constraints(), strings.ReplaceAll(f.Doc, "<", "&lt;")}
		b.WriteByte('|')
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ") + " |")
		}
		b.WriteByte('\n')
		switch {
		case len(f.Fields) > 0:
			rows(b, prefix+f.Name+".", f.Fields)
		case f.Elements != nil && len(f.Elements.Fields) > 0:
			rows(b, prefix+f.Name+"[].", f.Elements.Fields)
		case f.Values != nil && len(f.Values.Fields) > 0:
			rows(b, prefix+f.Name+".*.", f.Values.Fields)
		}
	}
}

// typeName describes the type in one or two words.
func (f *Field) typeName() string {
	switch {
	case f.Elements != nil:
		return f.Kind + " of " + f.Elements.typeName()
	case f.Values != nil:
		return "map of " + f.Values.typeName()
	case f.Kind == kindForeign:
		return "reference to " + f.Reference
	case f.Format == "duration" || f.Format == "size" || f.Format == "address" || f.Format == "uuid":
		return f.Format
	case f.Secret:
		return "secret string"
	}
	return f.Kind
}

// constraints lists what limits the values.
func (f *Field) constraints() string {
	var c []string
	e := f
	for e.Elements != nil || e.Values != nil {
		if e.LenMin > 0 {
			c = append(c, "at least "+strconv.Itoa(e.LenMin))
		}
		if e.LenMax > 0 {
			c = append(c, "at most "+strconv.Itoa(e.LenMax))
		}
		if e.Elements != nil {
			e = e.Elements
		} else {
			e = e.Values
		}
	}
	switch {
	case e.Min != "" && e.Max != "":
		c = append(c, e.Min+" to "+e.Max)
	case e.Min != "":
		c = append(c, "at least "+e.Min)
	case e.Max != "":
		c = append(c, "at most "+e.Max)
	}
	if len(e.Enum) > 0 {
		var served []string
		for _, v := range e.enumValues() {
			switch v := v.(type) {
			case string:
				served = append(served, "`"+v+"`")
			case int64:
				served = append(served, "`"+strconv.FormatInt(v, 10)+"`")
			}
		}
		c = append(c, "one of "+strings.Join(served, ", "))
	}
	if e.Match != "" {
		c = append(c, "matches `"+e.Match+"`")
	}
	if e.LenMax > 0 && e.Kind == kindString {
		c = append(c, "at most "+strconv.Itoa(e.LenMax)+" bytes")
	}
	if f.Refused {
		c = append(c, "not served yet")
	}
	if len(e.Unserved) > 0 {
		c = append(c, "not served yet: `"+strings.Join(e.Unserved, "`, `")+"`")
	}
	return strings.Join(c, "; ")
}
