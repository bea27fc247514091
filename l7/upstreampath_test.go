package l7

import "testing"

// The whole table of strip_path and path_handling, each row for v0 and v1. A
// row with matched "" is a route without paths.
func TestUpstreamPath(t *testing.T) {
	const keep, strip = false, true
	tests := []struct {
		base, matched string
		strip         bool
		path          string
		v0, v1        string
	}{
		// The root as base.
		{"/", "/", keep, "/", "/", "/"},
		{"/", "/", keep, "/route/", "/route/", "/route/"},
		{"/", "/", strip, "/", "/", "/"},
		{"/", "/", strip, "/route", "/route", "/route"},
		{"/", "/", strip, "/route/", "/route/", "/route/"},
		{"/", "/", strip, "/route/req", "/route/req", "/route/req"},
		{"/", "/route", keep, "/route", "/route", "/route"},
		{"/", "/route", keep, "/routereq", "/routereq", "/routereq"},
		{"/", "/route", strip, "/route", "/", "/"},
		{"/", "/route", strip, "/route/", "/", "/"},
		{"/", "/route", strip, "/routereq", "/req", "/req"},
		{"/", "/route/", keep, "/route/req", "/route/req", "/route/req"},
		{"/", "/route/", strip, "/route/", "/", "/"},
		{"/", "/route/", strip, "/route/req", "/req", "/req"},
		{"/", "", keep, "/", "/", "/"},
		{"/", "", strip, "/", "/", "/"},
		{"/", "", keep, "/route", "/route", "/route"},
		{"/", "", strip, "/route/", "/route/", "/route/"},
		{"", "/route", strip, "/route/req", "/req", "/req"},
		{"", "", keep, "/route", "/route", "/route"},

		// A base without a final slash.
		{"/service", "/", keep, "/", "/service", "/service"},
		{"/service", "/", strip, "/", "/service", "/service"},
		{"/service", "/", keep, "/route", "/service/route", "/serviceroute"},
		{"/service", "/", strip, "/route", "/service/route", "/serviceroute"},
		{"/service", "/", keep, "/route/", "/service/route/", "/serviceroute/"},
		{"/service", "/", strip, "/route/", "/service/route/", "/serviceroute/"},
		{"/service", "/route", keep, "/route", "/service/route", "/serviceroute"},
		{"/service", "/route", keep, "/route/", "/service/route/", "/serviceroute/"},
		{"/service", "/route", keep, "/routereq", "/service/routereq", "/serviceroutereq"},
		{"/service", "/route", strip, "/route", "/service", "/service"},
		{"/service", "/route", strip, "/route/", "/service/", "/service/"},
		{"/service", "/route", strip, "/route/req", "/service/req", "/service/req"},
		{"/service", "/route", strip, "/routereq", "/service/req", "/servicereq"},
		{"/service", "/route/", keep, "/route/", "/service/route/", "/serviceroute/"},
		{"/service", "/route/", keep, "/route/req", "/service/route/req", "/serviceroute/req"},
		{"/service", "/route/", strip, "/route/", "/service/", "/service"},
		{"/service", "/route/", strip, "/route/req", "/service/req", "/servicereq"},
		{"/service", "", keep, "/", "/service", "/service"},
		{"/service", "", strip, "/", "/service", "/service"},
		{"/service", "", keep, "/route", "/service/route", "/serviceroute"},
		{"/service", "", strip, "/route", "/service/route", "/serviceroute"},
		{"/service", "", strip, "/route/", "/service/route/", "/serviceroute/"},

		// A base with a final slash.
		{"/service/", "/", keep, "/", "/service/", "/service/"},
		{"/service/", "/", strip, "/", "/service/", "/service/"},
		{"/service/", "/", keep, "/route", "/service/route", "/service/route"},
		{"/service/", "/", strip, "/route/", "/service/route/", "/service/route/"},
		{"/service/", "/route", keep, "/route", "/service/route", "/service/route"},
		{"/service/", "/route", keep, "/route/", "/service/route/", "/service/route/"},
		{"/service/", "/route", strip, "/route", "/service", "/service/"},
		{"/service/", "/route", strip, "/route/", "/service/", "/service/"},
		{"/service/", "/route", strip, "/routereq", "/service/req", "/service/req"},
		{"/service/", "/route", strip, "/route/req", "/service/req", "/service/req"},
		{"/service/", "/route/", keep, "/route/req", "/service/route/req", "/service/route/req"},
		{"/service/", "/route/", strip, "/route/", "/service/", "/service/"},
		{"/service/", "/route/", strip, "/route/req", "/service/req", "/service/req"},
		{"/service/", "", keep, "/", "/service/", "/service/"},
		{"/service/", "", strip, "/", "/service/", "/service/"},
		{"/service/", "", strip, "/route", "/service/route", "/service/route"},
		{"/service/", "", strip, "/route/", "/service/route/", "/service/route/"},

		// No dot segment comes out of stripping.
		{"/service", "/route", strip, "/route./req", "/service/req", "/servicereq"},
		{"/service", "/route", strip, "/route../req", "/service/req", "/servicereq"},
		{"/service/", "/route", strip, "/route../req", "/service/req", "/service/req"},
		{"/", "/route", strip, "/route../req", "/req", "/req"},
		{"/service", "/route", strip, "/route.", "/service", "/service"},
		{"/service", "/route", strip, "/route..", "/service", "/service"},
		{"/service/", "/route", strip, "/route..", "/service", "/service/"},
		{"/service", "/route", strip, "/route.../req", "/service/.../req", "/service.../req"},
		{"/service", "/route", keep, "/route../req", "/service/route../req", "/serviceroute../req"},

		// Escapes.
		{"/", "/a b", strip, "/a b/c d", "/c%20d", "/c%20d"},
		{"/s v", "", keep, "/a%2Fb", "/s%20v/a%2Fb", "/s%20va%2Fb"},
		{"/s v", "/a", strip, "/a", "/s%20v", "/s%20v"},
		{"/", "", keep, "*", "*", "*"},
	}
	for _, tt := range tests {
		for _, v := range []struct {
			name string
			v1   bool
			want string
		}{{"v0", false, tt.v0}, {"v1", true, tt.v1}} {
			if got := UpstreamPath(tt.base, tt.path, tt.matched, tt.strip, v.v1); got != v.want {
				t.Errorf("UpstreamPath(%q, %q, %q, strip %v, %s) = %q; want %q", tt.base, tt.path, tt.matched, tt.strip, v.name, got, v.want)
			}
		}
	}
}

