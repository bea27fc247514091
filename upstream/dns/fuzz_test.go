package dns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzResolvConf shows that any text comes to something within the bounds.
func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch one two\noptions ndots:5 timeout:3 attempts:4 rotate\n")
	f.Add("nameserver fe80::1%eth0 # x\n;\ndomain a.\noptions timeout:9223372036854775807\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text)
		p := new(Settings).plan(c)
		if n := len(c.servers); n == 0 || n > maxServers {
			t.Errorf("%d servers", n)
		}
		if p.ndots < 0 || p.ndots > maxNdots || p.attempts < 1 || p.attempts > maxAttempts || p.timeout <= 0 || p.timeout > maxTimeout {
			t.Errorf("ndots %d, attempts %d, timeout %v", p.ndots, p.attempts, p.timeout)
		}
		for _, name := range p.candidates("shop") {
			if !isDomain(name) {
				t.Errorf("asks for %q", name)
			}
		}
	})
}

// FuzzHosts shows that every name of a hosts file can be found by itself.
func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n2001:db8::1\tShop.Test. shop # comment\n")
	f.Add("::ffff:1.2.3.4 a\n1.2.3.4\n1.2.3.4 a..b .\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, list := range parseHosts(text) {
			if name == "" || strings.HasSuffix(name, ".") || !isDomain(canonical(name)) || name != strings.ToLower(name) {
				t.Errorf("the name %q", name)
			}
			if len(list) == 0 || len(list) > maxRecords {
				t.Errorf("%d addresses of %q", len(list), name)
			}
		}
	})
}

// FuzzAnswer shows that whatever a server sends is no answer or one within the
// bounds.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("shop.test.", dns.TypeSRV)
	q.Id = 7
	for _, list := range [][]string{
		{"shop.test. 60 IN SRV 1 0 80 a.test.", "shop.test. 60 IN SRV 0 9 81 b.test."},
		{"shop.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME shop.test."},
		{"SHOP.test. 60 IN CNAME b.test.", "b.test. 0 IN SRV 0 0 0 ."},
		nil,
	} {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Answer = rrs(list)
		m.Extra = rrs([]string{"a.test. 1 IN A 192.0.2.1", "b.test. 1 IN AAAA 2001:db8::1"})
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := answerTo(q, b)
		if m == nil {
			return
		}
		if m.Id != q.Id || !m.Response {
			t.Fatalf("no answer to the question: %v", m)
		}
		r := readReply(m, q.Question[0])
		if r.looping {
			return
		}
		if len(r.services) > maxRecords || len(r.addrs) > 0 {
			t.Errorf("%d services, %d addresses", len(r.services), len(r.addrs))
		}
		if found := len(r.services) > 0; found == r.nothing && r.alias == "" || r.noName && !r.nothing {
			t.Errorf("neither found nor nothing: %+v", r)
		}
		for _, s := range r.services {
			if s.weight < 1 || !isDomain(s.host) {
				t.Errorf("the service %+v", s)
			}
		}
		if r.alias != "" && !isDomain(r.alias) {
			t.Errorf("the alias %q", r.alias)
		}
	})
}
