package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// node loads a node of the given YAML.
func loadNode(t *testing.T, yaml string) (*Node, error) {
	t.Helper()
	c, err := Load([]byte("_format_version: '3.0'\nnode:\n"+yaml), nil, Origin{LookupEnv: func(name string) (string, bool) {
		return "from-the-vault", name == "CONSUL_TOKEN"
	}})
	if err != nil {
		return nil, err
	}
	return &c.Node, nil
}

func TestDiscovery(t *testing.T) {
	n, err := loadNode(t, `
  dns:
    servers: [10.0.0.53, '127.0.0.1:5353', '2001:db8::53', '[2001:db8::54]:54', '::ffff:10.0.0.1']
    zones: {Consul.: ['127.0.0.1:8600'], corp.example: [10.0.0.1]}
    search: [Corp.Example., other]
    order: [LAST, AAAA, A, A]
    timeout: 500ms
    rotate: true
  consul: {address: 'https://consul.test:8501/a', token: '{vault://env/consul-token}', wait: 30s}
`)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"servers":["10.0.0.53:53","127.0.0.1:5353","[2001:db8::53]:53","[2001:db8::54]:54","10.0.0.1:53"]`,
		`"zones":{"consul":["127.0.0.1:8600"],"corp.example":["10.0.0.1:53"]}`,
		`"search":["corp.example","other"]`, `"order":["LAST","AAAA","A"]`, `"timeout":"500ms"`, `"rotate":true`, `"ndots":null`,
		`"token":"{vault://env/consul-token}"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	if u := n.Consul.URL(); u == nil || u.Host != "consul.test:8501" || n.Consul.Token.Reveal() != "from-the-vault" || n.Consul.CAs() != nil {
		t.Errorf("the agent is %v with %v", u, n.Consul.CAs())
	}
}

func TestDiscoveryErrors(t *testing.T) {
	tests := []struct{ name, yaml, want string }{
		{"a name as server", "  dns: {servers: [ns.test]}", "node.dns.servers[0]: expected the address of a name server"},
		{"port 0", "  dns: {servers: ['10.0.0.1:0']}", "expected the address of a name server"},
		{"too many servers", "  dns: {servers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4, 1.1.1.5, 1.1.1.6, 1.1.1.7, 1.1.1.8, 1.1.1.9]}", "length must be at most 8"},
		{"a zone without servers", "  dns: {zones: {consul: []}}", "node.dns.zones.consul: length must be at least 1"},
		{"a zone twice", "  dns: {zones: {consul: [10.0.0.1], Consul.: [10.0.0.1]}}", "the zone is given twice"},
		{"an address as zone", "  dns: {zones: {10.0.0.1: [10.0.0.1]}}", "must not be an IP"},
		{"an address to search", "  dns: {search: [10.0.0.1]}", "node.dns.search[0]: must not be an IP"},
		{"a type that is not asked for", "  dns: {order: [A, MX]}", "expected one of: LAST, SRV, A, AAAA, CNAME"},
		{"LAST alone", "  dns: {order: [LAST]}", "'LAST' alone never finds a name"},
		{"no order", "  dns: {order: []}", "length must be at least 1"},
		{"bounds crossed", "  dns: {min_ttl: 1m, max_ttl: 30s}", "node.dns.max_ttl: value is less than 'min_ttl' (found \"30s\"; expected 1m or more)"},
		{"no patience", "  dns: {timeout: 1ms}", "value should be between 10ms and 30s"},
		{"an agent without a scheme", "  consul: {address: '127.0.0.1:8500'}", "node.consul.address"},
		{"an agent by another scheme", "  consul: {address: 'ftp://127.0.0.1'}", "expected the URL of a Consul agent"},
		{"an agent with a query", "  consul: {address: 'http://127.0.0.1:8500/?dc=a'}", "expected the URL of a Consul agent"},
		{"a token for nobody", "  consul: {token: secret}", "node.consul.token"},
		{"certificates without TLS", "  consul: {address: 'http://127.0.0.1:8500', ca_certificate: x}", "no value unless 'address' begins with https"},
		{"certificates that are none", "  consul: {address: 'https://127.0.0.1:8500', ca_certificate: x}", "node.consul.ca_certificate: invalid certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadNode(t, tt.yaml+"\n")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
