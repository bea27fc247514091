package edit

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l7"
)

// Pair is an element "name:value" of a list.
type Pair struct{ Name, Value string }

// SplitPair cuts an element at its first colon.
func SplitPair(s string) Pair {
	name, value, _ := strings.Cut(s, ":")
	return Pair{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
}

// SplitPairs cuts every element.
func SplitPairs(list []string) []Pair {
	pairs := make([]Pair, len(list))
	for i, s := range list {
		pairs[i] = SplitPair(s)
	}
	return pairs
}

// What an element has to look like.
const (
	expectPair   = `name:value`
	expectRename = `old:new`
)

// CheckNames reports elements of the list at field that are no names: of header
// fields if header is set, and else anything that is not empty.
func CheckNames(r *schema.Report, field string, list []string, header bool) {
	for i, s := range list {
		if header && !l7.ValidField(s, "") {
			r.Fail(badHeader(s), field, i)
		}
	}
}

// CheckPairs reports elements of the list at field that are not name:value, or,
// for header fields, may not stand in a message.
func CheckPairs(r *schema.Report, field string, list []string, header bool) {
	for i, s := range list {
		p := SplitPair(s)
		switch {
		case p.Name == "" || !strings.Contains(s, ":"):
			r.Expect("invalid value: "+s, expectPair, field, i)
		case header && !l7.ValidField(p.Name, ""):
			r.Fail(badHeader(p.Name), field, i)
		case header && !l7.ValidField(p.Name, p.Value):
			r.Expect("the value of header field '"+p.Name+"' has a control character", "visible characters, spaces and tabs", field, i)
		}
	}
}

// CheckRenames reports elements of the list at field that are not old:new.
func CheckRenames(r *schema.Report, field string, list []string, header bool) {
	for i, s := range list {
		p := SplitPair(s)
		switch {
		case p.Name == "" || p.Value == "":
			r.Expect("invalid value: "+s, expectRename, field, i)
		case header && !l7.ValidField(p.Name, ""):
			r.Fail(badHeader(p.Name), field, i)
		case header && !l7.ValidField(p.Value, ""):
			r.Fail(badHeader(p.Value), field, i)
		}
	}
}

// badHeader is Kong's message.
func badHeader(name string) string { return "'" + name + "' is not a valid header" }

// RenameField gives the fields of a name another one; those that have it are
// replaced.
func RenameField(h *l7.Header, name, to string) {
	if strings.EqualFold(name, to) {
		return
	}
	var values []string
	for _, f := range h.Fields() {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	if values == nil {
		return
	}
	h.Del(name)
	h.Del(to)
	for _, v := range values {
		h.Add(to, v)
	}
}
