package syntax

import (
	"net/netip"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// parseTarget reads the request target at i (RFC 9112 section 3.2) into Path,
// Query and Authority and returns its end. The byte at the end is for the
// caller to check.
func parseTarget(head string, i int, r *l7.Request) (end int, secure bool, f fault) {
	switch {
	case head[i] == '/':
		end, f = parsePath(head, i, r)
		return end, false, f
	case r.Method == "CONNECT":
		for classes[head[i]]&isQuery != 0 {
			i++
		}
		return i, false, faultNone
	case head[i] == '*':
		if r.Method != "OPTIONS" {
			return i, false, faultAsterisk
		}
		r.Path = "*"
		return i + 1, false, faultNone
	case hasPrefixFold(head[i:], "http://"):
		end, f = parseAbsolute(head, i+len("http://"), r)
		return end, false, f
	case hasPrefixFold(head[i:], "https://"):
		end, f = parseAbsolute(head, i+len("https://"), r)
		return end, true, f
	}
	return i, false, faultTarget
}

// parsePath reads the path and the query at i.
func parsePath(head string, i int, r *l7.Request) (end int, f fault) {
	start := i
	for {
		for classes[head[i]]&isPath != 0 {
			i++
		}
		if head[i] != '%' {
			break
		}
		// Two more bytes are there: the head's end is behind.
		if classes[head[i+1]]&classes[head[i+2]]&isHex == 0 {
			return i, faultEscape
		}
		i += 3
	}
	r.Path = head[start:i]
	if head[i] != '?' {
		return i, faultNone
	}
	return parseQuery(head, i, r), faultNone
}

// parseQuery reads the query, whose "?" is at i.
func parseQuery(head string, i int, r *l7.Request) (end int) {
	start := i + 1
	i = start
	for classes[head[i]]&isQuery != 0 {
		i++
	}
	r.Query, r.HasQuery = head[start:i], true
	return i
}

// parseAbsolute reads an absolute target behind its scheme.
func parseAbsolute(head string, i int, r *l7.Request) (end int, f fault) {
	start := i
	for classes[head[i]]&isHost != 0 || head[i] == ':' || head[i] == '[' || head[i] == ']' {
		i++
	}
	if head[i] == '@' {
		return i, faultUserinfo
	}
	r.Authority = head[start:i]
	if !validAuthority(r.Authority) {
		return i, faultAuthority
	}
	switch {
	case head[i] == '/':
		return parsePath(head, i, r)
	case head[i] == '?':
		r.Path = "/"
		return parseQuery(head, i, r), faultNone
	case r.Method == "OPTIONS":
		// RFC 9112 section 3.2.4: this is how a proxy is asked for "*".
		r.Path = "*"
	default:
		r.Path = "/"
	}
	return i, faultNone
}

// targetBytes measures a target by where its line's next space or end is, so
// that one that is both too long and wrong is too long.
func targetBytes(head string, start int) int {
	return strings.IndexAny(head[start:], " \r\n")
}

// validAuthority reports whether a is host or host:port with a host that is not
// empty.
func validAuthority(a string) bool {
	host, port, ok := splitAuthority(a)
	if !ok || host == "" {
		return false
	}
	if port != "" {
		if _, ok := parsePort(port); !ok {
			return false
		}
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	return true
}

// splitAuthority cuts a at the end of its host and reports whether nothing but
// a port that is not empty follows it. An address keeps its brackets.
func splitAuthority(a string) (host, port string, ok bool) {
	i := 0
	if a != "" && a[0] == '[' {
		i = strings.IndexByte(a, ']') + 1
		if i == 0 {
			return "", "", false
		}
	} else {
		for i < len(a) && classes[a[i]]&isHost != 0 {
			i++
		}
	}
	if i == len(a) {
		return a, "", true
	}
	return a[:i], a[i+1:], a[i] == ':' && i+1 < len(a)
}

// parsePort reads one to five digits up to 65535.
func parsePort(s string) (port int, ok bool) {
	if len(s) == 0 || len(s) > len("65535") {
		return 0, false
	}
	for i := range len(s) {
		if classes[s[i]]&isDigit == 0 {
			return 0, false
		}
		port = port*10 + int(s[i]-'0')
	}
	return port, port <= 65535
}

// sameAuthority compares two valid authorities: hosts without case, ports by
// number with the scheme's default.
func sameAuthority(a, b string, secure bool) bool {
	hostA, portA, _ := splitAuthority(a)
	hostB, portB, _ := splitAuthority(b)
	if len(hostA) != len(hostB) || portOr(portA, secure) != portOr(portB, secure) {
		return false
	}
	for i := range len(hostA) {
		if toLower(hostA[i]) != toLower(hostB[i]) {
			return false
		}
	}
	return true
}

func portOr(port string, secure bool) int {
	if n, ok := parsePort(port); ok {
		return n
	}
	if secure {
		return 443
	}
	return 80
}