func TestUpstreamPathDoesNotAllocate(t *testing.T) {
	tests := []struct {
		name, base, path, matched string
		strip                     bool
	}{
		{"kept", "/", "/api/users", "/api", false},
		{"kept without a base", "", "/api/users", "/api", false},
		{"stripped", "/", "/api/users", "/api", true},
		{"stripped to the root", "/", "/api/users", "/", true},
		{"stripped with its slash", "/", "/api/users", "/api/", true},
		{"stripped to the base", "/base", "/api", "/api", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, func() { _ = UpstreamPath(tt.base, tt.path, tt.matched, tt.strip, false) }); n != 0 {
				t.Errorf("UpstreamPath allocates %v times", n)
			}
		})
	}
}

func TestEscapePath(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"clean", "/!#$%&'()*+,/:;=?@[]AZaz09-_.~", "/!#$%&'()*+,/:;=?@[]AZaz09-_.~"},
		{"space", "/a b/c d", "/a%20b/c%20d"},
		{"utf-8", "/endeløst", "/endel%C3%B8st"},
		{"line break", "/a\r\nb", "/a%0D%0Ab"},
		{"backslash", `/a\b`, "/a%5Cb"},
		{"quotes and braces", "/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D"},
		{"invalid", "\xff", "%FF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := EscapePath(tt.in); got != tt.want {
				t.Errorf("EscapePath(%q) = %q; want %q", tt.in, got, tt.want)
			}
		})
	}
}
