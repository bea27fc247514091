package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// How long what a name server said is good for. The system's resolver does not
// tell a record's own time to live.
const (
	lookupFresh   = 30 * time.Second // addresses are looked up again after this
	lookupError   = time.Second      // an error is remembered this long (Kong's dns_error_ttl)
	lookupTimeout = 5 * time.Second  // one look-up of all names of a balancer
)

// ErrName says that a name has no address at present.
var ErrName = errors.New("name resolution failed")

// resolver is the part of net.Resolver that is used.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// lookup is a balancer's way to the addresses of its names.
type lookup struct {
	mu    sync.Mutex
	ready chan struct{} // closed when the look-up under way is done; nil: none is
}

// resolved returns a wheel with addresses in it. While there is an old one it
// is used, and looked up anew aside; only without one does the caller wait.
func (b *Balancer) resolved(w *wheel) *wheel {
	now := sock.Now()
	if w != nil && now < w.until {
		return w
	}
	ready := b.refresh(now)
	if w != nil && len(w.turns) > 0 {
		return w
	}
	if ready != nil {
		<-ready
	}
	return b.wheel.Load()
}

// refresh starts a look-up unless one is under way or was done just now, and
// returns what tells its end.
func (b *Balancer) refresh(now int64) <-chan struct{} {
	b.lookup.mu.Lock()
	defer b.lookup.mu.Unlock()
	if b.ready != nil {
		return b.ready
	}
	if w := b.wheel.Load(); w != nil && now < w.until {
		return nil
	}
	ready := make(chan struct{})
	b.ready = ready
	b.set.work.Go(func() {
		b.wheel.Store(b.lookUp(b.wheel.Load()))
		b.lookup.mu.Lock()
		b.ready = nil
		b.lookup.mu.Unlock()
		close(ready)
	})
	return ready
}

// lookUp asks for every name and lays out the wheel. Names that do not resolve
// keep the endpoints they had.
func (b *Balancer) lookUp(old *wheel) *wheel {
	ctx, cancel := context.WithTimeout(b.set.ctx, lookupTimeout)
	defer cancel()
	records := make(map[string][]Record)
	var errs []error
	for _, t := range b.targets {
		if _, err := netip.ParseAddr(t.Host); err == nil || t.Weight <= 0 || records[t.Host] != nil {
			continue
		}
		ips, err := lookUpName(ctx, b.set.resolver, t.Host)
		if err != nil {
			errs = append(errs, err)
			ips = old.addresses(t.Host)
		}
		for _, ip := range ips {
			records[t.Host] = append(records[t.Host], Record{Addr: ip, Weight: 1})
		}
	}
	w := b.build(records)
	w.until = sock.Now() + int64(lookupFresh)
	if len(errs) > 0 {
		w.until = sock.Now() + int64(lookupError)
		if len(w.turns) == 0 {
			w.err = fmt.Errorf("%w: %w", ErrName, errors.Join(errs...))
		}
	}
	return w
}

// lookUpName returns a name's IPv4 addresses or, if it has none, its IPv6 ones.
func lookUpName(ctx context.Context, r resolver, name string) ([]netip.Addr, error) {
	ips, err := r.LookupNetIP(ctx, "ip4", name)
	if err == nil && len(ips) > 0 {
		return ips, nil
	}
	ips, err6 := r.LookupNetIP(ctx, "ip6", name)
	if err6 == nil && len(ips) > 0 {
		return ips, nil
	}
	if err == nil {
		err = err6
	}
	if err == nil {
		err = &net.DNSError{Err: "no addresses", Name: name, IsNotFound: true}
	}
	return nil, err
}

// addresses returns the addresses a name has on the wheel.
func (w *wheel) addresses(host string) []netip.Addr {
	if w == nil {
		return nil
	}
	var ips []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, e := range w.turns {
		if ip := e.Addr.Addr(); e.Target.Host == host && !seen[ip] {
			seen[ip] = true
			ips = append(ips, ip)
		}
	}
	return ips
}
