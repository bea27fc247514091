package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

const (
	// hostsAtOnce is how many hosts of SRV records are looked up at a time.
	hostsAtOnce = 8
	// maxSplit bounds the factor that makes whole numbers of shares when the
	// hosts of SRV records have several addresses each.
	maxSplit = 840
)

var errChain = fmt.Errorf("the chain of aliases has over %d steps or is a loop", maxChain)

// generation is a resolver as long as its settings stay the same.
type generation struct {
	settings  *Settings
	number    uint64
	exchanger exchanger
	slots     chan struct{}   // taken by queries under way; of the resolver
	ctx       context.Context // ends with the resolver
	work      *sync.WaitGroup // of the resolver
	panics    *telemetry.Counter
	log       *slog.Logger
	plan      *watched[*plan]
	hosts     *watched[hosts]

	mu      sync.Mutex
	queries *cache[queryKey, *query]
}

// outcome is what a name stands for.
type outcome struct {
	records []upstream.Record
	expires int64
	by      queryKey // what was found; the zero value if no server was asked
}

// lookUp finds what a name stands for. last is what was found the last time. The
// error wraps errNothing if servers have said that there is nothing.
func (g *generation) lookUp(ctx context.Context, name string, last queryKey) (outcome, error) {
	fqdn := canonical(name)
	if !isDomain(fqdn) || fqdn == "." {
		return outcome{}, fmt.Errorf("%q is no host name: %w", name, errNothing)
	}
	if o, known, err := g.local(fqdn); known {
		return o, err
	}
	if last != (queryKey{}) && slices.Contains(g.settings.Order, Last) {
		// Trouble is not a reason to take another type's answer: what was found
		// last is used on, as long as it may be.
		o, err := g.find(ctx, last.name, last.kind, 0)
		if err == nil || !errors.Is(err, errNothing) {
			return o, err
		}
	}
	var trouble error
	for _, candidate := range g.plan.get().candidates(name) {
		o, stop, err := g.byOrder(ctx, candidate)
		if err == nil {
			return o, nil
		}
		if !errors.Is(err, errNothing) {
			trouble = err
		}
		if stop {
			break
		}
	}
	if trouble == nil {
		return outcome{}, fmt.Errorf("%q has no address: %w", name, errNothing)
	}
	return outcome{}, trouble
}

