package requesttransformer

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
)

// rules are what is done to one part of a request: the content, the header
// fields or the query.
type rules struct {
	remove               []string
	rename               []edit.Pair
	replace, add, append []value
}

// value is a name with a template.
type value struct {
	name string
	text *template
}

func (r *rules) empty() bool {
	return len(r.remove)+len(r.rename)+len(r.replace)+len(r.add)+len(r.append) == 0
}

// touches reports whether a rule may change what has that name, in whatever
// case.
func (r *rules) touches(name string) bool {
	for _, n := range r.remove {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	for _, p := range r.rename {
		if strings.EqualFold(p.Name, name) || strings.EqualFold(p.Value, name) {
			return true
		}
	}
	for _, list := range [...][]value{r.replace, r.add, r.append} {
		for i := range list {
			if strings.EqualFold(list[i].name, name) {
				return true
			}
		}
	}
	return false
}

// subject is what rules are applied to.
type subject interface {
	has(name string) bool
	remove(name string)
	rename(name, to string)
	replace(name, value string) // of a name that is there
	add(name, value string)     // of a name that is not there
	append(name, value string)
}

// texts are the texts of the templates of a set of rules, in the order of
// replace, add and append.
type texts []string

// render reads the templates of the rules. It is done for all rules before
// anything is changed.
func (r *rules) render(x *l7.Exchange, t texts) texts {
	for _, list := range [...][]value{r.replace, r.add, r.append} {
		for i := range list {
			t = append(t, list[i].text.render(x, false))
		}
	}
	return t
}

// apply applies the rules in Kong's order.
func (r *rules) apply(s subject, t texts) {
	for _, name := range r.remove {
		s.remove(name)
	}
	for _, p := range r.rename {
		s.rename(p.Name, p.Value)
	}
	for i := range r.replace {
		if v := &r.replace[i]; s.has(v.name) {
			s.replace(v.name, t[i])
		}
	}
	t = t[len(r.replace):]
	for i := range r.add {
		if v := &r.add[i]; !s.has(v.name) {
			s.add(v.name, t[i])
		}
	}
	t = t[len(r.add):]
	for i := range r.append {
		s.append(r.append[i].name, t[i])
	}
}

// append adds a further argument.
func (a *args) append(name, value string) { a.add(name, value) }

// append adds a further part.
func (p *parts) append(name, value string) { p.add(name, value) }

// object is a JSON object whose new values are strings.
type object struct{ *edit.Object }

func (o object) has(name string) bool       { return o.Has(name) }
func (o object) remove(name string)         { o.Remove(name) }
func (o object) rename(name, to string)     { o.Rename(name, to) }
func (o object) replace(name, value string) { o.Set(name, edit.String(value)) }
func (o object) add(name, value string)     { o.Set(name, edit.String(value)) }
func (o object) append(name, value string)  { o.Append(name, edit.String(value)) }
