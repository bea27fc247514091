package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// maxChain bounds a chain of aliases, within an answer and over several.
	maxChain = 8
	// maxRecords bounds the records of one name; what comes after is not used.
	maxRecords = 512
)

// reply is what a message says about one name and type.
type reply struct {
	addrs    []netip.Addr // of A and AAAA
	services []service    // of SRV: those of the lowest priority
	extra    map[string][]netip.Addr
	alias    string // where a chain of aliases ends, if there is no record at its end
	ttl      uint32 // seconds that all of it is good for
	nothing  bool   // there is neither a record nor an alias
	noName   bool   // because the name does not exist
	looping  bool   // the chain of aliases is too long
}

// service is an SRV record.
type service struct {
	host   string // canonical
	port   uint16
	weight int // at least 1
}

// readReply reads what m says about q, whose name is canonical. It follows the
// aliases that m holds.
func readReply(m *dns.Msg, q dns.Question) reply {
	r := reply{ttl: 1<<32 - 1}
	owner := q.Name
	for step := 0; ; step++ {
		if step > maxChain {
			r.looping = true
			return r
		}
		if r.records(m.Answer, owner, q.Qtype); len(r.addrs)+len(r.services) > 0 {
			break
		}
		next, ttl := alias(m.Answer, owner)
		if next == "" {
			break
		}
		owner, r.alias, r.ttl = next, next, min(r.ttl, ttl)
	}
	switch {
	case len(r.services) > 0:
		r.alias = ""
		r.extra = extras(m.Extra, r.services, &r.ttl)
	case len(r.addrs) > 0:
		r.alias = ""
	case m.Rcode == dns.RcodeNameError:
		// RFC 6604: the code is about the end of the chain.
		r.alias, r.nothing, r.noName = "", true, true
	case r.alias == "":
		r.nothing = true
	}
	return r
}

// records takes the records of a type that owner has.
func (r *reply) records(list []dns.RR, owner string, qtype uint16) {
	lowest := 1 << 16
	for _, rr := range list {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, owner) {
			continue
		}
		if srv, ok := rr.(*dns.SRV); ok {
			host := canonical(srv.Target)
			if host == "." || !isDomain(host) || int(srv.Priority) > lowest {
				continue // ".": RFC 2782, the service is not to be had
			}
			if int(srv.Priority) < lowest {
				lowest, r.services = int(srv.Priority), nil
			}
			if len(r.services) < maxRecords {
				r.services = append(r.services, service{host, srv.Port, max(1, int(srv.Weight))})
				r.ttl = min(r.ttl, h.Ttl)
			}
			continue
		}
		if a, ok := address(rr); ok && len(r.addrs) < maxRecords {
			r.addrs = append(r.addrs, a)
			r.ttl = min(r.ttl, h.Ttl)
		}
	}
}

// address returns the address of an A or AAAA record.
func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A.To4())
		return a, ok
	case *dns.AAAA:
		a, ok := netip.AddrFromSlice(rr.AAAA.To16())
		return a.Unmap(), ok
	}
	return netip.Addr{}, false
}

// alias returns the canonical name that owner is an alias of, or "".
func alias(list []dns.RR, owner string) (name string, ttl uint32) {
	for _, rr := range list {
		h := rr.Header()
		c, ok := rr.(*dns.CNAME)
		if ok && h.Class == dns.ClassINET && strings.EqualFold(h.Name, owner) {
			if name := canonical(c.Target); name != "." && isDomain(name) {
				return name, h.Ttl
			}
		}
	}
	return "", 0
}

// extras returns the addresses that were sent along for the hosts of services.
func extras(list []dns.RR, services []service, ttl *uint32) map[string][]netip.Addr {
	wanted := make(map[string]bool, len(services))
	for _, s := range services {
		wanted[s.host] = true
	}
	found := make(map[string][]netip.Addr)
	for _, rr := range list {
		a, ok := address(rr)
		host := canonical(rr.Header().Name)
		if ok && wanted[host] && rr.Header().Class == dns.ClassINET && len(found[host]) < maxRecords {
			found[host] = append(found[host], a)
			*ttl = min(*ttl, rr.Header().Ttl)
		}
	}
	return found
}
