package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// checkServices checks that no route leads to a service that cannot take what
// the route accepts.
func (l *loader) checkServices() {
	for _, d := range l.declared {
		r, ok := d.entity.(*Route)
		if !ok {
			continue
		}
		s, ok := l.cfg.Services.Get(r.Service.ID)
		if !ok || l.failed(d.place.Field("protocols").Path) {
			continue
		}
		for _, p := range r.Protocols {
			if s.takes(p) {
				continue
			}
			l.report.Add(&Error{
				Place:    d.place.Field("protocols"),
				Reason:   "a route with protocol '" + string(p) + "' cannot go to a service with protocol '" + string(s.Protocol) + "'",
				Expected: "another protocol of the route, or of service " + schema.Quote(s.label()),
			})
			break
		}
	}
}

// takes reports whether what comes by a route's protocol can go to the service.
// Streams keep their transport, so that tcp and udp take either; there is no TLS
// over datagrams, and what is passed through goes as it is.
func (s *Service) takes(p Protocol) bool {
	if !p.Stream() || !s.Protocol.Stream() {
		return p.Stream() == s.Protocol.Stream()
	}
	switch s.Protocol {
	case TLS:
		return p != UDP && p != TLSPassthrough
	case TLSPassthrough:
		return p == TLSPassthrough || p == TCP
	}
	return true
}

// label is how a message names the service.
func (s *Service) label() string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID.String()
}

// checkProtocols checks that every plugin runs on some protocol that the
// routes of its scope accept.
func (l *loader) checkProtocols() {
	routes := make(map[ID][]*Route)
	for _, r := range l.cfg.Routes.all {
		if !r.Service.IsZero() {
			routes[r.Service.ID] = append(routes[r.Service.ID], r)
		}
	}
	for _, d := range l.declared {
		p, ok := d.entity.(*Plugin)
		if !ok {
			continue
		}
		fail := func(reason string) {
			if at := d.place.Field("protocols"); !l.failed(at.Path) {
				l.report.Add(&Error{Place: at, Reason: reason})
			}
		}
		l.checkSpoken(d, p)
		if r, ok := l.cfg.Routes.Get(p.Route.ID); ok {
			if !overlap(p.Protocols, r.Protocols) {
				fail("must match the associated route's protocols")
			}
			continue
		}
		own := routes[p.Service.ID]
		if p.Service.IsZero() || len(own) == 0 {
			continue
		}
		if !slices.ContainsFunc(own, func(r *Route) bool { return overlap(p.Protocols, r.Protocols) }) {
			fail("must match the protocols of at least one route pointing to this Plugin's service")
		}
	}
}

// speaker is what Kinds may also be; see Kinds.
type speaker interface {
	Speaks(plugin string, p Protocol) bool
	Protocols(plugin string) []Protocol
}

// allProtocols are the values of a plugin's protocols, in Kong's order.
var allProtocols = [...]Protocol{GRPC, GRPCS, HTTP, HTTPS, TCP, TLS, TLSPassthrough, UDP}

// checkSpoken checks that the plugin's kind knows each of its protocols.
func (l *loader) checkSpoken(d *declared, p *Plugin) {
	kinds, ok := l.kinds.(speaker)
	if !ok || p.kind == nil || l.failed(d.place.Field("protocols").Path) {
		return
	}
	for _, protocol := range p.Protocols {
		if kinds.Speaks(p.Name, protocol) {
			continue
		}
		l.report.Add(&Error{
			Place: d.place.Field("protocols"), Found: schema.Quote(string(protocol)),
			Reason: "expected one of: " + strings.Join(spoken(kinds, p.Name), ", "),
		})
		return
	}
}

func spoken(kinds speaker, plugin string) []string {
	var names []string
	for _, p := range allProtocols {
		if kinds.Speaks(plugin, p) {
			names = append(names, string(p))
		}
	}
	return names
}

// defaultProtocols sets the protocols of a plugin that has not written any, if
// its kind has a default of its own.
func (l *loader) defaultProtocols(p *Plugin, n *yaml.Node) {
	kinds, ok := l.kinds.(speaker)
	if _, at := pair(n, "protocols"); !ok || at != nil && at.Tag != "!!null" {
		return
	}
	if own := kinds.Protocols(p.Name); own != nil {
		p.Protocols = slices.Clone(own)
	}
}

func overlap(a, b []Protocol) bool {
	return slices.ContainsFunc(a, func(p Protocol) bool { return slices.Contains(b, p) })
}
