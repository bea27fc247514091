package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names may open an error text although they are capitalised.
var names = []string{"Host", "Kong", "Connection", "Expect", "Upgrade", "Trailer"}

// checkErrorTexts finds error texts that do not read as one phrase of a chain.
func checkErrorTexts(t *Tree) []string {
	var bad []string
	for _, f := range t.files(notTest) {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !isCall(call, "errors", "New") && !isCall(call, "fmt", "Errorf") {
				return true
			}
			first, last := literals(call.Args[0])
			if fault := errorFault(first, last); fault != "" {
				bad = append(bad, fmt.Sprintf("%s: the error text %q %s", t.at(call), first, fault))
			}
			return true
		})
	}
	return bad
}

// errorFault says what is wrong with a text that starts with first and ends
// with last; either may be empty when it is no literal.
func errorFault(first, last string) string {
	word, _, _ := strings.Cut(first, " ")
	r, size := utf8.DecodeRuneInString(word)
	switch {
	case unicode.IsUpper(r) && word[size:] == strings.ToLower(word[size:]) && len(word) > size && !slices.Contains(names, strings.TrimRight(word, ":,")):
		return "starts with a capital"
	case strings.Contains(first, "failed to") || strings.Contains(last, "failed to"):
		return `says "failed to"; say what was being done: "opening ..."`
	case last != "" && strings.ContainsAny(last[len(last)-1:], ".!\n:"):
		return "ends with a stop"
	}
	return ""
}

// isCall reports whether call calls pkg.name.
func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	on, ok := sel.X.(*ast.Ident)
	return ok && on.Name == pkg
}

// literals returns the string literals at both ends of e, which may be a sum.
func literals(e ast.Expr) (first, last string) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s, s
		}
	case *ast.BinaryExpr:
		first, _ = literals(e.X)
		_, last = literals(e.Y)
	}
	return first, last
}

// metricName is the grammar of a metric's name: bulwark, nouns, unit.
var metricName = regexp.MustCompile(`^bulwark(_[a-z]+)+_(total|seconds|bytes|info|active|health|addresses|entries|certificates|score)$`)

// checkMetricNames finds calls whose first argument is a metric's name, which
// starts as all of ours do, but does not follow the grammar.
func checkMetricNames(t *Tree) []string {
	var bad []string
	for _, f := range t.files(notTest) {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			name, _ := literals(call.Args[0])
			if strings.HasPrefix(name, "bulwark_") && !metricName.MatchString(name) {
				bad = append(bad, fmt.Sprintf("%s: the metric %q does not match %v", t.at(call), name, metricName))
			}
			return true
		})
	}
	return bad
}

// glossaryFile holds the table of terms; its last column are the words that
// must not be used for the term, each in backquotes.
const glossaryFile = "docs/glossary.md"

// foreign are names that contain a forbidden word because someone else, whom
// Bulwark must match to the letter, chose them.
var foreign = map[string]string{
	"EchoDownstream":  "Kong's key echo_downstream of correlation-id",
	"echo_downstream": "Kong's key of correlation-id",

	"Inbound": "the Core Rule Set's word for the scores of requests", "inbound": "the same",
	"Outbound": "its word for the scores of responses", "outbound": "the same",
	"InboundThreshold": "the threshold of such a score", "inbound_threshold": "the same",
	"OutboundThreshold": "the threshold of such a score", "outbound_threshold": "the same",
}

var quoted = regexp.MustCompile("`([^`]+)`")

// forbiddenWords reads the glossary and returns each forbidden word with the
// term to use for it.
func forbiddenWords(fsys fs.FS) (map[string]string, error) {
	src, err := fs.ReadFile(fsys, glossaryFile)
	if err != nil {
		return nil, fmt.Errorf("reading the glossary: %w", err)
	}
	words := make(map[string]string)
	for _, row := range tableRows(string(src), "Term") {
		for _, m := range quoted.FindAllStringSubmatch(row[len(row)-1], -1) {
			words[m[1]] = strings.Trim(row[0], "*` ")
		}
	}
	return words, nil
}

// checkGlossary finds declared names and configuration keys that use a
// forbidden word.
func checkGlossary(t *Tree, words map[string]string) []string {
	var bad []string
	check := func(at ast.Node, name string) {
		if foreign[name] != "" {
			return
		}
		for _, w := range split(name) {
			if term := words[w]; term != "" {
				bad = append(bad, fmt.Sprintf("%s: the name %s uses %q; the glossary's word is %q", t.at(at), name, w, term))
			}
		}
	}
	for _, f := range t.files(anyFile) {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				check(n.Name, n.Name.Name)
			case *ast.TypeSpec:
				check(n.Name, n.Name.Name)
			case *ast.ValueSpec:
				for _, name := range n.Names {
					check(name, name.Name)
				}
			case *ast.Field:
				for _, name := range n.Names {
					check(name, name.Name)
				}
				key, _, _ := strings.Cut(tag(n, "json"), ",")
				check(n, key)
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, lhs := range n.Lhs {
						if name, ok := lhs.(*ast.Ident); ok {
							check(name, name.Name)
						}
					}
				}
			}
			return true
		})
	}
	return bad
}

// tag returns the value of key in a struct field's tag.
func tag(f *ast.Field, key string) string {
	if f.Tag == nil {
		return ""
	}
	s, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(s).Get(key)
}

// split cuts a name in camelCase or snake_case into words in lower case.
func split(name string) []string {
	var words []string
	start := 0
	runes := []rune(name)
	cut := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, r := range runes {
		switch {
		case r == '_':
			cut(i)
			start = i + 1
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			cut(i)
		}
	}
	cut(len(runes))
	return words
}
