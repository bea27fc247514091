package consul

import "strings"

// service is what a name stands for in the catalogue. The empty datacenter is
// the agent's own.
type service struct {
	name, tag, datacenter string
}

// parseName reads a name of a service, and reports whether it is one. Names are
// the same in upper and lower case.
func parseName(name string) (service, bool) {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	n := len(labels)
	if n < 3 || labels[n-1] != "consul" {
		return service{}, false
	}
	labels = labels[:n-1]
	for _, l := range labels {
		if !isLabel(l) {
			return service{}, false
		}
	}
	var s service
	switch n = len(labels); {
	case labels[n-1] == "service":
		labels = labels[:n-1]
	case n > 3 && labels[n-1] == "dc" && labels[n-3] == "service":
		s.datacenter, labels = labels[n-2], labels[:n-3]
	case n > 2 && labels[n-2] == "service":
		s.datacenter, labels = labels[n-1], labels[:n-2]
	default:
		return service{}, false
	}
	switch len(labels) {
	case 1:
		s.name = labels[0]
		return s, true
	case 2:
		if first, ok := strings.CutPrefix(labels[0], "_"); ok {
			// RFC 2782: the protocol of the second label is a tag.
			second, ok := strings.CutPrefix(labels[1], "_")
			s.name, s.tag = first, second
			if s.tag == "tcp" {
				s.tag = ""
			}
			return s, ok && s.name != ""
		}
		s.tag, s.name = labels[0], labels[1]
		return s, true
	}
	return service{}, false
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 63
}
