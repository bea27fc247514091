package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxCNAMEs bounds the CNAMEs that are followed from a record's name.
const maxCNAMEs = 8

var (
	errCNAMELoop  = errors.New("its CNAMEs lead around in a circle")
	errManyCNAMEs = fmt.Errorf("more than %d CNAMEs stand behind it", maxCNAMEs)
	errCNAME      = errors.New("its CNAME leads to what is no domain")
)

// follow returns the name that a name leads to by its CNAMEs, itself if there is
// none. Names have a dot at their end.
func follow(ctx context.Context, servers []netip.AddrPort, name string) (string, error) {
	name = dns.CanonicalName(name)
	for seen := map[string]bool{name: true}; ; seen[name] = true {
		target, err := cname(ctx, servers, name)
		switch {
		case err != nil:
			return "", err
		case target == "":
			return name, nil
		case seen[target]:
			return "", fmt.Errorf("%w: %q", errCNAMELoop, target)
		case len(seen) > maxCNAMEs:
			return "", errManyCNAMEs
		}
		name = target
	}
}

// cname returns the target of the CNAME at a name, nothing if there is none, by the
// first server that knows.
func cname(ctx context.Context, servers []netip.AddrPort, name string) (target string, err error) {
	for _, server := range servers {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeCNAME)
		var res *dns.Msg
		if res, err = query(ctx, server.String(), m, nil); err != nil {
			err = fmt.Errorf("asking %q: %w", server, err)
			continue
		}
		if res.Rcode != dns.RcodeSuccess && res.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("asking %q: the server answers %s", server, dns.RcodeToString[res.Rcode])
			continue
		}
		for _, rr := range res.Answer {
			if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
				return goodTarget(c.Target)
			}
		}
		return "", nil
	}
	return "", err
}

// goodTarget refuses what programs and servers had better not be told: a target is
// a domain of letters, digits, hyphens and underscores.
func goodTarget(target string) (string, error) {
	target = dns.CanonicalName(target)
	if !wellFormed(strings.ReplaceAll(strings.TrimSuffix(target, "."), "_", "x")) {
		return "", fmt.Errorf("%w: %q", errCNAME, target)
	}
	return target, nil
}
