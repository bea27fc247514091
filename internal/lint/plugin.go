package lint

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// noPlugins are the folders of plugins/ that hold no plugin.
var noPlugins = []string{"plugins/catalog", "plugins/internal", "plugins/plugintest"}

// pluginFiles are what each plugin's folder has.
var pluginFiles = []string{"doc.go", "config.go", "plugin.go", "plugin_test.go"}

// catalogFile is the one ordered list of plugins.
const catalogFile = "plugins/catalog/catalog.go"

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// isPlugin reports whether dir is a plugin's folder.
func isPlugin(dir string) bool {
	_, ok := matches("plugins/*", dir)
	return ok && !slices.Contains(noPlugins, dir)
}

// plugins returns the folders of all plugins, empty ones included.
func (t *Tree) plugins() []string {
	var dirs []string
	for _, name := range t.Paths {
		parts := strings.Split(name, "/")
		if len(parts) < 3 || parts[0] != "plugins" {
			continue
		}
		if dir := path.Join(parts[0], parts[1]); isPlugin(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// checkPluginShape finds plugins whose folder is not laid out as the others'.
func checkPluginShape(t *Tree) []string {
	var bad []string
	for _, dir := range t.plugins() {
		if !pluginName.MatchString(path.Base(dir)) {
			bad = append(bad, fmt.Sprintf("%s: a plugin's folder is its Kong name without hyphens", dir))
		}
		for _, name := range pluginFiles {
			if !slices.Contains(t.Paths, path.Join(dir, name)) {
				bad = append(bad, fmt.Sprintf("%s: %s is missing", dir, name))
			}
		}
		scripts, err := fs.Glob(t.FS, path.Join(dir, "testdata", "*.txtar"))
		if err != nil || len(scripts) == 0 {
			bad = append(bad, fmt.Sprintf("%s: no golden script testdata/*.txtar", dir))
		}
		p := t.Package(dir)
		if p == nil {
			continue
		}
		for _, f := range p.Files {
			if path.Base(f.Path) == "plugin.go" {
				bad = append(bad, checkPluginFile(f)...)
			}
		}
	}
	return bad
}

// checkPluginFile finds a plugin.go without the function the catalog calls or
// without a guard that says which hooks it implements.
func checkPluginFile(f *File) []string {
	kind, guard := false, false
	for _, decl := range f.AST.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			kind = kind || (d.Recv == nil && d.Name.Name == "Kind" && d.Type.Params.NumFields() == 0 && d.Type.Results.NumFields() == 1)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				v, ok := spec.(*ast.ValueSpec)
				guard = guard || (ok && len(v.Names) == 1 && v.Names[0].Name == "_" && v.Type != nil)
			}
		}
	}
	var bad []string
	if !kind {
		bad = append(bad, fmt.Sprintf("%s: no func Kind() plugins.Kind", f.Path))
	}
	if !guard {
		bad = append(bad, fmt.Sprintf("%s: no guard of the form var _ l7.RequestHook = (*Plugin)(nil)", f.Path))
	}
	return bad
}

// checkCatalog finds plugins that the catalog does not list exactly once.
func checkCatalog(t *Tree) []string {
	listed := make(map[string]int)
	if p := t.Package("plugins/catalog"); p != nil {
		for _, f := range p.Files {
			if f.Path == catalogFile {
				countKinds(f, listed)
			}
		}
	}
	var bad []string
	for _, dir := range t.plugins() {
		if n := listed[dir]; n != 1 {
			bad = append(bad, fmt.Sprintf("%s: stands %d times in %s, must be once", dir, n, catalogFile))
		}
	}
	return bad
}

// countKinds counts the calls <package>.Kind() by the package's folder.
func countKinds(f *File, listed map[string]int) {
	folders := make(map[string]string) // by the name the file uses
	for i, imp := range f.imports() {
		dir, ours := local(imp)
		if !ours {
			continue
		}
		name := path.Base(dir)
		if alias := f.AST.Imports[i].Name; alias != nil {
			name = alias.Name
		}
		folders[name] = dir
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Kind" {
			if on, ok := sel.X.(*ast.Ident); ok {
				listed[folders[on.Name]]++
			}
		}
		return true
	})
}
