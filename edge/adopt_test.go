package edge

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/upstream"
)

// newEnv returns what snapshots are compiled with that never serve.
func newEnv(t testing.TB) Env {
	t.Helper()
	e, err := New(Options{Kinds: catalog.All(), Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return e.Env()
}

func loadText(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Load([]byte(text), catalog.All(), config.Origin{})
	if err != nil {
		t.Fatalf("loading: %v\n%s", err, text)
	}
	return cfg
}

func compileAll(t testing.TB, cfg *config.Config, env Env) *Snapshot {
	t.Helper()
	s, err := Compile(cfg, nil, nil, env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a configuration that is changed at random. Names are numbers.
type world struct {
	*rand.Rand
	services, routes, upstreams, plugins map[int]string // as YAML
}

const offline = "_format_version: \"3.0\"\nnode: {status: off, log: {access: off}, listeners: []}\n"

// text returns the file, in the order of the numbers.
func (w *world) text() string {
	var b strings.Builder
	b.WriteString(offline)
	for _, section := range []struct {
		name  string
		items map[int]string
	}{
		{"services", w.services}, {"routes", w.routes}, {"upstreams", w.upstreams}, {"plugins", w.plugins},
	} {
		if len(section.items) > 0 {
			b.WriteString(section.name + ":\n")
		}
		for _, n := range slices.Sorted(maps.Keys(section.items)) {
			b.WriteString("- " + section.items[n] + "\n")
		}
	}
	b.WriteString("consumers: [{username: c0}, {username: c1}]\n")
	return b.String()
}

// change makes a few changes that leave the configuration valid.
func (w *world) change() {
	for range 1 + w.IntN(3) {
		n := w.IntN(8)
		switch w.IntN(8) {
		case 0, 1:
			host := []string{"u0.test", "u1.test", "127.0.0.1", "127.0.0.2"}[w.IntN(4)]
			w.services[n] = fmt.Sprintf("{name: s%d, host: %s, port: %d, enabled: %t, protocol: %s}",
				n, host, 80+w.IntN(2), w.IntN(8) > 0, []string{"http", "https"}[w.IntN(2)])
		case 2, 3:
			w.routes[n+8*w.IntN(3)] = "" // written below
		case 4:
			delete(w.routes, n)
		case 5:
			if w.IntN(3) == 0 {
				delete(w.upstreams, n%2)
				break
			}
			var targets []string
			for i := range 1 + w.IntN(3) {
				targets = append(targets, fmt.Sprintf("{target: \"127.1.0.%d:80\", weight: %d}", 1+i, 50*w.IntN(3)))
			}
			w.upstreams[n%2] = fmt.Sprintf("{name: u%d.test, targets: [%s]}", n%2, strings.Join(targets, ", "))
		case 6:
			w.plugins[n] = ""
		case 7:
			delete(w.plugins, n)
		}
	}
	for n, text := range w.routes {
		if text == "" {
			w.routes[n] = fmt.Sprintf("{name: r%d, service: %s, hosts: [h%d.test], paths: [/%c, \"~/%d/[0-9]+\"]}",
				n, w.service(), w.IntN(3), 'a'+rune(w.IntN(3)), n)
		}
	}
	w.place()
}

// service returns the name of some service.
func (w *world) service() string {
	names := slices.Sorted(maps.Keys(w.services))
	return fmt.Sprintf("s%d", names[w.IntN(len(names))])
}

// place writes the new plugins, and drops those whose route is gone.
func (w *world) place() {
	kinds := []string{
		"name: correlation-id, config: {header_name: X-%d}", "name: ip-restriction, config: {deny: [192.0.2.%d]}",
		"name: request-termination, config: {status_code: 50%d}",
	}
	for n, text := range w.plugins {
		if text == "" {
			scope := []string{"", "route", "service", "consumer"}[w.IntN(4)]
			switch names := slices.Sorted(maps.Keys(w.routes)); {
			case scope == "route" && len(names) > 0:
				scope = fmt.Sprintf(", route: r%d", names[w.IntN(len(names))])
			case scope == "consumer":
				scope = fmt.Sprintf(", consumer: c%d", w.IntN(2))
			case scope != "":
				scope = ", service: " + w.service()
			}
			w.plugins[n] = "{" + fmt.Sprintf(kinds[w.IntN(3)], w.IntN(3)) + fmt.Sprintf(", enabled: %t", w.IntN(6) > 0) + scope + "}"
		}
	}
	taken := make(map[string]bool) // a kind may be at a scope once
	for _, n := range slices.Sorted(maps.Keys(w.plugins)) {
		text := w.plugins[n]
		name, _, _ := strings.Cut(text, ",")
		_, scope, _ := strings.Cut(text, "true")
		if scope == "" {
			_, scope, _ = strings.Cut(text, "false")
		}
		_, route, limited := strings.Cut(scope, "route: r")
		var r int
		if limited {
			if _, err := fmt.Sscanf(route, "%d}", &r); err != nil {
				panic("BUG: " + text)
			}
		}
		if _, there := w.routes[r]; limited && !there || taken[name+scope] {
			delete(w.plugins, n)
			continue
		}
		taken[name+scope] = true
	}
}

// TestAdoptRandom compares, after each of many random changes, a snapshot that
// adopted what it could with one that was compiled whole.
func TestAdoptRandom(t *testing.T) {
	t.Parallel()
	const seeds, steps = 20, 40
	env := newEnv(t)
	adopted := 0
	for seed := range uint64(seeds) {
		w := &world{
			Rand:     rand.New(rand.NewPCG(seed, 15000)),
			services: map[int]string{0: "{name: s0, host: 127.0.0.1}"}, routes: make(map[int]string),
			upstreams: make(map[int]string), plugins: make(map[int]string),
		}
		prev := compileAll(t, loadText(t, w.text()), env)
		for step := range steps {
			w.change()
			fresh := loadText(t, w.text())
			cfg, changed := fresh.Adopt(prev.Config)
			part, err := Compile(cfg, changed, prev, env)
			if err != nil {
				t.Fatal(err)
			}
			whole := compileAll(t, fresh, env)
			if diff := cmp.Diff(describe(whole, seed), describe(part, seed)); diff != "" {
				t.Fatalf("seed %d, step %d: the whole (-) and the part (+) differ:\n%s\n%s", seed, step, diff, w.text())
			}
			checkShared(t, part)
			for _, r := range part.routes {
				if slices.ContainsFunc(prev.routes, func(o *l7.Route) bool { return o == r }) {
					adopted++
				}
			}
			prev = part
		}
	}
	if adopted < seeds*steps {
		t.Errorf("%d routes were adopted in %d steps: too few to test anything", adopted, seeds*steps)
	}
}

// described is what a snapshot does, in a form that can be compared.
type described struct {
	Routes    []string
	Matches   []string
	Consumers []string
}

func describe(s *Snapshot, seed uint64) described {
	var d described
	random := rand.New(rand.NewPCG(seed, 1))
	for _, r := range s.routes {
		d.Routes = append(d.Routes, fmt.Sprintf("%s -> %s, plan %s", r.LogJSON(), describeService(s, r.Service), describePlan(s, r.Plan)))
	}
	for range 50 {
		q := l7.Query{
			Method: "GET", Host: fmt.Sprintf("h%d.test", random.IntN(4)), Port: 80,
			Path: fmt.Sprintf("/%c", 'a'+rune(random.IntN(4))), Header: new(l7.Header),
		}
		if random.IntN(2) == 0 {
			q.Path = fmt.Sprintf("/%d/7", random.IntN(24))
		}
		var m l7.Match
		found := "nothing"
		if s.router.Match(&q, &m) {
			found = m.Route.Entity.Name + " by " + m.Matched
		}
		d.Matches = append(d.Matches, q.Host+q.Path+": "+found)
	}
	pipeline := s.orphan.Pipeline
	if pipeline.ConsumerPlan == nil {
		return d
	}
	for _, r := range s.routes {
		for _, c := range s.Config.Consumers.All() {
			d.Consumers = append(d.Consumers, r.Entity.Name+" "+c.Username+": "+describePlan(s, pipeline.ConsumerPlan(r, c)))
		}
	}
	return d
}

func describeService(snap *Snapshot, s *l7.Service) string {
	if s == nil {
		return "none"
	}
	at := []string{snap.services[s.Entity.ID].balancer}
	if snap.balancers[at[0]] != s.Balancer {
		at = append(at, "another than the snapshot's")
	}
	if !strings.HasPrefix(at[0], "host u") { // a name without an upstream would be looked up
		at = append(at, endpoints(s.Balancer)...)
	}
	return fmt.Sprintf("%s, host %q, TLS %t, at %v", s.LogJSON(), s.Host, s.Identity != nil, at)
}

// endpoints returns where a balancer sends to, each address as often as it has
// turns.
func endpoints(b *upstream.Balancer) []string {
	var all []string
	for range 60 { // a multiple of the turns of all weights used here
		e, err := b.Pick(new(upstream.Choice))
		if err != nil {
			return []string{err.Error()}
		}
		all = append(all, e.Addr.String())
	}
	slices.Sort(all)
	return all
}

// describePlan tells the entity and the configuration of each hook.
func describePlan(s *Snapshot, p *l7.Plan) string {
	var b strings.Builder
	add := func(kind string, hook any) {
		for id, in := range s.plugins {
			if in.plugin == hook {
				fmt.Fprintf(&b, " %s %s %+v", kind, id, in.entity.Config)
				return
			}
		}
		fmt.Fprintf(&b, " %s of no instance", kind)
	}
	for _, step := range p.Request {
		add(step.Kind, step.Hook)
	}
	for _, step := range p.Response {
		add(step.Kind, step.Hook)
	}
	return b.String()
}

// checkShared checks that equal plans are one, and that a snapshot keeps only
// plans that it uses.
func checkShared(t *testing.T, s *Snapshot) {
	t.Helper()
	byText := make(map[string]*l7.Plan)
	used := map[*l7.Plan]bool{s.orphan.Global: true}
	for _, r := range s.routes {
		text := describePlan(s, r.Plan)
		if first := byText[text]; first != nil && first != r.Plan {
			t.Errorf("route %q has a plan of its own that is equal to another", r.Entity.Name)
		}
		byText[text], used[r.Plan] = r.Plan, true
	}
	for _, p := range s.plans {
		if !used[p.plan] {
			t.Errorf("a plan of %d instances is kept that no route uses", len(p.instances))
		}
	}
}

// kindList knows the schemas of some kinds.
type kindList []plugins.Kind

func (l kindList) Schema(name string) (*schema.Type, bool) {
	if i := kindIndex(l, name); i >= 0 {
		return l[i].Schema, true
	}
	return nil, false
}

func loadKinds(text string, kinds []plugins.Kind) (*config.Config, error) {
	return config.Load([]byte(text), kindList(kinds), config.Origin{})
}
