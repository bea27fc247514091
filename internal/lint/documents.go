package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// tableRows returns the cells of the rows of the first Markdown table whose
// first heading is title.
func tableRows(doc, title string) [][]string {
	var rows [][]string
	inside := false
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if inside {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			inside = cells[0] == title
		case strings.HasPrefix(cells[0], "---"):
		default:
			rows = append(rows, cells)
		}
	}
	return rows
}

// architectureFile holds the floor table for readers.
const architectureFile = "docs/architecture.md"

// checkFloorTable compares the floor table for readers with the one that is
// enforced.
func checkFloorTable(doc string) []string {
	rows := tableRows(doc, "Floor")
	if len(rows) != len(floors) {
		return []string{fmt.Sprintf("%s: the floor table has %d rows, internal/lint/floors.go has %d", architectureFile, len(rows), len(floors))}
	}
	var bad []string
	for i, f := range floors {
		var packages []string
		for _, m := range quoted.FindAllStringSubmatch(rows[i][1], -1) {
			packages = append(packages, m[1])
		}
		got, want := rows[i][0]+": "+strings.Join(packages, " "), f.name+": "+strings.Join(f.packages, " ")
		if got != want {
			bad = append(bad, fmt.Sprintf("%s: the floor table says %q, internal/lint/floors.go says %q", architectureFile, got, want))
		}
	}
	return bad
}

// limitsFile lists every bound.
const limitsFile = "docs/limits.md"

// checkLimits compares the table of node.limits with the struct it describes:
// the same keys with the same defaults.
func checkLimits(t *Tree, doc string) []string {
	p := t.Package("config")
	if p == nil {
		return nil
	}
	defaults := make(map[string]string)
	for _, f := range p.Files {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Limits" {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range st.Fields.List {
					key, _, _ := strings.Cut(tag(field, "json"), ",")
					defaults[key] = tag(field, "default")
				}
			}
			return false
		})
	}
	var bad []string
	for _, row := range tableRows(doc, "Key") {
		key := strings.Trim(row[0], "`")
		want, ok := defaults[key]
		switch got := strings.Trim(row[1], "`"); {
		case !ok:
			bad = append(bad, fmt.Sprintf("%s: node.limits has no key %q", limitsFile, key))
		case got != want:
			bad = append(bad, fmt.Sprintf("%s: says that %q is %s by default, the code says %s", limitsFile, key, got, want))
		}
		delete(defaults, key)
	}
	for key := range defaults {
		bad = append(bad, fmt.Sprintf("%s: the key %q of node.limits is missing", limitsFile, key))
	}
	return bad
}

// checkConstants finds constants in the table of those that are limits which
// are not declared in the file the table links to.
func checkConstants(t *Tree, doc string) []string {
	var bad []string
	for _, row := range tableRows(doc, "Constant") {
		m := link.FindStringSubmatch(row[len(row)-1])
		if m == nil {
			bad = append(bad, fmt.Sprintf("%s: no link to the file of %s", limitsFile, row[0]))
			continue
		}
		file := path.Join(path.Dir(limitsFile), m[1])
		declared := t.constants(file)
		for _, name := range quoted.FindAllStringSubmatch(row[0], -1) {
			if _, local, ok := strings.Cut(name[1], "."); ok {
				name[1] = local
			}
			if !declared[name[1]] {
				bad = append(bad, fmt.Sprintf("%s: %s has no constant %q", limitsFile, file, name[1]))
			}
		}
	}
	return bad
}

// constants returns the names of the constants that a file declares.
func (t *Tree) constants(name string) map[string]bool {
	names := make(map[string]bool)
	for _, f := range t.files(func(f *File) bool { return f.Path == name }) {
		for _, decl := range f.AST.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				for _, n := range spec.(*ast.ValueSpec).Names {
					names[n.Name] = true
				}
			}
		}
	}
	return names
}

var (
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence = regexp.MustCompile("(?ms)^```.*?^```$")
)

// checkLinks finds links of Markdown files to files that are not there.
func checkLinks(t *Tree) []string {
	var bad []string
	for _, name := range t.Paths {
		if path.Ext(name) != ".md" {
			continue
		}
		src, err := fs.ReadFile(t.FS, name)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(src), ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := fs.Stat(t.FS, path.Join(path.Dir(name), target)); err != nil {
				bad = append(bad, fmt.Sprintf("%s: links to %q, which does not exist", name, m[1]))
			}
		}
	}
	return bad
}
