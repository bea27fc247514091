package lint

import (
	"fmt"
	"strings"
)

// floor is a row of the floor table: a package imports only packages on floors
// above its own in this list, never one of its own floor.
type floor struct {
	name     string
	packages []string // a folder, "folder/*" for its children, "folder/..." for it and all below, which may import each other
}

// floors is the table of docs/architecture.md, which a test compares with it.
var floors = []floor{
	{"0", []string{"telemetry", "rules", "internal/buf", "internal/index"}},
	{"0a", []string{"internal/sock"}},
	{"0b", []string{"internal/epoll"}},
	{"1", []string{"config/schema", "config/expr"}},
	{"2", []string{"config"}},
	{"3", []string{"store", "waf/gate/...", "tls/hello", "tls/peer", "tls/certs"}},
	{"3a", []string{"l4/initial", "l4/rate"}},
	{"4", []string{"store/*", "upstream", "waf", "tls/issuer", "tls/policy", "l4/relay", "l4/udp"}},
	{"5", []string{"upstream/*", "l4"}},
	{"6", []string{"listeners", "l7", "l4/stream"}},
	{"6a", []string{"l7/h1/syntax"}},
	{"7", []string{"l7/h1", "l7/h2", "l7/h3", "l7/forward", "l7/compat"}},
	{"8", []string{"plugins"}},
	{"9", []string{"plugins/internal/*"}},
	{"10", []string{"plugins/*"}},
	{"11", []string{"plugins/catalog", "edge"}},
	{"12", []string{"admin", "bench/..."}},
	{"13", []string{"cmd/bulwark", "internal/docgen"}},
}

// free are packages that only tests import; they may import anything.
var free = []string{"internal/lint", "internal/testkit/...", "plugins/plugintest", "store/storetest"}

// matches reports whether dir is one of the packages that pattern names, and
// the folder of the family to which it then belongs: packages of one family may
// import each other.
func matches(pattern, dir string) (family string, ok bool) {
	if parent, found := strings.CutSuffix(pattern, "/..."); found {
		return parent, dir == parent || strings.HasPrefix(dir, parent+"/")
	}
	if parent, found := strings.CutSuffix(pattern, "/*"); found {
		rest, below := strings.CutPrefix(dir, parent+"/")
		return dir, below && !strings.Contains(rest, "/")
	}
	return dir, dir == pattern
}

// floorOf returns the index of dir's floor and its family; a row that names dir
// outright goes before one that names it by a pattern.
func floorOf(dir string) (index int, family string, ok bool) {
	index = -1
	for i, f := range floors {
		for _, pattern := range f.packages {
			fam, found := matches(pattern, dir)
			switch {
			case !found:
			case pattern == dir:
				return i, dir, true
			case index < 0:
				index, family = i, fam
			}
		}
	}
	return index, family, index >= 0
}

// isFree reports whether only tests may import dir.
func isFree(dir string) bool {
	for _, pattern := range free {
		if _, ok := matches(pattern, dir); ok {
			return true
		}
	}
	return false
}

// checkFloors finds packages that stand on no floor and imports that do not
// lead downward.
func checkFloors(t *Tree) []string {
	var bad []string
	for _, p := range t.Packages {
		if isFree(p.Dir) || inTests(p) {
			continue
		}
		own, family, ok := floorOf(p.Dir)
		if !ok {
			bad = append(bad, fmt.Sprintf("%s: the package stands on no floor; give it one in internal/lint/floors.go and docs/architecture.md", p.Dir))
			continue
		}
		for _, f := range p.Files {
			if !f.Test {
				bad = append(bad, checkImports(f, own, family)...)
			}
		}
	}
	return bad
}

func checkImports(f *File, own int, family string) []string {
	var bad []string
	for _, imp := range f.imports() {
		dir, ours := local(imp)
		if !ours {
			continue
		}
		if isFree(dir) {
			bad = append(bad, fmt.Sprintf("%s: imports %q, which is for tests only", f.Path, dir))
			continue
		}
		other, otherFamily, ok := floorOf(dir)
		switch {
		case !ok:
			bad = append(bad, fmt.Sprintf("%s: imports %q, which stands on no floor", f.Path, dir))
		case other == own && otherFamily == family:
			// Packages of one family.
		case other == own:
			bad = append(bad, fmt.Sprintf("%s: imports sideways, %q on the same floor %s", f.Path, dir, floors[own].name))
		case other > own:
			bad = append(bad, fmt.Sprintf("%s: imports upward, %q on floor %s from floor %s", f.Path, dir, floors[other].name, floors[own].name))
		}
	}
	return bad
}
