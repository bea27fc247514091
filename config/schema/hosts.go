package schema

import (
	"net/netip"
	"strconv"
	"strings"
)

// Kinds of hosts.
const (
	HostIPv4 = "ipv4"
	HostIPv6 = "ipv6"
	HostName = "name"
)

// Host is a host name or address with an optional port.
type Host struct {
	Kind    string // HostIPv4, HostIPv6 or HostName
	Name    string // as Kong prints it: IPv6 addresses are written out in full
	Port    uint16
	HasPort bool
}

// String returns the host with its port, and with brackets around IPv6.
func (h Host) String() string {
	s := h.Name
	if h.Kind == HostIPv6 {
		s = "[" + s + "]"
	}
	if h.HasPort {
		s += ":" + strconv.Itoa(int(h.Port))
	}
	return s
}

// badPort is the reason that some checks tell apart from others.
const badPort = "invalid port number"

// ParseHost reads a host by Kong's rules (kong/tools/ip.lua): two colons make
// an IPv6 address, only digits and dots an IPv4 address, all else a name.
func ParseHost(s string) (Host, *Problem) {
	switch {
	case strings.Count(s, ":") > 1:
		return parseIPv6(s)
	case every(strings.ReplaceAll(s, ":", ""), func(c byte) bool { return '0' <= c && c <= '9' || c == '.' }):
		return parseIPv4(s)
	}
	return parseHostName(s)
}

func parseIPv4(s string) (Host, *Problem) {
	addr, port, hasPort := strings.Cut(s, ":")
	h := Host{Kind: HostIPv4, HasPort: hasPort}
	parts := strings.Split(addr, ".")
	ok := len(parts) == 4 && (!hasPort || isDecimal(port))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		ok = ok && isDecimal(p) && len(p) <= 3 && err == nil
		parts[i] = strconv.FormatUint(n, 10)
	}
	if !ok {
		return Host{}, &Problem{Reason: "invalid ipv4 address: " + s}
	}
	h.Name = strings.Join(parts, ".")
	return h, h.setPort(port)
}

func parseIPv6(s string) (Host, *Problem) {
	bad := &Problem{Reason: "invalid ipv6 address: " + s}
	h := Host{Kind: HostIPv6}
	addr, port := s, ""
	if inner, ok := strings.CutPrefix(s, "["); ok {
		var rest string
		addr, rest, ok = strings.Cut(inner, "]")
		port, h.HasPort = strings.CutPrefix(rest, ":")
		if !ok || rest != "" && !h.HasPort || h.HasPort && !isDecimal(port) {
			return Host{}, bad
		}
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return Host{}, bad
	}
	h.Name = a.StringExpanded()
	return h, h.setPort(port)
}

func parseHostName(s string) (Host, *Problem) {
	bad := &Problem{Reason: "invalid hostname: " + s, Expected: "a host name such as api.example.com"}
	h := Host{Kind: HostName}
	name, port, hasPort := strings.Cut(s, ":")
	if h.HasPort = hasPort; hasPort && !isDecimal(port) {
		return Host{}, bad
	}
	if name == "" || !every(name, func(c byte) bool { return isAlnum(c) || c == '-' || c == '.' || c == '_' }) {
		return Host{}, bad
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		// A name may end in a dot: its last label is empty then.
		if strings.HasSuffix(label, "-") || label == "" && (i != len(labels)-1 || i == 0) {
			return Host{}, bad
		}
	}
	h.Name = name
	return h, h.setPort(port)
}

func (h *Host) setPort(port string) *Problem {
	if !h.HasPort {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return &Problem{Reason: badPort, Expected: "a port between 0 and 65535"}
	}
	h.Port = uint16(n)
	return nil
}

func checkHost(s string) *Problem {
	h, p := ParseHost(s)
	switch {
	case p != nil && p.Reason != badPort:
		return &Problem{Reason: "invalid value: " + s, Expected: "a host name or an IP address"}
	case p != nil || h.HasPort:
		return &Problem{Reason: "must not have a port"}
	}
	return nil
}

func checkHostPort(s string) *Problem {
	_, p := ParseHost(s)
	return p
}

func checkSNI(s string) *Problem {
	h, p := ParseHost(s)
	switch {
	case p != nil && p.Reason != badPort:
		return &Problem{Reason: "invalid value: " + s, Expected: "a host name"}
	case h.Kind != HostName && p == nil:
		return &Problem{Reason: "must not be an IP"}
	case p != nil || h.HasPort:
		return &Problem{Reason: "must not have a port"}
	}
	return nil
}

func checkWildcardHost(s string) *Problem {
	if i := strings.IndexByte(s, '*'); i >= 0 {
		if i != 0 && i != len(s)-1 {
			return &Problem{Reason: "wildcard must be leftmost or rightmost character"}
		}
		if strings.Count(s, "*") > 1 {
			return &Problem{Reason: "only one wildcard must be specified"}
		}
	}
	p := checkSNI(strings.Replace(s, "*", "wildcard", 1))
	if p != nil && strings.HasPrefix(p.Reason, "invalid value") {
		p.Reason = "invalid value: " + s
	}
	return p
}

func checkRouteHost(s string) *Problem {
	switch n := strings.Count(s, "*"); {
	case n > 1:
		return &Problem{Reason: "invalid wildcard: must have at most one wildcard"}
	case n == 1 && !strings.HasPrefix(s, "*.") && !strings.HasSuffix(s, ".*"):
		return &Problem{Reason: "invalid wildcard: must be placed at leftmost or rightmost label"}
	}
	_, p := ParseHost(strings.Replace(s, "*", "abc", 1))
	if p != nil && strings.HasPrefix(p.Reason, "invalid hostname") {
		p.Reason = "invalid hostname: " + s
	}
	return p
}

func checkUpstreamName(s string) *Problem {
	prefix := "Invalid name ('" + s + "'); "
	h, p := ParseHost(s)
	switch {
	case p != nil:
		return &Problem{Reason: prefix + "must be a valid hostname"}
	case h.Kind != HostName:
		return &Problem{Reason: prefix + "no ip addresses allowed"}
	case h.HasPort:
		return &Problem{Reason: prefix + "no port allowed"}
	}
	return nil
}

func checkTarget(s string) *Problem {
	if _, p := ParseHost(s); p != nil {
		return &Problem{
			Reason:   "Invalid target ('" + s + "'); not a valid hostname or ip address",
			Expected: `a value such as "10.0.0.7:8080", "[2001:db8::1]:8080" or "api.internal"`,
		}
	}
	return nil
}
