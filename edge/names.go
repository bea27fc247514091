package edge

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream/consul"
	"github.com/bulwark-edge/bulwark/upstream/dns"
)

// names resolves what upstreams are called: services by Consul, if there is an
// agent, and all else by DNS. It outlives snapshots, with what is known.
type names struct {
	dns    *dns.Resolver
	consul *consul.Resolver
}

// newNames returns a resolver with the settings of an empty configuration.
func newNames(log *slog.Logger, count *telemetry.NameCounters) *names {
	n := new(names)
	n.dns = dns.New(new(dns.Settings), log, count)
	n.consul = consul.New(n.dns, log)
	return n
}

// configure lets names be resolved as a node wants it from now on.
func (n *names) configure(node *config.Node) {
	n.dns.Configure(dnsSettings(&node.DNS))
	n.consul.Configure(consulSettings(&node.Consul))
}

// close ends what is under way.
func (n *names) close() {
	n.consul.Close()
	n.dns.Close()
}

func dnsSettings(d *config.DNS) *dns.Settings {
	s := &dns.Settings{
		Servers: addrPorts(d.Servers),
		Zones:   make(map[string][]netip.AddrPort, len(d.Zones)),
		Search:  d.Search, Ndots: d.Ndots, Attempts: d.Attempts, Rotate: d.Rotate,
		MinTTL: d.MinTTL.Std(), MaxTTL: d.MaxTTL.Std(), Stale: d.StaleTTL.Std(),
		NotFound: d.NotFound.Std(), Error: d.ErrorTTL.Std(), CacheNames: d.CacheNames,
	}
	if d.Timeout != nil {
		timeout := time.Duration(*d.Timeout)
		s.Timeout = &timeout
	}
	if d.ResolvConf != config.DNSOff {
		s.ResolvConf = d.ResolvConf
	}
	if d.Hosts != config.DNSOff {
		s.Hosts = d.Hosts
	}
	for zone, servers := range d.Zones {
		s.Zones[zone] = addrPorts(servers)
	}
	for _, t := range d.Order {
		s.Order = append(s.Order, dns.Type(t))
	}
	return s
}

func addrPorts(list []config.NameServer) []netip.AddrPort {
	out := make([]netip.AddrPort, len(list))
	for i := range list {
		out[i] = list[i].AddrPort
	}
	return out
}

// consulSettings returns nil if there is no agent.
func consulSettings(c *config.Consul) *consul.Settings {
	if c.URL() == nil {
		return nil
	}
	return &consul.Settings{
		Address: c.URL(), Token: c.Token.Reveal(), Datacenter: c.Datacenter,
		CAs: c.CAs(), Wait: c.Wait.Std(),
	}
}
