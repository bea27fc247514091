package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Error is one thing that is wrong with a file.
type Error = schema.Error

// Errors is everything that is wrong with a file, in the order of its lines.
type Errors struct {
	File string   // Origin.Path
	List []*Error // in the order of the lines; errors of the environment last
	More int      // errors beyond those in List
}

var _ error = (*Errors)(nil)

// newErrors sorts what a report has gathered.
func newErrors(file string, r *schema.Report) *Errors {
	list, more := r.Errors()
	e := &Errors{File: file, List: slices.Clone(list), More: more}
	slices.SortStableFunc(e.List, func(a, b *Error) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line) // what is not from the file comes last
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// Error returns one line per error: FILE:LINE:COL: PATH: REASON (hints). An
// error of an environment variable begins with the variable's name.
func (e *Errors) Error() string {
	var b strings.Builder
	for i, x := range e.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		if x.Line == 0 {
			fmt.Fprintf(&b, "%s: %v", cmp.Or(x.Source, e.File), x)
			continue
		}
		fmt.Fprintf(&b, "%s:%d:%d: %v", e.File, x.Line, x.Column, x)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\n%s: and %d more errors", e.File, e.More)
	}
	return b.String()
}
