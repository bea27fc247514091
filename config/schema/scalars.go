package schema

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// stringCodec is the codec of string types.
type stringCodec struct {
	field *Field
	match *regexp.Regexp
	check func(string) *Problem
}

func compileString(tag tags) *stringCodec {
	c := &stringCodec{match: compilePattern(tag)}
	c.field = &Field{
		Kind: kindString, Format: tag.check, Enum: tag.enum, Unserved: tag.unserved, Match: tag.match,
		LenMin: 1, LenMax: max(tag.lenMax, 0), Vault: tag.vault && len(tag.enum) == 0,
		pem: tag.pem,
	}
	if tag.lenMin >= 0 {
		c.field.LenMin = tag.lenMin
	}
	if tag.check != "" {
		c.check = namedCheck(tag.check)
		if c.check == nil {
			tag.bug("no check is named %q", tag.check)
		}
	}
	return c
}

func (c *stringCodec) describe() *Field { return c.field }

func (c *stringCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != tagString {
		r.at(n, "expected a string", stringHint(n))
		return false
	}
	s := n.Value
	if c.field.Vault && isRef(s) {
		var ok bool
		if s, ok = r.resolve(n); !ok {
			return false
		}
	}
	if p := c.problem(s); p != nil {
		r.at(n, unresolved(p.Reason, s, n.Value), p.Expected)
		return false
	}
	v.SetString(s)
	return true
}

// unresolved puts the reference back in place of the value it stood for.
func unresolved(reason, value, written string) string {
	if value == written || value == "" {
		return reason
	}
	return strings.ReplaceAll(reason, value, written)
}

// problem checks the constraints.
func (c *stringCodec) problem(s string) *Problem {
	f := c.field
	switch {
	case len(f.Enum) > 0:
		return enumProblem(f, s)
	case len(s) < f.LenMin:
		return &Problem{Reason: "length must be at least " + strconv.Itoa(f.LenMin)}
	case f.LenMax > 0 && len(s) > f.LenMax:
		return &Problem{Reason: "length must be at most " + strconv.Itoa(f.LenMax)}
	case c.match != nil && !c.match.MatchString(s):
		return &Problem{Reason: "invalid value: " + s, Expected: "a match of " + f.Match}
	case c.check != nil:
		return c.check(s)
	}
	return nil
}

// enumProblem checks that a value is known and served.
func enumProblem(f *Field, s string) *Problem {
	if !slices.Contains(f.Enum, s) {
		return &Problem{Reason: "expected one of: " + strings.Join(f.Enum, ", ")}
	}
	if slices.Contains(f.Unserved, s) {
		served := slices.DeleteFunc(slices.Clone(f.Enum), func(e string) bool { return slices.Contains(f.Unserved, e) })
		return &Problem{Reason: ReasonUnserved, Expected: strings.Join(served, " or ")}
	}
	return nil
}

// stringHint tells why a plain scalar is no string.
func stringHint(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return `text; quote it: "` + shorten(n.Value) + `"`
	}
	return ""
}

