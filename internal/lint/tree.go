package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is the path of the module whose rules these are.
const module = "github.com/bulwark-edge/bulwark"

// Tree is the source of the module, parsed.
type Tree struct {
	Fset     *token.FileSet
	Packages []*Package // by folder
	Paths    []string   // every file that is not hidden, generated output or testdata, slash-separated
	FS       fs.FS      // the module's root
}

// Package is one folder with Go files.
type Package struct {
	Dir   string // relative to the root, slash-separated; "." for the root
	Files []*File
}

// File is one Go file.
type File struct {
	Path  string // relative to the root
	Test  bool
	Lines int
	AST   *ast.File
}

// root returns the folder of the module's go.mod, above the working directory.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		src, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(src), "module "+module+"\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("finding the go.mod of %q above the working directory: %w", module, fs.ErrNotExist)
		}
		dir = up
	}
}

// Load parses the module in fsys. Nested modules, testdata and hidden folders
// are no part of it.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet(), FS: fsys}
	byDir := make(map[string]*Package)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return t.enter(name)
		}
		t.Paths = append(t.Paths, name)
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(t.Fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir}
			byDir[dir] = p
			t.Packages = append(t.Packages, p)
		}
		p.Files = append(p.Files, &File{
			Path:  name,
			Test:  strings.HasSuffix(name, "_test.go"),
			Lines: strings.Count(string(src), "\n"),
			AST:   syntax,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the module's source: %w", err)
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	return t, nil
}

// enter decides whether a folder belongs to the module.
func (t *Tree) enter(dir string) error {
	base := path.Base(dir)
	switch {
	case dir == ".":
		return nil
	case strings.HasPrefix(base, "."), base == "testdata", dir == "bin", dir == "dist":
		return fs.SkipDir
	}
	if _, err := fs.Stat(t.FS, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// Package returns the package in dir, nil if there is none.
func (t *Tree) Package(dir string) *Package {
	for _, p := range t.Packages {
		if p.Dir == dir {
			return p
		}
	}
	return nil
}

// at says where n stands: "file:line".
func (t *Tree) at(n ast.Node) string {
	p := t.Fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// files returns the files of all packages for which keep holds.
func (t *Tree) files(keep func(*File) bool) []*File {
	var all []*File
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if keep(f) {
				all = append(all, f)
			}
		}
	}
	return all
}

// any file, and those that are no tests.
func anyFile(*File) bool      { return true }
func notTest(f *File) bool    { return !f.Test }
func generated(f *File) bool  { return ast.IsGenerated(f.AST) }
func inTests(p *Package) bool { return !slices.ContainsFunc(p.Files, notTest) }

// imports returns the import paths of f.
func (f *File) imports() []string {
	paths := make([]string, len(f.AST.Imports))
	for i, spec := range f.AST.Imports {
		paths[i] = strings.Trim(spec.Path.Value, "`\"")
	}
	return paths
}

// local returns the folder of an import path of this module.
func local(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}
