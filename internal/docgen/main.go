// Command docgen writes the pages of docs/ that are made from the code: the
// tables and the JSON Schema of the configuration, and a page for each plugin.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

//go:generate go run . -root ../..

func main() {
	root := flag.String("root", ".", "the module's folder")
	flag.Parse()
	if err := generate(*root); err != nil {
		fmt.Fprintln(os.Stderr, "docgen: "+err.Error())
		os.Exit(1)
	}
}

// generate writes every page. Pages of plugins that are gone are removed.
func generate(root string) error {
	kinds := catalog.All()
	pages := map[string][]byte{
		"configuration.md":          []byte(notice + config.Markdown(kinds)),
		"configuration.schema.json": config.JSONSchema(kinds),
	}
	for _, kind := range kinds {
		page, err := pluginPage(root, kind)
		if err != nil {
			return fmt.Errorf("writing the page of plugin %q: %w", kind.Name, err)
		}
		pages[filepath.Join("plugins", kind.Name+".md")] = page
	}
	docs := filepath.Join(root, "docs")
	if err := os.RemoveAll(filepath.Join(docs, "plugins")); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "plugins"), 0o755); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(docs, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// notice opens a generated page.
const notice = "<!-- Made by \"make generate\" from the code; do not edit. -->\n\n"
