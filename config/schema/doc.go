// Package schema turns a typed struct into one description from which
// everything about its configuration follows: strict decoding of YAML and JSON
// with defaults, bounds and every error at once, marshalling back to JSON, a
// JSON Schema document and a Markdown table.
//
// A field is described by its Go type and by its tags:
//
//	json      the key; fields without it, or with "-", are not configuration
//	doc       one or two sentences about the field, for people
//	default   the value of an absent field, written as YAML
//	required  "true": an absent field or a null is an error
//	min, max  bounds of a number, size or duration; of the elements of a list
//	enum      comma-separated values a string or number may have
//	match     an RE2 pattern that a string must match
//	check     a named check of a string, such as host or path; see checks.go
//	keys      a named check of the keys of a map
//	len_min   least length of a string, list or map; strings have 1 unless said
//	len_max   greatest length of a string, list or map
//	unique    "true": a list is a set, and repeated elements are dropped
//	unserved  "true": anything but the default is refused;
//	          or a comma-separated part of the enum that is refused
//	vault     "false": the field takes no {vault://...} reference
//	omit      "true": the field is read but not marshalled;
//	          "zero": only when it is not zero
//
// Constraints on a list apply to its elements, except the lengths. A pointer is
// a nullable value: null sets it to nil even when it has a default. For all
// other types null means the default.
//
// Rules that concern several fields stand in a method Validate(*Report) of the
// struct's pointer. It runs after the struct's fields have been decoded.
//
// The package does not know what the entities are, where a file comes from or
// how a reference is resolved; package config does.
package schema
