package lint

import (
	"fmt"
	"slices"
	"strings"
)

// confined says in which folders a module (or a package of one) may be
// imported. Tests and bench may import everything.
var confined = []struct {
	importPath string // it and all below
	folders    []string
}{
	{"github.com/corazawaf/coraza", []string{"waf"}},
	{"github.com/corazawaf/coraza-coreruleset", []string{"rules"}},
	{"github.com/quic-go/quic-go", []string{"l7/h3"}},
	{"github.com/mholt/acmez", []string{"tls/issuer"}},
	{"github.com/pires/go-proxyproto", []string{"listeners", "l4"}},
	{"golang.org/x/net/http2", []string{"l7/h2"}},
	{"github.com/jackc/pgx", []string{"store/postgres"}},
	{"go.etcd.io/bbolt", []string{"store/bolt"}},
	{"github.com/andybalholm/brotli", []string{"plugins/compression", "waf"}},
	{"github.com/klauspost/compress", []string{"plugins/compression", "waf"}},
	{"github.com/oschwald/maxminddb-golang", []string{"plugins/iprestriction"}},
	{"github.com/redis/go-redis", []string{"plugins/internal/redis"}},
	{"github.com/miekg/dns", []string{"upstream/dns", "tls/issuer"}},
}

// checkModules finds imports of modules outside of the folders they are
// confined to.
func checkModules(t *Tree) []string {
	var bad []string
	for _, p := range t.Packages {
		if _, ok := matches("bench/...", p.Dir); ok || isFree(p.Dir) {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, imp := range f.imports() {
				for _, c := range confined {
					inside := imp == c.importPath || strings.HasPrefix(imp, c.importPath+"/")
					if inside && !slices.Contains(c.folders, p.Dir) {
						bad = append(bad, fmt.Sprintf("%s: imports %q, which is confined to %s", f.Path, imp, strings.Join(c.folders, " and ")))
					}
				}
			}
		}
	}
	return bad
}

// unsafeFile is the only file that may import unsafe (docs/adr/0004).
const unsafeFile = "internal/sock/raw.go"

// checkForbiddenImports finds unsafe and C.
func checkForbiddenImports(t *Tree) []string {
	var bad []string
	for _, f := range t.files(anyFile) {
		for _, imp := range f.imports() {
			if imp == "unsafe" && f.Path != unsafeFile || imp == "C" {
				bad = append(bad, fmt.Sprintf("%s: imports %q", f.Path, imp))
			}
		}
	}
	return bad
}
