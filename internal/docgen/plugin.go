package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
)

// pluginPage makes a plugin's page of its package comment, its schema, and the
// golden scripts it is tested by.
func pluginPage(root string, kind plugins.Kind) ([]byte, error) {
	dir := filepath.Join(root, "plugins", strings.ReplaceAll(kind.Name, "-", ""))
	manual, err := manual(filepath.Join(dir, "doc.go"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# %s\n\n%s\n", notice, kind.Name, manual)
	fmt.Fprintf(&b, "## Scopes\n\n%s\n\n", scopes(kind))
	fmt.Fprintf(&b, "## Configuration\n\n%s\n", kind.Schema.Markdown())
	examples, err := examples(filepath.Join(dir, "testdata"))
	if err != nil {
		return nil, err
	}
	b.WriteString("## Examples\n\nEach is the configuration of a test.\n")
	b.WriteString(examples)
	return b.Bytes(), nil
}

// manual returns a package comment as Markdown, without the words that only a
// package comment opens with.
func manual(path string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return "", err
	}
	_, text, ok := strings.Cut(f.Doc.Text(), ": ")
	if !ok {
		return "", errors.New("the package comment does not say: is the plugin NAME: what it does")
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	var p comment.Parser
	printer := comment.Printer{HeadingLevel: 2, HeadingID: func(*comment.Heading) string { return "" }}
	return string(printer.Markdown(p.Parse(text))), nil
}

// scopes tells what an instance may be limited to.
func scopes(kind plugins.Kind) string {
	var may []string
	for _, scope := range []string{"service", "route", "consumer"} {
		if kind.Allows(scope) {
			may = append(may, "a "+scope)
		}
	}
	limited := "An instance cannot be limited."
	if len(may) > 0 {
		limited = "An instance may be limited to " + strings.Join(may, ", to ") + ", or to a combination of them."
	}
	if !kind.Allows("") {
		limited += " It cannot be global."
	} else {
		limited += " Without a limit it runs for every request. The most specific instance wins."
	}
	if kind.Allows(config.ScopeListener) {
		limited += "\n\nIt may stand among the plugins of a listener, beside all others."
	}
	return limited
}

// examples returns the titles and configurations of golden scripts.
func examples(dir string) (string, error) {
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(scripts) == 0 {
		return "", fmt.Errorf("finding golden scripts in %q: %v", dir, err)
	}
	slices.Sort(scripts)
	var b strings.Builder
	for _, path := range scripts {
		src, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		title, rest, _ := strings.Cut(string(src), "-- ")
		_, cfg, ok := strings.Cut(rest, "config.yaml --\n")
		cfg, _, end := strings.Cut(cfg, "\n-- ")
		if !ok || !end {
			return "", fmt.Errorf("finding the configuration in %q", path)
		}
		fmt.Fprintf(&b, "\n%s\n\n```yaml\n%s\n```\n", strings.TrimSpace(title), strings.TrimSpace(cfg))
	}
	return b.String(), nil
}
