package listeners

import (
	"net/netip"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Bits of the networks that connections_per_network counts: what one customer of
// a provider has, or somewhat more.
const (
	network4Bits = 24
	network6Bits = 48
)

// networkOf returns the network that counts as one.
func networkOf(a netip.Addr) netip.Prefix {
	bits := network6Bits
	if a.Is4() {
		bits = network4Bits
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero value of an address that is none
	return p
}

// share judges the client of c and counts c under it, unless the client is
// banned, comes too often, or has its share of connections already. l.mu is
// held.
func (l *listener) share(c *l4.Conn, r *rules) (why telemetry.Refusal, ok bool) {
	addr := c.Client.Addr()
	client, network := l4.ClientOf(addr), networkOf(addr)
	switch {
	case l.set.bans.Has(addr):
		return telemetry.RefusedBanned, false
	case r.rates != nil && !r.rates.Allow(client.Addr().As16(), sock.Now()):
		l.set.bans.Add(addr, r.BanTime, "rate")
		return telemetry.RefusedRate, false
	case r.ConnectionsPerAddress > 0 && l.held[client] >= r.ConnectionsPerAddress:
		return telemetry.RefusedPerAddress, false
	case r.ConnectionsPerNetwork > 0 && l.held[network] >= r.ConnectionsPerNetwork:
		return telemetry.RefusedPerNetwork, false
	}
	l.conns[c] = addr
	l.held[client]++
	l.held[network]++
	return 0, true
}

// forget is the inverse of share. l.mu is held.
func (l *listener) forget(c *l4.Conn) {
	addr := l.conns[c]
	delete(l.conns, c)
	if !addr.IsValid() {
		return
	}
	for _, p := range [...]netip.Prefix{l4.ClientOf(addr), networkOf(addr)} {
		if l.held[p]--; l.held[p] <= 0 {
			delete(l.held, p)
		}
	}
}
