package lint

import (
	"fmt"
	"go/ast"
	"regexp"
)

// pitfallsFile names the tests that hold the WAF to what others got wrong.
const pitfallsFile = "docs/waf-pitfalls.md"

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// checkPitfalls finds lines of the table without a test, and tests in it that do
// not exist.
func checkPitfalls(t *Tree, doc string) []string {
	known := make(map[string]bool)
	for _, f := range t.files(func(f *File) bool { return f.Test }) {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				known[fn.Name.Name] = true
			}
		}
	}
	var bad []string
	rows := tableRows(doc, "What went wrong")
	if len(rows) == 0 {
		return []string{pitfallsFile + ": there is no table"}
	}
	for _, row := range rows {
		names := testName.FindAllStringSubmatch(row[len(row)-1], -1)
		if len(names) == 0 {
			bad = append(bad, fmt.Sprintf("%s: %q has no test", pitfallsFile, row[0]))
		}
		for _, n := range names {
			if !known[n[1]] {
				bad = append(bad, fmt.Sprintf("%s: there is no test %s", pitfallsFile, n[1]))
			}
		}
	}
	return bad
}
