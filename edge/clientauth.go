package edge

import (
	"cmp"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// anyName is the pattern of every server name, and of handshakes without one.
const anyName = "*"

// asked returns what plugins want clients to be asked, by patterns of server
// names: what is said of the most specific pattern of a name counts, so each has
// what those have that are less specific. It is nil if no plugin wants anything.
func (c *compiler) asked() map[string]*policy.ClientAuth {
	asking := false
	for _, in := range c.snap.plugins {
		_, asks := in.plugin.(plugins.Asker)
		asking = asking || asks
	}
	if !asking {
		return nil
	}
	by := make(map[string][]*instance)
	for _, r := range c.snap.routes {
		for _, in := range c.plans.forRoute(r.Entity).instances {
			if _, asks := in.plugin.(plugins.Asker); !asks {
				continue
			}
			for _, name := range serverNames(r.Entity) {
				if !slices.Contains(by[name], in) {
					by[name] = append(by[name], in)
				}
			}
		}
	}
	all := make(map[string]*policy.ClientAuth, len(by))
	for name := range by {
		var instances []*instance
		for pattern := name; pattern != ""; pattern = broader(pattern) {
			instances = append(instances, by[pattern]...)
		}
		all[name] = join(instances)
	}
	return all
}

// serverNames returns patterns of the server names by which a request may come to
// a route: those of its snis, else of its hosts.
func serverNames(r *config.Route) []string {
	names := r.SNIs
	if len(names) == 0 {
		names = r.Hosts
	}
	if len(names) == 0 || r.Expression != "" {
		return []string{anyName}
	}
	patterns := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "[") || strings.Count(name, ":") > 1 {
			return []string{anyName} // an address is in no handshake
		}
		if host, _, ok := strings.Cut(name, ":"); ok {
			name = host
		}
		if _, err := netip.ParseAddr(name); err == nil {
			return []string{anyName}
		}
		name = strings.TrimSuffix(name, ".") // the root's dot is in no handshake either
		// Names of "shop.*" may also be names of "*.test": who asks for which
		// would depend on the order in which a name's patterns are tried.
		if strings.HasSuffix(name, "*") {
			return []string{anyName}
		}
		patterns = append(patterns, name)
	}
	return patterns
}

// broader returns the next pattern that every name of a pattern is one of too, ""
// if there is none.
func broader(pattern string) string {
	if pattern == anyName {
		return ""
	}
	_, parent, ok := strings.Cut(strings.TrimPrefix(pattern, "*."), ".")
	if !ok {
		return anyName
	}
	return "*." + parent
}

// join returns what asks for all that instances want to be asked. Authorities are
// told to the client only if all want that: one that is not told must not be
// missed.
func join(instances []*instance) *policy.ClientAuth {
	both := &policy.ClientAuth{Mode: policy.Request, SendCADN: true}
	seen := make(map[string]bool)
	for _, in := range instances {
		a := in.plugin.(plugins.Asker).ClientAuth()
		both.SendCADN = both.SendCADN && a.SendCADN
		for _, ca := range a.CAs {
			if !seen[string(ca.Raw)] {
				seen[string(ca.Raw)] = true
				both.CAs = append(both.CAs, ca)
			}
		}
	}
	// The same ones, in whatever order they were found, are the same.
	slices.SortFunc(both.CAs, func(a, b *x509.Certificate) int { return cmp.Compare(string(a.Raw), string(b.Raw)) })
	return both
}
