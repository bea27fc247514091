package config

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// plainPath matches a path that formats before 3.0 take as a prefix; any other
// is a regular expression.
var plainPath = regexp.MustCompile(`^[a-zA-Z0-9._~/%-]*$`)

// migratePaths rewrites the paths of routes of an older format to that of 3.0:
// regular expressions get a tilde, prefixes their normal form
// (kong/db/migrations/migrate_path_280_300.lua).
func migratePaths(root *yaml.Node) {
	done := make(map[*yaml.Node]bool) // aliases show one node in several places
	routes := func(n *yaml.Node) {
		_, list := pair(n, KindRoute)
		if list == nil || list.Kind != yaml.SequenceNode {
			return
		}
		for _, r := range list.Content {
			_, paths := pair(r, "paths")
			if paths == nil || paths.Kind != yaml.SequenceNode {
				continue
			}
			for _, p := range paths.Content {
				if p.Kind == yaml.ScalarNode && p.Tag == "!!str" && !done[p] {
					done[p] = true
					p.Value = migratePath(p.Value)
				}
			}
		}
	}
	routes(root)
	if _, services := pair(root, KindService); services != nil && services.Kind == yaml.SequenceNode {
		for _, s := range services.Content {
			routes(s)
		}
	}
}

func migratePath(p string) string {
	if plainPath.MatchString(p) {
		if strings.HasPrefix(p, "/") {
			return schema.NormalPath(p)
		}
		return p
	}
	return "~" + decodeRegex(p)
}

// escape finds one percent escape.
var escape = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

// decodeRegex decodes the percent escapes of a regular expression, which older
// formats matched against the encoded path. Reserved characters stay encoded,
// and characters that mean something in an expression get a backslash.
func decodeRegex(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		c := hexByte(e[1])<<4 | hexByte(e[2])
		switch {
		case strings.IndexByte("!#$%&'()*+,/:;=?@[]", c) >= 0:
			return strings.ToUpper(e)
		case strings.IndexByte(`.^-{}\|`, c) >= 0:
			return `\` + string(rune(c))
		}
		return string([]byte{c})
	})
}

func hexByte(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
