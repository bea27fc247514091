package dns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func servers53(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.AddrPortFrom(netip.MustParseAddr(s), 53))
	}
	return out
}

func TestParseResolvConf(t *testing.T) {
	local := servers53("127.0.0.1")
	tests := []struct {
		name, text string
		want       resolvConf
	}{
		{"nothing", "", resolvConf{servers: local}},
		{"servers", "nameserver 10.0.0.1\nnameserver\t2001:db8::53 \n nameserver 10.0.0.2 # the third\n", resolvConf{servers: servers53("10.0.0.1", "2001:db8::53", "10.0.0.2")}},
		{"a zone", "nameserver fe80::1%eth0\n", resolvConf{servers: servers53("fe80::1%eth0")}},
		{"a mapped address", "nameserver ::ffff:10.0.0.1\n", resolvConf{servers: servers53("10.0.0.1")}},
		{"no addresses", "nameserver ns.test\nnameserver\nnameserver 10.0.0\n", resolvConf{servers: local}},
		{"too many servers", strings.Repeat("nameserver 10.0.0.1\n", maxServers+1), resolvConf{servers: servers53(strings.Fields(strings.Repeat("10.0.0.1 ", maxServers))...)}},
		{"comments", "# nameserver 10.0.0.1\n; nameserver 10.0.0.1\n", resolvConf{servers: local}},
		{"search", "search One.Test two. a..b . sh/op\n", resolvConf{servers: local, search: []string{"one.test", "two"}}},
		{"the last search counts", "search one two\ndomain three\n", resolvConf{servers: local, search: []string{"three"}}},
		{"options", "options ndots:5 timeout:3 attempts:4 rotate edns0\n", resolvConf{servers: local, ndots: new(5), timeout: new(3 * time.Second), attempts: new(4), rotate: true}},
		{"options beyond their bounds", "options ndots:99 timeout:99 attempts:99\n", resolvConf{servers: local, ndots: new(maxNdots), timeout: new(maxTimeout), attempts: new(maxAttempts)}},
		{"options below their bounds", "options ndots:0 timeout:0 attempts:0\n", resolvConf{servers: local, ndots: new(0), timeout: new(time.Second), attempts: new(1)}},
		{"options that are none", "options ndots:x timeout:-1 attempts: ndots\noptions\n", resolvConf{servers: local}},
		{"an option that is too great for a number", "options timeout:9223372036854775807 timeout:99999999999999999999\n", resolvConf{servers: local, timeout: new(maxTimeout)}},
		{"other words", "sortlist 10.0.0.0\nfamily inet4\nlookup file bind\r\n", resolvConf{servers: local}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parseResolvConf(tt.text)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(resolvConf{}), compareAddrs); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlan shows that settings outweigh resolv.conf, and it the defaults.
func TestPlan(t *testing.T) {
	conf := parseResolvConf("nameserver 10.0.0.1\nsearch one\noptions ndots:5 timeout:3 attempts:4 rotate\n")
	s := new(Settings)
	p := s.plan(conf)
	if p.servers.list[0] != servers53("10.0.0.1")[0] || p.ndots != 5 || p.timeout != 3*time.Second || p.attempts != 4 || !p.rotate || p.search[0] != "one" {
		t.Errorf("of resolv.conf: %+v", p)
	}
	s = &Settings{
		Servers: servers53("10.0.0.2"), Search: []string{"two"},
		Ndots: new(2), Timeout: new(time.Minute), Attempts: new(1), Rotate: new(false),
	}
	p = s.plan(conf)
	if p.servers.list[0] != servers53("10.0.0.2")[0] || p.ndots != 2 || p.timeout != time.Minute || p.attempts != 1 || p.rotate || p.search[0] != "two" {
		t.Errorf("of the settings: %+v", p)
	}
	p = new(Settings).plan(parseResolvConf(""))
	if p.ndots != defaultNdots || p.timeout != defaultTimeout || p.attempts != defaultAttempts || p.rotate || p.search != nil {
		t.Errorf("of nothing: %+v", p)
	}
}

func TestParseHosts(t *testing.T) {
	h := parseHosts("# a comment\n127.0.0.1 localhost\n10.0.0.1\tShop.Test. shop # shop2\n2001:db8::1 shop.test\n10.0.0.2 shop.test\n" +
		"::ffff:10.0.0.3 mapped\n10.0.0.4\nnot-an-address a\n10.0.0.5 sh/op . ok\n10.0.0.6 last")
	want := map[string]string{
		"localhost": "127.0.0.1", "shop.test": "10.0.0.1 2001:db8::1 10.0.0.2", "shop": "10.0.0.1",
		"mapped": "10.0.0.3", "ok": "10.0.0.5", "last": "10.0.0.6",
	}
	got := make(map[string]string)
	for name, list := range h {
		got[name] = strings.Trim(fmt.Sprint(list), "[]")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name  string
		order []Type
		want  string
	}{
		{"shop.test", []Type{Last, SRV, A, AAAA}, "[10.0.0.1 10.0.0.2]"},
		{"shop.test", []Type{Last, SRV, AAAA, A}, "[2001:db8::1]"},
		{"shop", []Type{AAAA}, "[10.0.0.1]"},
		{"nobody", []Type{A}, "[]"},
	} {
		if got := fmt.Sprint(h.find(tt.name, tt.order)); got != tt.want {
			t.Errorf("%s by %v is %s, want %s", tt.name, tt.order, got, tt.want)
		}
	}
}

func TestHostsBounds(t *testing.T) {
	var text strings.Builder
	for i := range maxHostsNames + 10 {
		fmt.Fprintf(&text, "10.0.0.1 h%d\n", i)
	}
	if n := len(parseHosts(text.String())); n != maxHostsNames {
		t.Errorf("%d names, want %d", n, maxHostsNames)
	}
	text.Reset()
	for i := range maxRecords + 10 {
		fmt.Fprintf(&text, "10.0.%d.%d shop\n", i/256, i%256)
	}
	if n := len(parseHosts(text.String())["shop"]); n != maxRecords {
		t.Errorf("%d addresses, want %d", n, maxRecords)
	}
}

// replace puts a file in place of another one, as editors do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// TestHostsFile shows that the hosts file comes before servers, and that it is
// followed.
func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	replace(t, path, "10.0.0.1 shop.test\n")
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}, "SRV web.test.": {"web.test. 60 IN SRV 1 1 80 shop.test."}}}
		r := start(t, settings(func(s *Settings) { s.Hosts = path }), s)
		if got := resolve(t, r, "Shop.Test."); got != "10.0.0.1" {
			t.Errorf("resolved to %q", got)
		}
		wantAsked(t, s)
		if got := resolve(t, r, "web.test"); got != "10.0.0.1:80(shop.test)" {
			t.Errorf("resolved to %q, the host of an SRV record", got)
		}
		s.took()
		follow := func(want string) {
			t.Helper()
			time.Sleep(watchInterval)
			resolve(t, r, "shop.test.")
			synctest.Wait()
			if got := resolve(t, r, "shop.test."); got != want {
				t.Errorf("resolved to %q, want %q", got, want)
			}
		}
		replace(t, path, "10.0.0.2 shop.test\n10.0.0.3 shop.test\n")
		follow("10.0.0.2 10.0.0.3")
		replace(t, path, strings.Repeat("#", maxFileBytes+1))
		follow("10.0.0.2 10.0.0.3") // too great to be read
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		follow("10.0.0.2 10.0.0.3") // what was read last counts
		wantAsked(t, s)
		replace(t, path, "# nothing\n")
		follow("192.0.2.1")
	})
}

// TestResolvConfFile shows that resolv.conf is followed.
func TestResolvConfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	replace(t, path, "nameserver 192.0.2.53\nsearch test\n")
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}, "A shop.test.@192.0.2.54:53": {"shop.test. 60 IN A 192.0.2.2"}}}
		r := start(t, settings(order(A), func(s *Settings) { s.Servers, s.ResolvConf = nil, path }), s)
		if got := resolve(t, r, "shop"); got != "192.0.2.1" {
			t.Errorf("resolved to %q", got)
		}
		replace(t, path, "nameserver 192.0.2.54\nsearch test\n")
		time.Sleep(time.Minute)
		resolve(t, r, "shop")
		synctest.Wait()
		if got := resolve(t, r, "shop"); got != "192.0.2.2" {
			t.Errorf("resolved to %q by the other server", got)
		}
	})
}
