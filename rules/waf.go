package rules

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// WAFRules are the rules of a WAF as files and what is to be read of them, in
// its order. Files of the rules that are built in stand below "bulwark" and
// "crs", those of an external directory below "external".
type WAFRules struct {
	FS         fs.FS
	Directives string // SecLang: one Include after the other; Setup and Core
	Setup      string // what stands before the Core Rule Set, ...
	Core       string // ... and it and what follows; more directives may stand between them
	Versions   []Version
}

// Version says of what version a part of the rules is.
type Version struct {
	Name    string // of the part, such as "OWASP_CRS"
	Version string // empty if it says none
}

//go:embed waf
var wafFiles embed.FS

// The places of an external directory.
const (
	externalBase  = "recommended.conf" // instead of Bulwark's base configuration
	externalSetup = "crs-setup.conf"   // instead of the built-in setup of the Core Rule Set
	externalCRS   = "rules"            // a Core Rule Set, instead of the built-in one
)

// WAF returns the rules of a WAF: Bulwark's base configuration, the Core Rule
// Set and the exclusion packs. A directory dir, if it is not empty, replaces
// parts of them and adds to them:
//
//	recommended.conf  replaces the base configuration
//	crs-setup.conf    replaces the setup of the Core Rule Set
//	rules/            replaces the Core Rule Set, as it is distributed
//	plugins/          plugins of the Core Rule Set: *-config.conf, *-before.conf, *-after.conf
//	before/, after/   more rules, before and after the Core Rule Set
//
// Files of a folder are read in the order of their names, and each file once: FS
// shows them as they were then. Nothing is parsed here.
func WAF(dir string) (*WAFRules, error) {
	own, err := fs.Sub(wafFiles, "waf")
	if err != nil {
		return nil, err
	}
	crs, err := fs.Sub(coreruleset.FS, "@owasp_crs")
	if err != nil {
		return nil, err
	}
	w := &WAFRules{}
	files := mounts{"bulwark": own, "crs": withAttributes{crs}}
	base, setup, core := "bulwark/recommended.conf", "bulwark/crs-setup.conf", "crs"
	extends := func(string) []string { return nil }
	if dir != "" {
		external, err := externalDir(dir)
		if err != nil {
			return nil, err
		}
		files["external"] = external
		base = choose(external, externalBase, base)
		setup = choose(external, externalSetup, setup)
		core = choose(external, externalCRS, core)
		extends = func(pattern string) []string {
			found, _ := fs.Glob(files, "external/"+pattern) // the patterns are ours, and no others fail
			return found
		}
	}
	w.FS = files
	order := []string{base, setup}
	order = append(order, extends("plugins/*-config.conf")...)
	order = append(order, extends("plugins/*-before.conf")...)
	order = append(order, "bulwark/before.conf")
	packs, err := fs.Glob(files, "bulwark/packs/*.conf")
	if err != nil {
		return nil, err
	}
	order = append(order, packs...)
	order = append(order, extends("before/*.conf")...)
	rules, err := fs.Glob(files, core+"/*.conf")
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("reading WAF rules from %q: the folder %q has no .conf files", dir, externalCRS)
	}
	rules = append(rules, "bulwark/after.conf")
	rules = append(rules, extends("plugins/*-after.conf")...)
	rules = append(rules, extends("after/*.conf")...)
	if w.Setup, err = w.include(order); err != nil {
		return nil, err
	}
	if w.Core, err = w.include(rules); err != nil {
		return nil, err
	}
	w.Directives = w.Setup + w.Core
	return w, nil
}

// Packs returns the names of the exclusion packs that are built in.
func Packs() []string {
	var names []string
	entries, err := fs.ReadDir(wafFiles, "waf/packs")
	if err != nil {
		panic("BUG: the packs are not embedded: " + err.Error())
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".conf"))
	}
	return names
}

// externalDir opens dir so that nothing outside of it can be read through it, and
// nothing in it twice.
func externalDir(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of WAF rules: %w", err)
	}
	return &readOnce{fsys: root.FS()}, nil
}

// choose returns the external file or folder name if there is one.
func choose(external fs.FS, name, builtIn string) string {
	if _, err := fs.Stat(external, name); err == nil {
		return "external/" + name
	}
	return builtIn
}

// signature is how a file says what it is and of what version.
var signature = regexp.MustCompile(`(?m)^\s*SecComponentSignature\s+"?([A-Za-z0-9_.-]+)/([A-Za-z0-9_.-]+)"?\s*$`)

// include returns the directives that read files in that order, and collects
// the versions that they tell.
func (w *WAFRules) include(files []string) (string, error) {
	var text strings.Builder
	for _, name := range files {
		text.WriteString("Include " + name + "\n")
		content, err := fs.ReadFile(w.FS, name)
		if err != nil {
			return "", fmt.Errorf("reading WAF rules: %w", err)
		}
		for _, m := range signature.FindAllSubmatch(content, -1) {
			v := Version{Name: string(m[1]), Version: string(m[2])}
			if !slices.Contains(w.Versions, v) {
				w.Versions = append(w.Versions, v)
			}
		}
	}
	return text.String(), nil
}

// mounts is a file system of others, each below a name.
type mounts map[string]fs.FS

func (m mounts) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	first, rest, deeper := strings.Cut(name, "/")
	fsys, ok := m[first]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if !deeper {
		rest = "."
	}
	f, err := fsys.Open(rest)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return nil, &fs.PathError{Op: pe.Op, Path: path.Clean(name), Err: pe.Err}
	}
	return f, err
}
