package edge

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// TestAdopted names, for each kind of change, what is compiled anew: nothing
// else is.
func TestAdopted(t *testing.T) {
	const base = offline + `
services:
- {name: plain, host: 127.0.0.1}
- {name: balanced, host: u.test}
- {name: secure, host: 127.0.0.1, protocol: https, client_certificate: 0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f01}
routes:
- {name: p1, service: plain, paths: [/p1]}
- {name: p2, service: plain, paths: [/p2]}
- {name: b, service: balanced, paths: [/b]}
- {name: s, service: secure, paths: [/s]}
upstreams:
- {name: u.test, targets: [{target: "127.1.0.1:80"}]}
plugins:
- {name: correlation-id, config: {header_name: X-Global}}
- {name: ip-restriction, service: plain, config: {deny: [192.0.2.1]}}
consumers: [{username: c}]
certificates:
- {id: 0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f01, cert: CERT, key: KEY, snis: [a.test]}
`
	first, second := pemPair(t), pemPair(t)
	text := strings.NewReplacer("CERT", first[0], "KEY", first[1]).Replace(base)
	env := newEnv(t)
	tests := []struct {
		name   string
		change *strings.Replacer
		want   []string // what is new: routes, services, their plans, the router
	}{
		{"nothing", strings.NewReplacer(), nil},
		{"a consumer", strings.NewReplacer("username: c", "username: d"), nil},
		{"a route", strings.NewReplacer("[/p1]", "[/one]"), []string{"route p1", "router"}},
		{"a route's service", strings.NewReplacer("name: p2, service: plain", "name: p2, service: balanced"), []string{"plan p2", "route p2", "router"}},
		{"an added route", strings.NewReplacer("upstreams:", "- {name: n, paths: [/n]}\nupstreams:"), []string{"route n", "router"}},
		{"a removed route", strings.NewReplacer("- {name: p2, service: plain, paths: [/p2]}", ""), []string{"router"}},
		{"the order of routes", strings.NewReplacer("name: p1, service: plain, paths: [/p1]", "name: p2, service: plain, paths: [/p2]", "name: p2, service: plain, paths: [/p2]", "name: p1, service: plain, paths: [/p1]"), []string{"router"}},
		{"a service", strings.NewReplacer("name: plain", "read_timeout: 7, name: plain"), []string{"route p1", "route p2", "router", "service plain"}},
		{"a disabled service", strings.NewReplacer("name: plain,", "enabled: false, name: plain,"), []string{"router"}},
		{"a target", strings.NewReplacer("127.1.0.1", "127.1.0.2"), []string{"route b", "router", "service balanced"}},
		{"an upstream", strings.NewReplacer("{name: u.test", "{host_header: h.test, name: u.test"), []string{"route b", "router", "service balanced"}},
		{"a plugin of a service", strings.NewReplacer("192.0.2.1", "192.0.2.2"), []string{"plan p1", "plan p2", "route p1", "route p2", "router"}},
		{"a plugin of all", strings.NewReplacer("X-Global", "X-World"), []string{
			"global plan", "plan b", "plan p1", "plan p2", "plan s", "route b", "route p1", "route p2", "route s", "router",
		}},
		{"a plugin's tags", strings.NewReplacer("name: correlation-id", "tags: [x], name: correlation-id"), nil},
		{"a plugin that moves to a route", strings.NewReplacer("ip-restriction, service: plain", "ip-restriction, route: b"), []string{
			"plan b", "plan p1", "plan p2", "route b", "route p1", "route p2", "router",
		}},
		{"a client certificate", strings.NewReplacer(first[0], second[0], first[1], second[1]), []string{"identity secure", "route s", "router", "service secure"}},
		{"a setting of the node", strings.NewReplacer("status: off", "status: off, drain: 7s"), []string{
			"identity secure", "route b", "route p1", "route p2", "route s", "router", "service balanced", "service plain", "service secure",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prev := compileAll(t, loadText(t, text), env)
			cfg, changed := loadText(t, tt.change.Replace(text)).Adopt(prev.Config)
			next, err := Compile(cfg, changed, prev, env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, tt.want...), fresh(prev, next)); diff != "" {
				t.Errorf("compiled anew (-want +got):\n%s", diff)
			}
		})
	}
}

