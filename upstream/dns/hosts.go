package dns

import (
	"net/netip"
	"strings"
)

// maxHostsNames bounds the names of a hosts file; what comes after is not read.
const maxHostsNames = 100_000

// hosts holds the addresses of a hosts file by name, in lower case and without a
// dot at the end.
type hosts map[string][]netip.Addr

// parseHosts reads hosts(5). Lines that make no sense are passed over.
func parseHosts(text string) hosts {
	h := make(hosts)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			name = canonical(name)
			if !isDomain(name) || name == "." {
				continue
			}
			name = strings.TrimSuffix(name, ".")
			if _, known := h[name]; !known && len(h) == maxHostsNames {
				return h
			}
			if len(h[name]) < maxRecords {
				h[name] = append(h[name], a.Unmap())
			}
		}
	}
	return h
}

// find returns the addresses of a name, of the family that stands first in
// order, or of the other if there are none.
func (h hosts) find(name string, order []Type) []netip.Addr {
	return prefer(h[name], order)
}

// prefer returns the addresses of the family that stands first in order, or the
// others if there are none of it.
func prefer(list []netip.Addr, order []Type) []netip.Addr {
	var four, six []netip.Addr
	for _, a := range list {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	if len(six) == 0 || len(four) > 0 && !sixFirst(order) {
		return four
	}
	return six
}

// sixFirst reports whether AAAA stands before A in order.
func sixFirst(order []Type) bool {
	for _, t := range order {
		switch t {
		case A:
			return false
		case AAAA:
			return true
		}
	}
	return false
}
