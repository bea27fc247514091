package config

import (
	"path/filepath"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// LocalCA is an authority of this machine, for development.
type LocalCA struct {
	Names     []string `json:"names" default:"[]" check:"wildcard_host" unique:"true" len_max:"1000" vault:"false" doc:"Server names that certificates are made for as clients ask, such as localhost or *.test, where no other certificate is used for them. Only names under localhost, test, internal and home.arpa. None turns the authority off."`
	Directory string   `json:"directory" default:"/var/lib/bulwark/local-ca" doc:"Folder of the authority's root and its key, which are made if they are not there."`
}

var _ schema.Validator = (*LocalCA)(nil)

// LocalSuffixes are the names that the local authority may sign for, each with
// all below it: nobody can own them on the internet (RFC 6761, RFC 8375, and
// ICANN's reservation of "internal").
var LocalSuffixes = []string{"localhost", "test", "internal", "home.arpa"}

// Validate checks that nothing but local names is signed for.
func (l *LocalCA) Validate(r *schema.Report) {
	for i, name := range l.Names {
		l.Names[i] = strings.ToLower(name)
		if !LocalName(l.Names[i]) {
			r.Expect("the local authority does not sign for "+schema.Quote(name),
				"a name under one of: "+strings.Join(LocalSuffixes, ", "), "names", i)
		}
	}
	if l.Directory != "" && !filepath.IsAbs(l.Directory) && !r.Bad("directory") {
		r.Expect("the path is not absolute", "a path such as /var/lib/bulwark/local-ca", "directory")
	}
}

// LocalName reports whether the local authority may sign for a server name,
// which may begin with "*.".
func LocalName(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	for _, s := range LocalSuffixes {
		if name == s || strings.HasSuffix(name, "."+s) {
			return true
		}
	}
	return false
}
