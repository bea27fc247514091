package requesttransformer

import (
	"fmt"
	"net/url"
	"strings"
)

// maxArgs bounds the arguments of a form.
const maxArgs = 10000

var errArgs = fmt.Errorf("reading a form: it has more than %d arguments", maxArgs)

// args are the arguments of a query or a form, in their order.
type args struct{ list []arg }

// arg is one argument: its name, decoded, and what stands for it.
type arg struct{ name, raw string }

// parseArgs reads arguments. What stands between two ampersands and is empty is
// kept too.
func parseArgs(text string) *args {
	a := new(args)
	if text == "" {
		return a
	}
	a.list = make([]arg, 0, strings.Count(text, "&")+1)
	for raw := range strings.SplitSeq(text, "&") {
		name, _, _ := strings.Cut(raw, "=")
		a.list = append(a.list, arg{name: decodeArg(name), raw: raw})
	}
	return a
}

func (a *args) has(name string) bool {
	for i := range a.list {
		if a.list[i].name == name {
			return true
		}
	}
	return false
}

func (a *args) remove(name string) {
	kept := a.list[:0]
	for _, g := range a.list {
		if g.name != name {
			kept = append(kept, g)
		}
	}
	a.list = kept
}

// rename gives the arguments of a name another one; those that have it are
// replaced.
func (a *args) rename(name, to string) {
	if name == to || !a.has(name) {
		return
	}
	a.remove(to)
	for i := range a.list {
		if g := &a.list[i]; g.name == name {
			_, value, ok := strings.Cut(g.raw, "=")
			g.name, g.raw = to, url.QueryEscape(to)
			if ok {
				g.raw += "=" + value
			}
		}
	}
}

// replace leaves one argument of that name.
func (a *args) replace(name, value string) {
	kept, placed := a.list[:0], false
	for _, g := range a.list {
		switch {
		case g.name != name:
			kept = append(kept, g)
		case !placed:
			kept, placed = append(kept, newArg(name, value)), true
		}
	}
	a.list = kept
}

func (a *args) add(name, value string) { a.list = append(a.list, newArg(name, value)) }

func newArg(name, value string) arg {
	return arg{name: name, raw: url.QueryEscape(name) + "=" + url.QueryEscape(value)}
}

// String returns the arguments as they are sent.
func (a *args) String() string {
	var b strings.Builder
	for i := range a.list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(a.list[i].raw)
	}
	return b.String()
}
