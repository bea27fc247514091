package dns

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bounds on a resolv.conf, beyond which it is not read on; those of options are
// those of resolv.conf(5), but for the servers, of which libc takes three.
const (
	maxServers  = 8
	maxSearch   = 16
	maxNdots    = 15
	maxAttempts = 5
	maxTimeout  = 30 * time.Second
)

// port is where name servers listen.
const port = 53

// resolvConf is what a resolv.conf says; nil is what it does not.
type resolvConf struct {
	servers  []netip.AddrPort
	search   []string
	ndots    *int
	attempts *int
	timeout  *time.Duration
	rotate   bool
}

// parseResolvConf reads resolv.conf(5). As with libc, lines that make no sense
// are passed over, and the last search or domain line counts.
func parseResolvConf(text string) resolvConf {
	var c resolvConf
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, netip.AddrPortFrom(a.Unmap(), port))
			}
		case "domain", "search":
			c.search = nil
			for _, domain := range words[1:] {
				if domain = canonical(domain); domain != "." && isDomain(domain) && len(c.search) < maxSearch {
					c.search = append(c.search, strings.TrimSuffix(domain, "."))
				}
			}
		case "options":
			for _, option := range words[1:] {
				c.option(option)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	return c
}

func (c *resolvConf) option(option string) {
	name, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "rotate":
		c.rotate = true
	case err != nil || n < 0:
	case name == "ndots":
		c.ndots = new(min(n, maxNdots))
	case name == "attempts":
		c.attempts = new(min(max(n, 1), maxAttempts))
	case name == "timeout":
		c.timeout = new(min(max(time.Duration(min(n, int(maxTimeout/time.Second)))*time.Second, time.Second), maxTimeout))
	}
}
