package iprestriction_test

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/iprestriction"
)

// database writes a database in which networks have records.
func database(t *testing.T, records map[string]mmdbtype.Map) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range records {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "test.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return path
}

func list(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newEnv() plugins.Env {
	return plugins.Env{State: new(plugins.State), Log: slog.New(slog.DiscardHandler)}
}

// build returns an instance whose end is that of the test.
func build(t *testing.T, cfg iprestriction.Config) *iprestriction.Plugin {
	t.Helper()
	built, err := iprestriction.New(cfg, newEnv())
	if err != nil {
		t.Fatal(err)
	}
	p := built.(*iprestriction.Plugin)
	t.Cleanup(func() { p.Close() })
	return p
}

func TestLists(t *testing.T) {
	country := func(code string) mmdbtype.Map {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
	}
	countries := database(t, map[string]mmdbtype.Map{
		"192.0.2.0/25": country("DE"), "192.0.2.128/25": country("FR"), "2001:db8::/33": country("DE"),
		"198.51.100.0/24": {"country": mmdbtype.String("another make")},
	})
	asns := database(t, map[string]mmdbtype.Map{
		"192.0.2.0/26":  {"autonomous_system_number": mmdbtype.Uint32(64496)},
		"192.0.2.64/26": {"autonomous_system_number": mmdbtype.Uint32(64497)},
	})
	addresses := list(t, "# offices\n192.0.2.7\n\n198.51.100.0/24 # and the lab\r\n2001:db8:8000::/33\n")
	tests := []struct {
		name string
		cfg  iprestriction.Config
		want string // the addresses of all that are let through
	}{
		{"allowed by a file", iprestriction.Config{AllowFiles: []string{addresses}}, "192.0.2.7 198.51.100.1 2001:db8:ffff::1"},
		{"denied by a file", iprestriction.Config{DenyFiles: []string{addresses}}, "192.0.2.1 192.0.2.70 192.0.2.200 203.0.113.1 2001:db8::1"},
		{"allowed by country", iprestriction.Config{AllowCountries: []string{"DE"}, CountryDatabase: countries}, "192.0.2.1 192.0.2.7 192.0.2.70 2001:db8::1"},
		{"denied by country", iprestriction.Config{DenyCountries: []string{"DE", "FR"}, CountryDatabase: countries}, "198.51.100.1 203.0.113.1 2001:db8:ffff::1"},
		{"allowed by autonomous system", iprestriction.Config{AllowASNs: []int{64496}, ASNDatabase: asns}, "192.0.2.1 192.0.2.7"},
		{"denied by autonomous system", iprestriction.Config{DenyASNs: []int{64497}, ASNDatabase: asns}, "192.0.2.1 192.0.2.7 192.0.2.200 198.51.100.1 203.0.113.1 2001:db8::1 2001:db8:ffff::1"},
		{
			"a country, or a file, but not one address",
			iprestriction.Config{AllowCountries: []string{"FR"}, CountryDatabase: countries, AllowFiles: []string{addresses}, Deny: []schema.Prefix{schema.PrefixOf(netip.MustParsePrefix("192.0.2.7/32"))}},
			"192.0.2.200 198.51.100.1 2001:db8:ffff::1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, tt.cfg)
			var passed []string
			for _, a := range []string{"192.0.2.1", "192.0.2.7", "192.0.2.70", "192.0.2.200", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2001:db8:ffff::1"} {
				info := l4.NewInfo("web", netip.AddrPortFrom(netip.MustParseAddr(a), 4711), netip.MustParseAddrPort("192.0.2.1:80"))
				refused := p.Conn(&info)
				if p.Session(&l4.Session{Info: &info}) != refused {
					t.Errorf("%s: a stream is judged otherwise than a connection", a)
				}
				if !refused {
					passed = append(passed, a)
				}
			}
			if got := strings.Join(passed, " "); got != tt.want {
				t.Errorf("let through %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBadFiles(t *testing.T) {
	asns := database(t, map[string]mmdbtype.Map{"192.0.2.0/24": {"autonomous_system_number": mmdbtype.Uint32(64496)}})
	flat := database(t, map[string]mmdbtype.Map{"192.0.2.0/24": {"country": mmdbtype.String("DE")}})
	tests := []struct {
		name string
		cfg  iprestriction.Config
		want string
	}{
		{"no list", iprestriction.Config{AllowFiles: []string{"/none/at/all"}}, "no such file"},
		{"a line that is no address", iprestriction.Config{DenyFiles: []string{list(t, "192.0.2.1\nexample.com\n")}}, `line 2: "example.com"`},
		{"a database that is none", iprestriction.Config{DenyCountries: []string{"DE"}, CountryDatabase: list(t, "GeoIP")}, "country database"},
		{"a database of something else", iprestriction.Config{DenyCountries: []string{"DE"}, CountryDatabase: asns}, "does not tell"},
		{"a database of another make", iprestriction.Config{DenyCountries: []string{"DE"}, CountryDatabase: flat}, "does not tell"},
		{"a database of nothing", iprestriction.Config{DenyASNs: []int{64496}, ASNDatabase: database(t, nil)}, "does not tell"},
		{"the second one", iprestriction.Config{Allow: []schema.Prefix{schema.PrefixOf(netip.MustParsePrefix("::/0"))}, DenyASNs: []int{1}, ASNDatabase: "/none"}, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := iprestriction.New(tt.cfg, newEnv()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
