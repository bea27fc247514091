package testkit

import "strings"

// archive is a txtar file: a comment and named sections. A section begins with
// a line "-- name --" and reaches to the next one.
type archive struct {
	comment  string
	sections []section
}

type section struct{ name, text string }

func parseArchive(src string) *archive {
	a := new(archive)
	text := &a.comment
	for line := range strings.Lines(src) {
		if name, ok := marker(line); ok {
			a.sections = append(a.sections, section{name: name})
			text = &a.sections[len(a.sections)-1].text
			continue
		}
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		*text += line
	}
	return a
}

// marker returns the name in a line that begins a section.
func marker(line string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-- ")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, " --")
	return strings.TrimSpace(name), ok && strings.TrimSpace(name) != ""
}

// format is the inverse of parseArchive.
func (a *archive) format() []byte {
	var b strings.Builder
	b.WriteString(a.comment)
	for _, s := range a.sections {
		b.WriteString("-- " + s.name + " --\n" + s.text)
	}
	return []byte(b.String())
}
