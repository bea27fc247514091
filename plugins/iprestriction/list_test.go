package iprestriction

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzList reads lists: none is a crash, one is read if each of its lines is an
// address or a range, and what is read holds what it says.
func FuzzList(f *testing.F) {
	f.Add("192.0.2.1\n")
	f.Add("# none\n\n2001:db8::/32 # some\n10.0.0.0/8")
	f.Add("10.0.0.0/33\n")
	f.Fuzz(func(t *testing.T, content string) {
		var listed []netip.Addr
		good := true
		for line := range strings.Lines(content) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			a, err := netip.ParseAddr(line)
			if err != nil {
				var p netip.Prefix
				p, err = netip.ParsePrefix(line)
				if a = p.Addr(); a.Is4In6() && p.Bits() < 96 {
					good = false // it is of both families
				}
			}
			good = good && err == nil && a.Zone() == ""
			listed = append(listed, a.Unmap())
		}
		list, err := parseList([]byte(content))
		if (err == nil) != good {
			t.Fatalf("reading it ends with %v, each line is good: %t", err, good)
		}
		if err != nil {
			return
		}
		for _, a := range listed {
			if !list.Contains(a) {
				t.Errorf("%s stands in the list, and not in what was read", a)
			}
		}
	})
}
