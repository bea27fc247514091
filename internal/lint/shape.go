package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxLines is the length beyond which a file is more than one idea.
const maxLines = 600

// long are the files that may be longer, each with the reason why it is better
// in one piece.
var long = map[string]string{}

// docLines is the length of a package comment beyond which it has a doc.go.
const docLines = 10

// checkPackageDocs finds packages without a doc comment, or with several, or
// with a long one that is not in doc.go.
func checkPackageDocs(t *Tree) []string {
	var bad []string
	for _, p := range t.Packages {
		if inTests(p) {
			continue
		}
		var docs []*File
		for _, f := range p.Files {
			if !f.Test && f.AST.Doc != nil {
				docs = append(docs, f)
			}
		}
		switch len(docs) {
		case 0:
			bad = append(bad, fmt.Sprintf("%s: the package has no doc comment", p.Dir))
			continue
		case 1:
		default:
			for _, f := range docs[1:] {
				bad = append(bad, fmt.Sprintf("%s: a second package comment, the first is in %s", f.Path, docs[0].Path))
			}
		}
		doc := docs[0]
		text := doc.AST.Doc.Text()
		name := doc.AST.Name.Name
		opening := "Package " + name + " "
		if name == "main" {
			opening = "Command " + path.Base(p.Dir) + " "
		}
		if !strings.HasPrefix(text, opening) {
			bad = append(bad, fmt.Sprintf("%s: the package comment does not begin with %q", doc.Path, opening))
		}
		if strings.Count(text, "\n") > docLines && path.Base(doc.Path) != "doc.go" {
			bad = append(bad, fmt.Sprintf("%s: a package comment of over %d lines belongs in doc.go", doc.Path, docLines))
		}
	}
	return bad
}

// checkTLSFolder finds Go files in tls/ itself: the name tls belongs to
// crypto/tls.
func checkTLSFolder(t *Tree) []string {
	var bad []string
	if p := t.Package("tls"); p != nil {
		for _, f := range p.Files {
			bad = append(bad, fmt.Sprintf("%s: tls/ holds folders only", f.Path))
		}
	}
	return bad
}

// checkLength finds files that are too long.
func checkLength(t *Tree) []string {
	var bad []string
	for _, f := range t.files(notTest) {
		if f.Lines > maxLines && long[f.Path] == "" && !generated(f) {
			bad = append(bad, fmt.Sprintf("%s: %d lines, at most %d; split it by ideas", f.Path, f.Lines, maxLines))
		}
	}
	for name := range long {
		if _, err := fs.Stat(t.FS, name); err != nil {
			bad = append(bad, fmt.Sprintf("%s: is excepted from the length rule but does not exist", name))
		}
	}
	return bad
}

// checkForbiddenCode finds init functions, linknames, and tests that are skipped
// or never run.
func checkForbiddenCode(t *Tree) []string {
	var bad []string
	for _, f := range t.files(anyFile) {
		for _, decl := range f.AST.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad = append(bad, fmt.Sprintf("%s: an init function; let the caller construct what it needs", t.at(fn)))
			}
		}
		for _, group := range f.AST.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					bad = append(bad, fmt.Sprintf("%s: go:linkname", t.at(c)))
				}
			}
		}
		if f.Test {
			bad = append(bad, checkSkips(t, f)...)
			bad = append(bad, checkPlainTests(t, f)...)
		}
	}
	return bad
}

// checkSkips finds calls of Skip, Skipf and SkipNow without or with any
// argument on a variable that is named as a test's.
func checkSkips(t *Tree, f *File) []string {
	var bad []string
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			return true
		}
		if on, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, on.Name) {
			bad = append(bad, fmt.Sprintf("%s: a test that skips itself proves nothing; make it run, or fail and name what is missing", t.at(call)))
		}
		return true
	})
	return bad
}

// runPlain are the packages of which `make plain` runs all tests.
var runPlain = []string{"internal/sock", "internal/testkit/crs", "plugins/waf", "waf"}

// checkPlainTests finds tests that no target of the Makefile runs: those that are
// left out under the race detector, and have no name that `make plain` looks for.
func checkPlainTests(t *Tree, f *File) []string {
	if slices.Contains(runPlain, path.Dir(f.Path)) {
		return nil
	}
	var bad []string
	for _, group := range f.AST.Comments {
		if !slices.ContainsFunc(group.List, func(c *ast.Comment) bool { return c.Text == "//go:build !race" }) {
			continue
		}
		for _, decl := range f.AST.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && !strings.Contains(fn.Name.Name, "Alloc") {
				bad = append(bad, fmt.Sprintf("%s: a test that is not built for the race detector runs only if its name has \"Alloc\" in it", t.at(fn)))
			}
		}
	}
	return bad
}

var (
	todo       = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	todoNumber = regexp.MustCompile(`\b(TODO|FIXME)\(#[0-9]+\): \S`)
)

// checkTodos finds notes to oneself that name no issue.
func checkTodos(t *Tree) []string {
	var bad []string
	for _, f := range t.files(anyFile) {
		for _, group := range f.AST.Comments {
			for _, c := range group.List {
				if todo.MatchString(c.Text) && !todoNumber.MatchString(c.Text) {
					bad = append(bad, fmt.Sprintf("%s: %s without an issue's number", t.at(c), todo.FindString(c.Text)))
				}
			}
		}
	}
	return bad
}

// checkFieldComments finds exported fields of exported configuration structs
// that nothing explains: no comment, and no doc tag.
func checkFieldComments(t *Tree) []string {
	var bad []string
	for _, p := range t.Packages {
		plugin := isPlugin(p.Dir)
		if p.Dir != "config" && !plugin {
			continue
		}
		for _, f := range p.Files {
			if f.Test || generated(f) || (plugin && path.Base(f.Path) != "config.go") {
				continue
			}
			for _, decl := range f.AST.Decls {
				gen, ok := decl.(*ast.GenDecl)
				if !ok || gen.Tok != token.TYPE {
					continue
				}
				for _, spec := range gen.Specs {
					bad = append(bad, checkStruct(t, spec.(*ast.TypeSpec))...)
				}
			}
		}
	}
	return bad
}

func checkStruct(t *Tree, spec *ast.TypeSpec) []string {
	st, ok := spec.Type.(*ast.StructType)
	if !ok || !spec.Name.IsExported() {
		return nil
	}
	var bad []string
	for _, field := range st.Fields.List {
		if field.Doc != nil || field.Comment != nil || tag(field, "doc") != "" {
			continue
		}
		for _, name := range field.Names {
			if name.IsExported() {
				bad = append(bad, fmt.Sprintf("%s: the field %s.%s has neither a comment nor a doc tag", t.at(name), spec.Name.Name, name.Name))
			}
		}
	}
	return bad
}
