package edge

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// mixed is a configuration of streams and requests that is changed at random.
// Services turn from the one to the other, and their routes with them.
type mixed struct {
	*rand.Rand
	services  [3]struct{ protocol, host, enabled int }
	routes    [6]struct{ is, service, port int }
	upstreams [2]struct{ is, targets int }
	plugins   [5]struct{ is, kind, config, scope, at, protocols int }
}

var mixedProtocols = [...]string{"tcp", "tls", "udp", "http"}

// change makes a few changes, which may not be valid.
func (w *mixed) change() {
	for range 1 + w.IntN(3) {
		switch w.IntN(4) {
		case 0:
			s := &w.services[w.IntN(len(w.services))]
			*[]*int{&s.protocol, &s.host, &s.enabled}[w.IntN(3)] = w.IntN(8)
		case 1:
			r := &w.routes[w.IntN(len(w.routes))]
			*[]*int{&r.is, &r.service, &r.port}[w.IntN(3)] = w.IntN(6)
		case 2:
			u := &w.upstreams[w.IntN(len(w.upstreams))]
			*[]*int{&u.is, &u.targets}[w.IntN(2)] = w.IntN(6)
		case 3:
			p := &w.plugins[w.IntN(len(w.plugins))]
			*[]*int{&p.is, &p.kind, &p.config, &p.scope, &p.at, &p.protocols}[w.IntN(6)] = w.IntN(6)
		}
	}
}

func (w *mixed) text() string {
	var services, routes, upstreams, plugins strings.Builder
	for n, s := range w.services {
		host := []string{"u0.test", "u1.test", "127.0.0.1", "127.0.0.2"}[s.host%4]
		fmt.Fprintf(&services, "- {id: %s, name: s%d, host: %s, port: 80, protocol: %s, enabled: %t}\n",
			numbered(1, n), n, host, mixedProtocols[s.protocol%4], s.enabled != 7)
	}
	there := make(map[int]bool)
	for n, r := range w.routes {
		if r.is == 0 {
			continue
		}
		there[n] = true
		service := r.service % len(w.services)
		rule := fmt.Sprintf("destinations: [{port: %d}]", 1+r.port)
		protocol := mixedProtocols[w.services[service].protocol%4]
		if protocol == "http" {
			rule = fmt.Sprintf("hosts: [h%d.test]", r.port)
		}
		fmt.Fprintf(&routes, "- {id: %s, name: r%d, service: s%d, protocols: [%s], %s}\n", numbered(2, n), n, service, protocol, rule)
	}
	for n, u := range w.upstreams {
		if u.is > 1 {
			fmt.Fprintf(&upstreams, "- {id: %s, name: u%d.test, targets: [{target: \"127.1.0.%d:80\"}]}\n", numbered(3, n), (n+u.is)%2, 1+u.targets)
		}
	}
	taken := make(map[string]bool) // a kind may be at a scope once, and a name of an upstream be given once
	for n, p := range w.plugins {
		kind := []string{"ip-restriction, config: {deny: [192.0.2.%d]}", "ip-restriction, config: {allow: [192.0.3.%d]}"}[p.kind%2]
		scope := []string{"", "service", "route"}[p.scope%3]
		switch {
		case p.is == 0, scope == "route" && !there[p.at]:
			continue
		case scope == "service":
			scope = fmt.Sprintf(", service: s%d", p.at%len(w.services))
		case scope == "route":
			scope = fmt.Sprintf(", route: r%d", p.at)
		}
		if taken[scope] {
			continue
		}
		taken[scope] = true
		fmt.Fprintf(&plugins, "- {id: %s, name: %s, protocols: %s, enabled: %t%s}\n", numbered(4, n), fmt.Sprintf(kind, p.config),
			[]string{"[tcp, tls]", "[http]", "[tcp, http]"}[p.protocols%3], p.is > 1, scope)
	}
	text := offline
	for _, section := range []struct{ name, items string }{
		{"services", services.String()}, {"routes", routes.String()}, {"upstreams", upstreams.String()}, {"plugins", plugins.String()},
	} {
		if section.items != "" {
			text += section.name + ":\n" + section.items
		}
	}
	return text
}

