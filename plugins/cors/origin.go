package cors

import (
	"regexp"
	"strings"
)

// plain is the form of an origin that is no expression.
var plain = regexp.MustCompile(`^[A-Za-z0-9.:/-]+$`)

// origins answers whether an origin is allowed. It is immutable.
type origins struct {
	all    bool            // "*" alone, or no list: the answer depends on nothing
	any    bool            // "*" within a list
	single string          // the only entry, if it is plain
	exact  map[string]bool // plain entries in the form of normal
	whole  []*regexp.Regexp
	hosts  []*regexp.Regexp // expressions that are held against the host only
}

// newOrigins compiles a list that has been validated.
func newOrigins(list []string) (*origins, error) {
	o := &origins{exact: make(map[string]bool)}
	switch {
	case len(list) == 0 || len(list) == 1 && list[0] == "*":
		o.all = true
		return o, nil
	case len(list) == 1 && plain.MatchString(list[0]):
		o.single = list[0]
		return o, nil
	}
	for _, entry := range list {
		switch {
		case entry == "*":
			o.any = true
		case plain.MatchString(entry):
			text, _ := normal(entry)
			o.exact[text] = true
		default:
			// Anchored as a whole, so that no alternative of it is open.
			re, err := regexp.Compile("^(?:" + entry + ")$")
			if err != nil {
				return nil, err
			}
			if strings.Contains(entry, ":") {
				o.whole = append(o.whole, re)
			} else {
				o.hosts = append(o.hosts, re)
			}
		}
	}
	return o, nil
}

// allowed returns what to tell about an origin that the list has; ok is false
// if it has not.
func (o *origins) allowed(origin string) (tell string, ok bool) {
	text, host := normal(origin)
	if o.exact[text] {
		return text, true
	}
	for _, re := range o.whole {
		if re.MatchString(text) {
			return text, true
		}
	}
	for _, re := range o.hosts {
		if re.MatchString(host) {
			return text, true
		}
	}
	return "", false
}

// normal returns scheme://host:port of an origin without the scheme's own port
// and without what may follow, and the host. What has no host stays as it is. It
// allocates only if a port is cut out of the middle.
func normal(origin string) (text, host string) {
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok {
		return origin, origin
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	authority := rest[strings.LastIndexByte(rest, '@')+1:]
	if authority == "" {
		return origin, origin
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	start := len(scheme) + len("://")
	if len(authority) != len(rest) { // a user, which an origin does not have
		return scheme + "://" + authority, host
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return origin[:start+len(host)], host
	}
	return origin[:start+len(rest)], host
}