// isRef reports whether s is a vault reference.
func isRef(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

// resolve returns the value of the vault reference in n and remembers where it
// was used.
func (r *Report) resolve(n *yaml.Node) (string, bool) {
	if r.Resolve == nil {
		r.at(n, "vault references cannot be used here", "")
		return "", false
	}
	s, err := r.Resolve(n.Value)
	if err != nil {
		r.at(n, err.Error(), "")
		return "", false
	}
	if r.refs == nil {
		r.refs = make(References)
	}
	r.refs[pathString(r.path[r.base:])] = n.Value
	return s, true
}

// boolCodec is the codec of booleans.
type boolCodec struct{}

func (*boolCodec) describe() *Field { return &Field{Kind: kindBoolean} }

func (*boolCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != tagBool {
		r.at(n, "expected a boolean", "true or false, without quotes")
		return false
	}
	v.SetBool(n.Value[0] == 't' || n.Value[0] == 'T')
	return true
}

// intCodec is the codec of integers.
type intCodec struct {
	field    *Field
	unsigned bool
	min, max int64
}

func compileInt(t reflect.Type, tag tags) *intCodec {
	c := &intCodec{min: math.MinInt64, max: math.MaxInt64}
	bits := t.Bits()
	if c.unsigned = t.Kind() >= reflect.Uint8 && t.Kind() <= reflect.Uint32; c.unsigned {
		c.min, c.max = 0, int64(1)<<bits-1
	} else if bits < 64 {
		c.min, c.max = -(int64(1) << (bits - 1)), int64(1)<<(bits-1)-1
	}
	bound := func(s string, to *int64) {
		if s == "" {
			return
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			tag.bug("bound %q is not an integer", s)
		}
		*to = n
	}
	bound(tag.min, &c.min)
	bound(tag.max, &c.max)
	c.field = &Field{Kind: kindInteger, Min: tag.min, Max: tag.max, Enum: tag.enum, Unserved: tag.unserved}
	if c.unsigned && tag.min == "" && tag.max == "" {
		c.field.Min, c.field.Max = "0", strconv.FormatInt(c.max, 10)
	}
	return c
}

func (c *intCodec) describe() *Field { return c.field }

func (c *intCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	i, ok := integer(n)
	if !ok {
		r.at(n, "expected an integer", "decimal digits, without quotes")
		return false
	}
	if i < c.min || i > c.max {
		reason, expected := rangeProblem(c.field)
		r.at(n, reason, expected)
		return false
	}
	if len(c.field.Enum) > 0 {
		if p := enumProblem(c.field, n.Value); p != nil {
			r.at(n, p.Reason, p.Expected)
			return false
		}
	}
	if c.unsigned {
		v.SetUint(uint64(i))
	} else {
		v.SetInt(i)
	}
	return true
}

// integer reads a plain decimal integer; other notations of YAML are refused
// because people and programs read them differently.
func integer(n *yaml.Node) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != tagInt {
		return 0, false
	}
	digits := strings.TrimPrefix(n.Value, "-")
	if !isDecimal(digits) || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// rangeProblem words the error of a value out of bounds.
func rangeProblem(f *Field) (reason, expected string) {
	switch {
	case f.Min != "" && f.Max != "":
		return "value should be between " + f.Min + " and " + f.Max, ""
	case f.Min != "":
		return "value should be at least " + f.Min, ""
	case f.Max != "":
		return "value should be at most " + f.Max, ""
	}
	return "expected an integer", "one of a smaller size"
}

// floatCodec is the codec of numbers.
type floatCodec struct {
	field    *Field
	min, max float64
}

func compileFloat(tag tags) *floatCodec {
	c := &floatCodec{min: -math.MaxFloat64, max: math.MaxFloat64}
	bound := func(s string, to *float64) {
		if s == "" {
			return
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			tag.bug("bound %q is not a number", s)
		}
		*to = f
	}
	bound(tag.min, &c.min)
	bound(tag.max, &c.max)
	c.field = &Field{Kind: kindNumber, Min: tag.min, Max: tag.max}
	return c
}

func (c *floatCodec) describe() *Field { return c.field }

// plainNumber is the grammar of a JSON number.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (c *floatCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != tagInt && n.Tag != tagFloat || !plainNumber.MatchString(n.Value) {
		r.at(n, "expected a number", "decimal digits, without quotes")
		return false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || f < c.min || f > c.max {
		reason, expected := rangeProblem(c.field)
		r.at(n, reason, expected)
		return false
	}
	v.SetFloat(f)
	return true
}

// textCodec is the codec of types that decode themselves.
type textCodec struct {
	field    *Field
	desc     Description
	min, max reflect.Value // of the type itself, an integer; invalid if not given
}

func compileText(t reflect.Type, tag tags) *textCodec {
	c := &textCodec{desc: reflect.New(t).Interface().(Text).Describe()}
	c.field = &Field{
		Kind: c.desc.Kind, Format: c.desc.Format, Example: c.desc.Example, Secret: c.desc.Secret,
		Min: tag.min, Max: tag.max, Vault: tag.vault && !c.desc.Literal, Integer: c.desc.Integer,
	}
	bound := func(s string) reflect.Value {
		if s == "" {
			return reflect.Value{}
		}
		v := reflect.New(t)
		if err := v.Interface().(Text).UnmarshalText([]byte(s)); err != nil || !v.Elem().CanInt() {
			tag.bug("bound %q: %v", s, err)
		}
		return v.Elem()
	}
	c.min, c.max = bound(tag.min), bound(tag.max)
	return c
}

func (c *textCodec) describe() *Field { return c.field }

func (c *textCodec) decode(r *Report, n *yaml.Node, v reflect.Value) bool {
	fail := func(reason, expected string) bool {
		e := &Error{Place: r.Place(n), Reason: reason, Found: show(n), Expected: expected}
		if c.desc.Secret && !isRef(n.Value) {
			e.Found = masked
		}
		r.Add(e)
		return false
	}
	// Literal types read an unquoted number too, or say better than "expected a
	// string" what it lacks.
	literal := c.desc.Literal && (n.Tag == tagInt || n.Tag == tagFloat)
	if n.Kind != yaml.ScalarNode || n.Tag != tagString && !literal {
		if c.desc.Secret {
			return fail("expected a string", "text, in quotes")
		}
		return fail("expected a "+c.desc.Kind, stringHint(n))
	}
	s := n.Value
	ref := ""
	if c.field.Vault && isRef(s) {
		var ok bool
		if s, ok = r.resolve(n); !ok {
			return false
		}
		ref = n.Value
	}
	if s == "" && n.Tag == tagString {
		return fail("length must be at least 1", "")
	}
	if err := v.Addr().Interface().(Text).UnmarshalText([]byte(s)); err != nil {
		if p, ok := err.(*Problem); ok { //nolint:errorlint // the contract of Text
			return fail(unresolved(p.Reason, s, n.Value), p.Expected)
		}
		return fail(unresolved(err.Error(), s, n.Value), "")
	}
	if c.min.IsValid() && v.Int() < c.min.Int() || c.max.IsValid() && v.Int() > c.max.Int() {
		return fail(rangeProblem(c.field))
	}
	if secret, ok := v.Addr().Interface().(*Secret); ok {
		secret.ref = ref
	}
	return true
}