// numbered returns an id.
func numbered(kind, n int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-0000000%02d%03d", kind, n)
}

// TestAdoptStreamsRandom is TestAdoptRandom for streams.
func TestAdoptStreamsRandom(t *testing.T) {
	t.Parallel()
	const seeds, steps = 20, 60
	env := newEnv(t)
	adopted, taken := 0, 0
	for seed := range uint64(seeds) {
		w := &mixed{Rand: rand.New(rand.NewPCG(seed, 443))}
		prev := compileAll(t, loadText(t, w.text()), env)
		for step := range steps {
			before := *w
			w.change()
			fresh, err := config.Load([]byte(w.text()), catalog.All(), config.Origin{})
			if err != nil { // two upstreams of one name, or a plugin that fits none of its routes
				*w = before
				continue
			}
			taken++
			cfg, changed := fresh.Adopt(prev.Config)
			part, err := Compile(cfg, changed, prev, env)
			if err != nil {
				t.Fatal(err)
			}
			whole := compileAll(t, fresh, env)
			if diff := cmp.Diff(describeStreams(whole), describeStreams(part)); diff != "" {
				t.Fatalf("seed %d, step %d: the whole (-) and the part (+) differ:\n%s\n%s", seed, step, diff, w.text())
			}
			if diff := cmp.Diff(describe(whole, seed), describe(part, seed)); diff != "" {
				t.Fatalf("seed %d, step %d: the whole (-) and the part (+) differ in requests:\n%s\n%s", seed, step, diff, w.text())
			}
			for _, r := range part.streams.routes {
				if slices.ContainsFunc(prev.streams.routes, func(o compiledStream) bool { return o.Route == r.Route }) {
					adopted++
				}
			}
			prev = part
		}
	}
	if taken < seeds*steps/2 || adopted < taken {
		t.Errorf("%d routes were adopted in %d valid steps of %d: too few to test anything", adopted, taken, seeds*steps)
	}
}

// describeStreams tells what a snapshot does with streams.
func describeStreams(s *Snapshot) []string {
	var lines []string
	for _, r := range s.streams.routes {
		lines = append(lines, fmt.Sprintf("%s -> %s, plan %s", r.Entity.Name, describeStreamService(s, r.Service), describeStreamPlan(s, r.Plan)))
	}
	for port := range uint16(8) {
		for _, protocol := range []config.Protocol{config.TCP, config.TLS, config.UDP} {
			q := l4.Query{Protocol: protocol, Source: netip.MustParseAddrPort("192.0.2.1:1"), Destination: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
			if r := s.streams.router.Match(&q); r != nil {
				lines = append(lines, fmt.Sprintf("%s %d: %s", protocol, port, r.Entity.Name))
			}
		}
	}
	return append(lines, fmt.Sprintf("%d plans, %d services", len(s.streams.plans), len(s.streams.services)))
}

func describeStreamService(snap *Snapshot, s *l4.Service) string {
	if s == nil {
		return "none"
	}
	at := []string{snap.streams.services[s.Entity.ID].balancer}
	if snap.balancers[at[0]] != s.Balancer {
		at = append(at, "another than the snapshot's")
	}
	if !strings.HasPrefix(at[0], "host u") { // a name without an upstream would be looked up
		at = append(at, endpoints(s.Balancer)...)
	}
	return fmt.Sprintf("%s %s %s, TLS %t, at %v", s.Entity.Name, s.Entity.Protocol, s.Entity.Host, s.Identity != nil, slices.Compact(at))
}

func describeStreamPlan(s *Snapshot, p *l4.Plan) string {
	var b strings.Builder
	for _, step := range p.Session {
		found := "of no instance"
		for id, in := range s.plugins {
			if in.plugin == step.Hook {
				found = fmt.Sprintf("%s %+v", id, in.entity.Config)
			}
		}
		fmt.Fprintf(&b, " %s %s", step.Kind, found)
	}
	return b.String()
}