// fresh names what next has that prev has not, sorted.
func fresh(prev, next *Snapshot) []string {
	list := []string{}
	add := func(isNew bool, format string, args ...any) {
		if isNew {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	for _, r := range next.routes {
		i := slices.IndexFunc(prev.routes, func(o *l7.Route) bool { return o.Entity.Name == r.Entity.Name })
		add(i < 0 || prev.routes[i] != r, "route %s", r.Entity.Name)
		add(i >= 0 && prev.routes[i].Plan != r.Plan, "plan %s", r.Entity.Name)
	}
	for id, s := range next.services {
		old := prev.services[id]
		add(old.Service != s.Service, "service %s", s.Entity.Name)
		add(old.Service != nil && old.Identity != s.Identity, "identity %s", s.Entity.Name)
	}
	add(prev.router != next.router, "router")
	add(prev.orphan.Global != next.orphan.Global, "global plan")
	slices.Sort(list)
	return list
}

// pemPair returns a new certificate and its key, as YAML scalars.
func pemPair(t *testing.T) [2]string {
	t.Helper()
	pair, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(kind string, der []byte) string {
		return strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return [2]string{quote("CERTIFICATE", pair.Certificate[0]), quote("PRIVATE KEY", key)}
}

// secretive is a plugin whose configuration is a secret.
type secretive struct{ token string }

type secretiveConfig struct {
	Token schema.Secret `json:"token" doc:"What nobody sees."`
}

// TestAdoptSecret changes nothing but a secret: the instance that knows the old
// one must not be adopted.
func TestAdoptSecret(t *testing.T) {
	kinds := []plugins.Kind{plugins.Define(plugins.Spec[secretiveConfig]{
		Name: "secretive", Scopes: plugins.Anywhere, Speaks: plugins.HTTP,
		New: func(cfg secretiveConfig, _ plugins.Env) (any, error) { return &secretive{cfg.Token.Reveal()}, nil },
	})}
	e, err := New(Options{Kinds: kinds, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var prev *Snapshot
	for _, token := range []string{"one", "two", "two"} {
		cfg, err := loadKinds(offline+"plugins: [{name: secretive, config: {token: "+token+"}}]\n", kinds)
		if err != nil {
			t.Fatal(err)
		}
		before := prev
		if prev != nil {
			adopted, changed := cfg.Adopt(prev.Config)
			prev, err = Compile(adopted, changed, prev, e.Env())
		} else {
			prev, err = Compile(cfg, nil, nil, e.Env())
		}
		if err != nil {
			t.Fatal(err)
		}
		for id, in := range prev.plugins {
			if got := in.plugin.(*secretive).token; got != token {
				t.Errorf("the instance knows %q, want %q", got, token)
			}
			if before != nil && (before.plugins[id].instance == in.instance) != (before.plugins[id].plugin.(*secretive).token == token) {
				t.Errorf("an instance was adopted although its secret changed, or built anew although it did not: %q", token)
			}
		}
	}
}

// TestAdoptedListenerPlugins: a listener's own plugins run before the plans of
// adopted routes and of new ones.
func TestAdoptedListenerPlugins(t *testing.T) {
	const base = `_format_version: "3.0"
node:
  status: off
  log: {access: off}
  listeners: [{name: http, address: "127.0.0.1:0", plugins: [{name: correlation-id, config: {header_name: X-Own}}]}]
services: [{name: s, host: 127.0.0.1, routes: [{name: r1, paths: [/1]}, {name: r2, paths: [/2]}]}]
plugins: [{name: request-termination, config: {status_code: 503}}]
`
	all := catalog.All()
	load := func(text string) *config.Config {
		cfg, err := config.Load([]byte(text), all, config.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	env := newEnv(t)
	prev := compileAll(t, load(base), env)
	cfg, changed := load(strings.Replace(base, "/2", "/two", 1)).Adopt(prev.Config)
	next, err := Compile(cfg, changed, prev, env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"route r2", "router"}, fresh(prev, next)); diff != "" {
		t.Errorf("compiled anew (-want +got):\n%s", diff)
	}
	for _, r := range next.routes {
		p := next.site("http").RoutePlan(r)
		if p == nil || len(p.Request) != 2 || p.Request[0].Kind != "correlation-id" || p.Request[1].Kind != "request-termination" {
			t.Errorf("route %q runs %+v on the listener", r.Entity.Name, p)
		}
	}
	if before, after := len(prev.plugins), len(next.plugins); before != 2 || after != 2 {
		t.Errorf("%d instances before and %d after, want 2", before, after)
	}
	for id, in := range next.plugins {
		if prev.plugins[id].instance != in.instance {
			t.Errorf("instance of %q was built anew", in.kind.Name)
		}
	}
}
