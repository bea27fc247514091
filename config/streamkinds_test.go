package config

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// speakingKinds are kinds that tell which protocols each knows, and which it has
// if none are written.
type speakingKinds struct {
	testKinds
	speaks, protocols map[string][]Protocol
}

func (k speakingKinds) Allows(_, scope string) bool { return scope != "consumer" }

func (k speakingKinds) Speaks(plugin string, p Protocol) bool {
	return slices.Contains(k.speaks[plugin], p)
}

func (k speakingKinds) Protocols(plugin string) []Protocol { return k.protocols[plugin] }

func TestProtocolsOfPlugins(t *testing.T) {
	web := []Protocol{GRPC, GRPCS, HTTP, HTTPS}
	streams := []Protocol{TCP, TLS, TLSPassthrough, UDP}
	kinds := speakingKinds{
		newKinds(),
		map[string][]Protocol{"echo": append(slices.Clone(web), streams...), "strict": streams},
		map[string][]Protocol{"strict": streams},
	}
	const route = "routes: [{name: r, protocols: [tcp], sources: [{port: 1}]}]\n"
	tests := []struct {
		name, src string
		want      []Protocol // of the first plugin
		errs      []string
	}{
		{"Kong's default", "plugins: [{name: echo}]", web, nil},
		{"null", "plugins: [{name: echo, protocols: null}]", web, nil},
		{"its own default", route + "plugins: [{name: strict, route: r, config: {key: k}}]", streams, nil},
		{"written", route + "plugins: [{name: echo, route: r, protocols: [http, tcp]}]", []Protocol{HTTP, TCP}, nil},
		{"not the route's", route + "plugins: [{name: echo, route: r}]", nil, []string{
			"3:11: plugins[0].protocols: must match the associated route's protocols",
		}},
		{"not known to the plugin", "plugins: [{name: strict, protocols: [tcp, http], config: {key: k}}]", nil, []string{
			"2:37: plugins[0].protocols: expected one of: tcp, tls, tls_passthrough, udp (found \"http\")",
		}},
		{"gRPC alone", "plugins: [{name: echo, protocols: [grpc]}]", []Protocol{GRPC}, nil},
		{"on listeners", "node: {listeners: [{name: a, address: ':1', serve: udp, plugins: [{name: strict, config: {key: k}}]}, {name: b, address: ':2', plugins: [{name: strict, config: {key: k}}]}]}", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(versioned(tt.src), kinds, testOrigin{}.origin())
			if diff := cmp.Diff(tt.errs, errorLines(err)); diff != "" {
				t.Fatalf("errors (-want +got):\n%s", diff)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(tt.want, c.Plugins.All()[0].Protocols); diff != "" {
				t.Errorf("protocols (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPluginsOfStreamListeners(t *testing.T) {
	kinds := speakingKinds{testKinds: newKinds(), speaks: map[string][]Protocol{"echo": {HTTP}, "strict": {TCP, UDP}}}
	src := "node: {listeners: [{name: a, address: ':1', serve: tcp, plugins: [{name: echo}]}]}"
	_, err := Load(versioned(src), kinds, testOrigin{}.origin())
	want := []string{"2:74: node.listeners[0].plugins[0].name: plugin 'echo' cannot act on a listener that serves 'tcp' (expected one of: strict)"}
	if diff := cmp.Diff(want, errorLines(err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// errorLines returns what Load found, as line:column: error.
func errorLines(err error) (lines []string) {
	var errs *Errors
	if errors.As(err, &errs) {
		for _, e := range errs.List {
			lines = append(lines, fmt.Sprintf("%d:%d: %v", e.Line, e.Column, e))
		}
	}
	return lines
}
