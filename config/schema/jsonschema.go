package schema

import (
	"encoding/json"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Dialect is the version of JSON Schema that documents are written in.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// JSONSchema returns the JSON Schema of a record as a tree for encoding/json,
// without the dialect. Fields that may be left out may also be null.
func (t *Type) JSONSchema() map[string]any { return t.record.field.jsonSchema() }

// jsonSchema describes the values of a field, without null.
func (f *Field) jsonSchema() map[string]any {
	m := make(map[string]any)
	if f.Doc != "" {
		m["description"] = f.Doc
	}
	if f.Refused {
		m["type"] = "null"
		if d, ok := f.DefaultValue(); ok {
			delete(m, "type")
			m["enum"] = []any{d}
		}
		return m
	}
	switch f.Kind {
	case kindString:
		f.stringSchema(m)
	case kindInteger, kindNumber:
		m["type"] = f.Kind
		if len(f.Enum) > 0 {
			m["enum"] = f.enumValues()
		}
		bound(m, "minimum", f.Min)
		bound(m, "maximum", f.Max)
	case kindBoolean:
		m["type"] = f.Kind
	case kindArray, kindSet:
		m["type"] = "array"
		m["items"] = f.Elements.jsonSchema()
		length(m, "minItems", f.LenMin)
		length(m, "maxItems", f.LenMax)
	case kindMap:
		m["type"] = "object"
		m["additionalProperties"] = f.Values.jsonSchema()
		length(m, "minProperties", f.LenMin)
		length(m, "maxProperties", f.LenMax)
	case kindRecord:
		f.recordSchema(m)
	case kindForeign:
		m["oneOf"] = []any{
			map[string]any{"type": "string", "minLength": 1},
			map[string]any{"type": "object", "minProperties": 1, "maxProperties": 1},
		}
	}
	return m
}

func (f *Field) stringSchema(m map[string]any) {
	m["type"] = "string"
	if f.Integer {
		m["type"] = []string{"string", "integer"}
		return
	}
	if len(f.Enum) > 0 {
		m["enum"] = f.enumValues()
		return
	}
	length(m, "minLength", f.LenMin)
	length(m, "maxLength", f.LenMax)
	if f.Format == "uuid" {
		m["format"] = "uuid"
	}
	if f.Match != "" {
		m["pattern"] = f.Match
		if f.Vault {
			m["pattern"] = "(" + f.Match + `)|^\{vault://.*\}$`
		}
	}
}

// enumValues returns the values that this version serves.
func (f *Field) enumValues() []any {
	var values []any
	for _, e := range f.Enum {
		if p := enumProblem(f, e); p != nil {
			continue
		}
		if f.Kind == kindInteger {
			if n, err := strconv.ParseInt(e, 10, 64); err == nil {
				values = append(values, n)
			}
			continue
		}
		values = append(values, e)
	}
	return values
}

func (f *Field) recordSchema(m map[string]any) {
	properties := make(map[string]any, len(f.Fields))
	var required []string
	for _, c := range f.Fields {
		s := c.jsonSchema()
		if c.Required && c.Default == "" {
			required = append(required, c.Name)
		} else {
			orNull(s)
		}
		if c.Default != "" {
			if d, ok := c.DefaultValue(); ok {
				s["default"] = d
			}
		}
		properties[c.Name] = s
	}
	m["type"] = "object"
	m["properties"] = properties
	m["additionalProperties"] = false
	if len(required) > 0 {
		m["required"] = required
	}
}

// orNull lets a schema accept null too.
func orNull(m map[string]any) {
	switch t := m["type"].(type) {
	case string:
		if t != "null" {
			m["type"] = []string{t, "null"}
		}
	case []string:
		m["type"] = append(t, "null")
	}
	if one, ok := m["oneOf"].([]any); ok {
		m["oneOf"] = append(one, map[string]any{"type": "null"})
	}
	if enum, ok := m["enum"].([]any); ok {
		m["enum"] = append(enum, nil)
	}
}

// DefaultValue returns the default as a value for encoding/json.
func (f *Field) DefaultValue() (any, bool) {
	if f.Default == "" {
		return nil, false
	}
	if f.Kind == kindString {
		return f.Default, true
	}
	var v any
	if err := yaml.Unmarshal([]byte(f.Default), &v); err != nil {
		return nil, false
	}
	return v, true
}

// number matches a bound that JSON Schema can express.
var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

func bound(m map[string]any, key, value string) {
	if number.MatchString(value) {
		m[key] = json.Number(value)
	}
}

func length(m map[string]any, key string, n int) {
	if n > 0 {
		m[key] = n
	}
}
