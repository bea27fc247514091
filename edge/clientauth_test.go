package edge

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
)

func TestServerNames(t *testing.T) {
	tests := []struct {
		name  string
		route config.Route
		want  []string
	}{
		{"neither", config.Route{}, []string{"*"}},
		{"hosts", config.Route{Hosts: []string{"Shop.test", "*.shop.test:8443"}}, []string{"shop.test", "*.shop.test"}},
		{"snis go first", config.Route{SNIs: []string{"a.test"}, Hosts: []string{"b.test"}}, []string{"a.test"}},
		{"a wildcard at the end", config.Route{Hosts: []string{"a.test", "shop.*"}}, []string{"*"}},
		{"addresses", config.Route{Hosts: []string{"10.0.0.1:8443"}}, []string{"*"}},
		{"an address of IPv6", config.Route{Hosts: []string{"[2001:db8::1]:8443"}}, []string{"*"}},
		{"the dot of the root", config.Route{SNIs: []string{"a.test."}}, []string{"a.test"}},
		{"an expression", config.Route{Expression: `http.host == "a.test"`}, []string{"*"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, serverNames(&tt.route)); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBroader(t *testing.T) {
	var got []string
	for p := "a.b.test"; p != ""; p = broader(p) {
		got = append(got, p)
	}
	if s, want := strings.Join(got, " "), "a.b.test *.b.test *.test *"; s != want {
		t.Errorf("got %q, want %q", s, want)
	}
	if got := broader("*.b.test"); got != "*.test" {
		t.Errorf("broader than *.b.test is %q", got)
	}
}
