package dns

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Type is a step in the order in which a name is looked up.
type Type string

// The steps. Last stands for the name and type that succeeded the last time.
const (
	Last  Type = "LAST"
	SRV   Type = "SRV"
	A     Type = "A"
	AAAA  Type = "AAAA"
	CNAME Type = "CNAME"
)

// Settings say how names are resolved. What is nil or empty is taken from
// resolv.conf, and what is not there has the defaults below.
type Settings struct {
	Servers    []netip.AddrPort            // asked in this order
	Zones      map[string][]netip.AddrPort // other servers for these names and all below; lower case, no dot at the end
	ResolvConf string                      // path; "": none
	Hosts      string                      // path of the hosts file; "": none
	Search     []string                    // domains that a name may be meant to be below
	Ndots      *int                        // names with as many dots are tried as they are first
	Attempts   *int                        // rounds over the servers
	Timeout    *time.Duration              // of one try with one server
	Rotate     *bool                       // whether the servers take turns in being first
	Order      []Type                      // types to ask for, until one has an answer

	MinTTL, MaxTTL time.Duration // bounds on what servers say
	Stale          time.Duration // how long an answer is used past its time if it cannot be had anew
	NotFound       time.Duration // how long it is remembered that there is nothing
	Error          time.Duration // how long an error is remembered
	CacheNames     int           // names that are kept
}

// What resolv.conf does not say, and settings do not either.
const (
	defaultNdots    = 1
	defaultAttempts = 2
	defaultTimeout  = 2 * time.Second
)

// equal reports whether two settings are the same.
func (s *Settings) equal(o *Settings) bool { return reflect.DeepEqual(s, o) }

// plan is what settings and resolv.conf come to.
type plan struct {
	servers  *servers
	zones    map[string]*servers
	search   []string
	ndots    int
	attempts int
	timeout  time.Duration
	rotate   bool
}

// plan joins settings with a resolv.conf; what the settings say counts.
func (s *Settings) plan(c resolvConf) *plan {
	p := &plan{
		servers: newServers(c.servers), search: c.search,
		ndots: defaultNdots, attempts: defaultAttempts, timeout: defaultTimeout, rotate: c.rotate,
		zones: make(map[string]*servers, len(s.Zones)),
	}
	if len(s.Servers) > 0 {
		p.servers = newServers(s.Servers)
	}
	for zone, list := range s.Zones {
		p.zones[zone] = newServers(list)
	}
	if len(s.Search) > 0 {
		p.search = s.Search
	}
	p.ndots = pick(s.Ndots, c.ndots, defaultNdots)
	p.attempts = pick(s.Attempts, c.attempts, defaultAttempts)
	p.timeout = pick(s.Timeout, c.timeout, defaultTimeout)
	p.rotate = pick(s.Rotate, nil, c.rotate)
	return p
}

func pick[T any](first, second *T, otherwise T) T {
	if first != nil {
		return *first
	}
	if second != nil {
		return *second
	}
	return otherwise
}

// serversFor returns who is asked for a name that is absolute and in lower case,
// and whether that is by a zone.
func (p *plan) serversFor(fqdn string) (group *servers, zoned bool) {
	if len(p.zones) > 0 {
		for name := strings.TrimSuffix(fqdn, "."); name != ""; {
			if g := p.zones[name]; g != nil {
				return g, true
			}
			_, name, _ = strings.Cut(name, ".")
		}
	}
	return p.servers, false
}
