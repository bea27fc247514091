package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestACME(t *testing.T) {
	n, err := loadNode(t, `
  acme:
    terms_accepted: true
    email: ops@example.com
    domains: [Shop.Example.com., '*.many.example.com', '::ffff:192.0.2.7', '2001:DB8::1']
    cas:
      - {directory: 'https://ca.example/dir', eab_kid: kid, eab_hmac_key: '{vault://env/consul-token}'}
      - {directory: 'http://127.0.0.1:14000/dir'}
    dns: {rfc2136: {server: ns.example.com, zone: Example.com., key_name: k, key: c2VjcmV0}, resolvers: [192.0.2.53]}
    on_demand: {allow: ['*.Demand.example.com'], ask: 'http://127.0.0.1:9000/may'}
    overrides: [{domains: [SHOP.example.com], key_type: rsa3072}, {domains: ['*.many.example.com'], challenges: [dns-01]}]
`)
	if err != nil {
		t.Fatal(err)
	}
	a := &n.ACME
	if diff := cmp.Diff([]string{"shop.example.com", "*.many.example.com", "192.0.2.7", "2001:db8::1"}, a.Domains); diff != "" {
		t.Errorf("the domains differ (-want +got):\n%s", diff)
	}
	if a.DNS.RFC2136.Server != "ns.example.com:53" || a.DNS.RFC2136.Zone != "example.com" || a.OnDemand.Allow[0] != "*.demand.example.com" {
		t.Errorf("got %+v and %q", a.DNS.RFC2136, a.OnDemand.Allow)
	}
	if o := a.Override("shop.example.com"); o == nil || *o.KeyType != "rsa3072" || a.Override("192.0.2.7") != nil {
		t.Errorf("the overrides are %+v", a.Overrides)
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "from-the-vault") || strings.Contains(string(b), "c2VjcmV0") {
		t.Errorf("a key is told: %s", b)
	}
	if n, err = loadNode(t, "  acme: {email: a@b.c}"); err != nil || n.ACME.On() {
		t.Errorf("without names: %v, on: %v", err, n.ACME.On())
	}
}

func TestACMEErrors(t *testing.T) {
	const on = "  acme: {terms_accepted: true, domains: [a.test], "
	tests := []struct{ name, yaml, want string }{
		{"no terms", "  acme: {domains: [a.test]}", "node.acme.terms_accepted: certificates are ordered only from authorities whose terms"},
		{"no terms on demand", "  acme: {on_demand: {allow: [a.test]}}", "node.acme.terms_accepted"},
		{"a name with a space", "  acme: {terms_accepted: true, domains: ['a b']}", "node.acme.domains[0]: 'a b' is no name that a certificate can be for"},
		{"a wildcard within", "  acme: {terms_accepted: true, domains: ['a.*.test']}", "is no name"},
		{"an address with a zone", "  acme: {terms_accepted: true, domains: ['fe80::1%lo']}", "is no name"},
		{"a name that is too long", "  acme: {terms_accepted: true, domains: ['" + strings.Repeat("a.", 130) + "test']}", "is no name"},
		{"a wildcard without dns-01", "  acme: {terms_accepted: true, domains: ['*.a.test']}", "node.acme.domains[0]: none of the challenges can prove control over '*.a.test'"},
		{"an address with dns-01 only", "  acme: {terms_accepted: true, domains: [192.0.2.7], challenges: [dns-01], dns: {exec: [/bin/true]}}", "expected http-01 or tls-alpn-01"},
		{"dns-01 without a way", on + "challenges: [dns-01]}", "node.acme.dns: the challenge dns-01 needs a way to set records"},
		{"two ways", on + "dns: {exec: [/bin/true], rfc2136: {server: a}}}", "node.acme.dns.exec: records are set in one way"},
		{"a hook by a relative path", on + "dns: {exec: [hook]}}", "expected an absolute path"},
		{"two places", on + "dns: {exec: [/bin/true], alias: a.test, cname_resolvers: [192.0.2.53]}}", "one of alias and cname_resolvers"},
		{"half of a key", on + "dns: {rfc2136: {server: a, key_name: k}}}", "both of key_name and key"},
		{"a key that is none", on + "dns: {rfc2136: {server: a, key_name: k, key: '!'}}}", "it is no base64"},
		{"a zone for nobody", on + "dns: {rfc2136: {zone: a.test}}}", "node.acme.dns.rfc2136.zone"},
		{"no authority", on + "cas: []}", "length must be at least 1"},
		{"an authority by plain HTTP", on + "cas: [{directory: 'http://ca.test/dir'}]}", "node.acme.cas[0].directory: expected the URL of an ACME directory"},
		{"half of an account", on + "cas: [{directory: 'https://ca.test', eab_kid: k}]}", "both of eab_kid and eab_hmac_key"},
		{"an account's key that is none", on + "cas: [{directory: 'https://ca.test', eab_kid: k, eab_hmac_key: '+'}]}", "it is no base64url"},
		{"certificates that are none", on + "cas: [{directory: 'https://ca.test', root_ca: x}]}", "node.acme.cas[0].root_ca: invalid certificate"},
		{"an override of nothing", on + "overrides: [{domains: [b.test]}]}", "node.acme.overrides[0].domains[0]: 'b.test' is none of the domains"},
		{"a storage that is not absolute", on + "storage: here}", "node.acme.storage: expected an absolute path"},
		{"a pattern that is none", "  acme: {terms_accepted: true, on_demand: {allow: ['*']}}", "node.acme.on_demand.allow[0]"},
		{"a question to nobody", "  acme: {terms_accepted: true, on_demand: {ask: 'ftp://a/b'}}", "node.acme.on_demand.ask"},
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
