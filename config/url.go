package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// splitURL replaces the url of a service by the fields it is a shorthand for.
func (l *loader) splitURL(n *yaml.Node) *yaml.Node {
	_, at := pair(n, "url")
	if at == nil || at.Tag == "!!null" {
		return without(n, "url")
	}
	n = without(n, "url")
	l.report.Enter("url")
	parts, ok := l.urlParts(at)
	l.report.Leave()
	if !ok {
		// The host is missing because of the url alone.
		if _, host := pair(n, "host"); host == nil {
			n = with(n, "host", text(at, "invalid"))
		}
		return n
	}
	for _, part := range parts {
		key, value := part[0], part[1]
		_, given := pair(n, key)
		if given != nil && given.Tag != "!!null" {
			if given.Value != value {
				l.report.Enter(key)
				l.report.Add(&Error{
					Place: l.report.Place(given), Reason: "conflicts with 'url'", Found: schema.Quote(given.Value),
					Expected: "either 'url' or '" + key + "'",
				})
				l.report.Leave()
			}
			continue
		}
		v := text(at, value)
		if key == "port" {
			v.Tag = "!!int"
		}
		n = with(n, key, v)
	}
	return n
}

// urlParts reads scheme://host[:port][/path].
func (l *loader) urlParts(at *yaml.Node) (parts [][2]string, ok bool) {
	fail := func(reason, expected string) ([][2]string, bool) {
		l.report.Add(&Error{Place: l.report.Place(at), Reason: reason, Found: schema.Quote(at.Value), Expected: expected})
		return nil, false
	}
	const example = "a URL such as http://api.internal:8080/path"
	if at.Kind != yaml.ScalarNode || at.Tag != "!!str" {
		return fail("expected a string", example)
	}
	url := at.Value
	if strings.HasPrefix(url, "{vault://") {
		s, err := l.vault.resolve(url)
		if err != nil {
			return fail(err.Error(), "")
		}
		url = s
	}
	scheme, rest, hasScheme := strings.Cut(url, "://")
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	switch {
	case !hasScheme:
		return fail("missing scheme in url", example)
	case strings.ContainsAny(path, "?#"):
		return fail("a url of a service has no query and no fragment", example)
	case strings.Contains(authority, "@"):
		return fail("a url of a service has no user and no password", example)
	}
	scheme = strings.ToLower(scheme)
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return fail("invalid port number", "a port between 0 and 65535")
		}
	}
	if host == "" {
		return fail("missing host in url", example)
	}
	parts = [][2]string{{"protocol", scheme}, {"host", host}, {"port", port}}
	if path != "" {
		parts = append(parts, [2]string{"path", path})
	}
	return parts, true
}