// local answers for names that no server is asked about.
func (g *generation) local(fqdn string) (o outcome, known bool, err error) {
	expires := sock.Now() + int64(watchInterval)
	if list := g.hosts.get().find(strings.TrimSuffix(fqdn, "."), g.settings.Order); len(list) > 0 {
		return outcome{records: records(list), expires: expires}, true, nil
	}
	// RFC 6761 sections 6.3 and 6.4.
	switch {
	case isBelow(fqdn, "localhost."):
		loopback := prefer([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, g.settings.Order)
		return outcome{records: records(loopback), expires: expires}, true, nil
	case isBelow(fqdn, "invalid."):
		return outcome{}, true, fmt.Errorf("%q is a name that never exists: %w", fqdn, errNothing)
	}
	return outcome{}, false, nil
}

// errNoName is errNothing because the name does not exist.
var errNoName = fmt.Errorf("the name does not exist: %w", errNothing)

// find asks for a name by one type, and for what that leads to.
func (g *generation) find(ctx context.Context, fqdn string, kind Type, depth int) (outcome, error) {
	if depth > maxChain {
		return outcome{}, errChain
	}
	key := queryKey{fqdn, kind}
	q, err := g.query(ctx, key)
	switch {
	case err != nil:
		return outcome{}, err
	case q.reply.noName:
		return outcome{}, errNoName
	case q.reply.nothing:
		return outcome{}, errNothing
	}
	var o outcome
	switch {
	case q.reply.alias != "" && kind == CNAME:
		o, err = g.alias(ctx, q.reply.alias, depth+1)
	case q.reply.alias != "":
		o, err = g.find(ctx, q.reply.alias, kind, depth+1)
	case kind == SRV:
		o, err = g.services(ctx, fqdn, q, depth+1)
	default:
		o = outcome{records: records(q.reply.addrs), expires: q.expires}
	}
	o.expires, o.by = min(o.expires, q.expires), key
	return o, err
}

// alias asks for the name that another one is an alias of.
func (g *generation) alias(ctx context.Context, fqdn string, depth int) (outcome, error) {
	var trouble error
	for _, kind := range g.settings.Order {
		if kind == Last {
			continue
		}
		o, err := g.find(ctx, fqdn, kind, depth)
		if err == nil {
			return o, nil
		}
		if !errors.Is(err, errNothing) {
			trouble = err
		}
	}
	return outcome{}, cmp.Or(trouble, error(errNothing))
}

// services finds the addresses of the hosts of SRV records. Hosts without one
// are passed over while there are others.
func (g *generation) services(ctx context.Context, fqdn string, q *query, depth int) (outcome, error) {
	list := q.reply.services
	hosts := make([]outcome, len(list))
	errs := make([]error, len(list))
	free := make(chan struct{}, hostsAtOnce)
	var asking sync.WaitGroup
	for i, s := range list {
		if extra := q.reply.extra[s.host]; len(extra) > 0 && g.sameServers(fqdn, s.host) {
			hosts[i] = outcome{records: records(prefer(extra, g.settings.Order)), expires: q.expires}
			continue
		}
		free <- struct{}{}
		asking.Go(func() {
			hosts[i], errs[i] = g.address(ctx, s.host, depth)
			<-free
		})
	}
	asking.Wait()

	o := outcome{expires: q.expires}
	split := 1
	for i := range hosts {
		if n := len(hosts[i].records); n > 0 {
			o.expires = min(o.expires, hosts[i].expires)
			split = lcm(split, n)
		}
	}
	for i, s := range list {
		n := len(hosts[i].records)
		for _, r := range hosts[i].records {
			o.records = append(o.records, upstream.Record{
				Addr: r.Addr, Port: s.port, Name: strings.TrimSuffix(s.host, "."),
				Weight: max(1, s.weight*split/n),
			})
		}
	}
	if o.records = tidy(o.records); len(o.records) == 0 {
		// Trouble with one host outweighs that others have nothing: what it has
		// is not known.
		for _, err := range errs {
			if err != nil && !errors.Is(err, errNothing) {
				return outcome{}, err
			}
		}
		return outcome{}, errNothing
	}
	return o, nil
}

// sameServers reports whether one name's servers may speak for the other.
func (g *generation) sameServers(a, b string) bool {
	p := g.plan.get()
	one, _ := p.serversFor(a)
	other, _ := p.serversFor(b)
	return one == other
}

// address finds the addresses of a host that an SRV record names.
func (g *generation) address(ctx context.Context, fqdn string, depth int) (outcome, error) {
	if o, known, err := g.local(fqdn); known {
		return o, err
	}
	kinds := []Type{A, AAAA}
	if sixFirst(g.settings.Order) {
		kinds = []Type{AAAA, A}
	}
	var trouble error
	for _, kind := range kinds {
		o, err := g.find(ctx, fqdn, kind, depth)
		if err == nil {
			return o, nil
		}
		if !errors.Is(err, errNothing) {
			trouble = err
		}
	}
	return outcome{}, cmp.Or(trouble, error(errNothing))
}

// records returns addresses as records of equal weight.
func records(list []netip.Addr) []upstream.Record {
	out := make([]upstream.Record, len(list))
	for i, a := range list {
		out[i] = upstream.Record{Addr: a, Weight: 1}
	}
	return tidy(out)
}

// tidy brings records into a stable order, drops repeated and surplus ones and
// reduces the weights.
func tidy(list []upstream.Record) []upstream.Record {
	slices.SortFunc(list, func(a, b upstream.Record) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Name, b.Name), cmp.Compare(b.Weight, a.Weight))
	})
	list = slices.CompactFunc(list, func(a, b upstream.Record) bool {
		return a.Addr == b.Addr && a.Port == b.Port && a.Name == b.Name
	})
	list = list[:min(len(list), maxRecords)]
	div := 0
	for _, r := range list {
		div = gcd(div, r.Weight)
	}
	for i := range list {
		list[i].Weight /= div
	}
	return list
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// lcm returns the least common multiple, but at most maxSplit.
func lcm(a, b int) int { return min(a/gcd(a, b)*b, maxSplit) }
