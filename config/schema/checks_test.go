package schema

import (
	"fmt"
	"testing"
	"time"
)

func TestChecks(t *testing.T) {
	tests := []struct{ check, value, want string }{
		{"name", "a.-_~9", ""},
		{"name", "ä", "invalid value 'ä': it must only contain alphanumeric and '., -, _, ~' characters"},
		{"utf8_name", "läden", ""},
		{"utf8_name", "a b", "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"},
		{"utf8_name", "\xff", "invalid utf-8 character sequence"},
		{"tag", "a b:c ü", ""},
		{"tag", "a,b", "invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
		{"tag", "a\x7f", "invalid tag 'a\x7f': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"},
		{"method", "GET", ""},
		{"method", "Get", "invalid value: Get"},
		{"header_name", "X-a_1", ""},
		{"header_name", "a:", "bad header name 'a:', allowed characters are A-Z, a-z, 0-9, '_', and '-'"},
		{"route_header", "hOsT", "cannot contain 'host' header, which must be specified in the 'hosts' attribute"},
		{"path", "/", ""},
		{"path", "/a%2F:@!$&'()*+,;=~", ""},
		{"path", "a", "should start with: /"},
		{"path", "/a//", "must not have empty segments"},
		{"path", "/ä", "invalid path: '/ä' (characters outside of the reserved list of RFC 3986 found)"},
		{"path", "/a%2", "invalid url-encoded value: '%2'"},
		{"route_path", "/", ""},
		{"route_path", "/a b", ""},
		{"route_path", "/a%20b", "non-normalized path, consider use '/a b' instead"},
		{"route_path", "/a%2f", "non-normalized path, consider use '/a%2F' instead"},
		{"route_path", "/a/.", "non-normalized path, consider use '/a/' instead"},
		{"route_path", "~/a(?<n>b)$", ""},
		{"route_path", "~a", "should start with: / (fixed path) or ~/ (regex path)"},
		{"route_path", "~/a//", "must not have empty segments"},
		{"host", "a_b.example.", ""},
		{"host", "::1", ""},
		{"host", "[::1]", ""},
		{"host", "1.2.3.4", ""},
		{"host", "a:80", "must not have a port"},
		{"host", "[::1]:80", "must not have a port"},
		{"host", "a:999999", "must not have a port"},
		{"host", "1.2.3", "invalid value: 1.2.3"},
		{"host", "a..b", "invalid value: a..b"},
		{"host", "a-.b", "invalid value: a-.b"},
		{"host", ".", "invalid value: ."},
		{"host_port", "a:80", ""},
		{"host_port", "a:80000", "invalid port number"},
		{"host_port", "1.2.3.256", "invalid ipv4 address: 1.2.3.256"},
		{"host_port", "1.2.3.4:x", "invalid hostname: 1.2.3.4:x"},
		{"host_port", "[::1", "invalid ipv6 address: [::1"},
		{"host_port", "fe80::1%eth0", "invalid ipv6 address: fe80::1%eth0"},
		{"host_port", "a:b", "invalid hostname: a:b"},
		{"sni", "a.example", ""},
		{"sni", "::1", "must not be an IP"},
		{"sni", "a:1", "must not have a port"},
		{"sni", "a b", "invalid value: a b"},
		{"wildcard_host", "*.a", ""},
		{"wildcard_host", "a.*", ""},
		{"wildcard_host", "*", ""},
		{"wildcard_host", "a.*.b", "wildcard must be leftmost or rightmost character"},
		{"wildcard_host", "*.*", "only one wildcard must be specified"},
		{"wildcard_host", "*.a b", "invalid value: *.a b"},
		{"wildcard_host", "*.a:1", "must not have a port"},
		{"route_host", "*.a:80", ""},
		{"route_host", "a.*", ""},
		{"route_host", "a*.b", "invalid wildcard: must be placed at leftmost or rightmost label"},
		{"route_host", "*.a.*", "invalid wildcard: must have at most one wildcard"},
		{"route_host", "*.a b", "invalid hostname: *.a b"},
		{"upstream_name", "a.b", ""},
		{"upstream_name", "a:1", "Invalid name ('a:1'); no port allowed"},
		{"target", "[::1]:1", ""},
		{"target", "a/b", "Invalid target ('a/b'); not a valid hostname or ip address"},
		{"url", "http://a/b?c", ""},
		{"url", "a", "missing host in url"},
		{"url", "//a", "missing scheme in url"},
		{"url", "http://a b", `could not parse url. "http://a b": invalid character " " in host name`},
		{"header_value", "~*a+", ""},
		{"field_value", "a b\tc", ""},
		{"field_value", "a\r\nX: b", `invalid header value "a\r\nX: b"`},
		{"field_value", " a", `invalid header value " a"`},
		{"field_value", "\x7f", `invalid header value "\x7f"`},
	}
	for _, tt := range tests {
		t.Run(tt.check+" "+tt.value, func(t *testing.T) {
			got := ""
			if p := namedCheck(tt.check)(tt.value); p != nil {
				got = p.Reason
			}
			if got != tt.want {
				t.Errorf("reason is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNormalPath(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a/", "//a///b": "/a/b", "/a/./b": "/a/b", "/a/../b": "/b", "/..": "/", "/../a": "/a",
		"/a/..": "/", "/a/b/..": "/a/", "/a/.": "/a/", "/%41%2f%7E": "/A%2F~", "/%2e%2E/a": "/a", "/a..b": "/a..b", "/.a": "/.a", "/%zz": "/%zz",
	} {
		if got := NormalPath(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a:1": "a:1", "001.2.3.4:08": "1.2.3.4:8", "::1": "[0000:0000:0000:0000:0000:0000:0000:0001]",
		"[2001:DB8::1]:443": "[2001:0db8:0000:0000:0000:0000:0000:0001]:443",
	} {
		h, p := ParseHost(in)
		if p != nil || h.String() != want {
			t.Errorf("%q became %q, %v, want %q", in, h.String(), p, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"name", "retries", "connect_timeout", "host"}
	for in, want := range map[string]string{
		"nmae": "name", "retrys": "retries", "connect-timeout": "connect_timeout", "ConnectTimeout": "connect_timeout",
		"hosts": "host", "zzz": "", "": "", "name": "",
	} {
		if got := Nearest(in, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", in, got, want)
		}
	}
}

func TestDurationAndSize(t *testing.T) {
	for in, want := range map[string]string{"30s": "30s", "1m0s": "1m", "90m": "1h30m", "2h": "2h", "1500ms": "1.5s", "-1s": "", "1": "", "1d": "", "0": "0s"} {
		var d Duration
		err := d.UnmarshalText([]byte(in))
		if (err == nil) != (want != "") || err == nil && d.String() != want {
			t.Errorf("%q became %v, %v", in, d, err)
		}
	}
	for in, want := range map[string]Size{"0": 0, "5": 5, "5B": 5, "1KiB": 1024, "2MB": 2e6, "3GiB": 3 << 30, "1KB": 1000, "": -1, "KiB": -1, "-1": -1, "1.5KiB": -1, "9999999999GiB": -1, "1 KiB": -1, "1kib": -1} {
		s := Size(-1)
		err := s.UnmarshalText([]byte(in))
		if (err == nil) != (want >= 0) || s != want {
			t.Errorf("%q became %d, %v", in, s, err)
		}
	}
	if got := fmt.Sprint(Size(0), Size(1024), Size(1000), Size(1<<20), Size(3<<30)); got != "0 1KiB 1000 1MiB 3GiB" {
		t.Errorf("sizes are printed as %s", got)
	}
	if Milliseconds(1500).Duration() != 1500*time.Millisecond || Seconds(0.25).Duration() != 250*time.Millisecond {
		t.Error("milliseconds or seconds are converted wrongly")
	}
}

func TestPrefix(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", "10.1.2.3/8": "10.0.0.0/8", "::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
		"2001:db8::1/32": "2001:db8::/32", "fe80::1%eth0": "", "::ffff:10.0.0.0/8": "", "10.0.0.0/33": "", "a": "", "": "",
	} {
		var p Prefix
		err := p.UnmarshalText([]byte(in))
		if (err == nil) != (want != "") || err == nil && (p.Prefix.String() != want || p.String() != in) {
			t.Errorf("%q became %v, %v", in, p.Prefix, err)
		}
		if err == nil && PrefixOf(p.Prefix).Prefix != p.Prefix {
			t.Errorf("%q is not the same after PrefixOf", in)
		}
	}
}

func TestHex(t *testing.T) {
	for in, want := range map[string]string{
		"00": "\x00", "0D0a": "\r\n", " be ef  0100 ": "\xbe\xef\x01\x00", "\tff\n": "\xff",
		"": "", " ": "", "0": "", "0 0": "", "0x00": "", "ping": "", "00 0": "", "00-00": "",
	} {
		var h Hex
		err := h.UnmarshalText([]byte(in))
		if (err == nil) != (want != "") || string(h) != want {
			t.Errorf("%q became %q, %v", in, string(h), err)
		}
		if text, _ := h.MarshalText(); err == nil {
			var again Hex
			if err := again.UnmarshalText(text); err != nil || again != h {
				t.Errorf("%q is written as %q, which becomes %q, %v", in, text, string(again), err)
			}
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := NewSecret("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "***" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := fmt.Sprintf("%v %+v", struct{ S Secret }{s}, []Secret{s, {}}); got != "{***} [*** ]" {
		t.Errorf("nested it is %s", got)
	}
	if s.Reveal() != "hunter2" || s.Empty() || !(Secret{}).Empty() {
		t.Error("the secret is lost")
	}
}

// The vectors are those of RFC 9562, appendix A.4, and of Kong's tests.
func TestNameID(t *testing.T) {
	dns, err := ParseID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	if err != nil {
		t.Fatal(err)
	}
	if got := NameID(dns, "www.example.com").String(); got != "2ed6657d-e927-568b-95e1-2665a8aea6a2" {
		t.Errorf("id is %s", got)
	}
	kong, err := ParseID("FD02801F-0957-4A15-A55A-C8D9606F30B5")
	if err != nil {
		t.Fatal(err)
	}
	if got := NameID(NameID(kong, "services"), "my-service").String(); got != "0855b320-0dd2-547d-891d-601e9b38647f" {
		t.Errorf("id is %s", got)
	}
	for _, s := range []string{"", "0855b320-0dd2-547d-891d-601e9b38647", "0855b320+0dd2-547d-891d-601e9b38647f", "0855b320-0dd2-547d-891d-601e9b38647g"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
