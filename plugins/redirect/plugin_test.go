package redirect_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/redirect"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"no location", `{}`, `config.location: required field missing`},
		{"location without a host", `{location: /there}`, `missing host in url`},
		{"location without a scheme", `{location: //there.test/}`, `missing scheme in url`},
		{"location that is no URL", `{location: "http://[::1/"}`, `could not parse url`},
		{"location with a line end", `{location: "http://there.test/\r\nX: y"}`, `could not parse url`},
		{"status too small", `{location: "http://there.test", status_code: 101}`, `value should be between 200 and 599`},
		{"status too large", `{location: "http://there.test", status_code: 600}`, `value should be between 200 and 599`},
		{"type", `{location: "http://there.test", keep_incoming_path: 1}`, `config.keep_incoming_path: expected a boolean`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: redirect, config: "+tt.config+"}]", tt.want)
		})
	}
}

func TestLocation(t *testing.T) {
	tests := []struct{ name, location, path, query, want string }{
		{"path and query are replaced", "https://new.test/old?a=b", "/shop/1", "x=1&y", "https://new.test/shop/1?x=1&y"},
		{"no query", "https://new.test/old?a=b", "/shop", "", "https://new.test/shop"},
		{"port", "https://new.test:8443", "/", "", "https://new.test:8443/"},
		{"the scheme's own port", "https://new.test:443/", "/a", "", "https://new.test/a"},
		{"another scheme's port", "http://new.test:443/", "/a", "", "http://new.test:443/a"},
		{"empty port", "http://new.test:/", "/a", "", "http://new.test/a"},
		{"case", "HTTPS://New.Test/", "/A", "B", "https://new.test/A?B"},
		{"user", "http://me:secret@new.test/", "/a", "", "http://me:secret@new.test/a"},
		{"address", "http://[2001:DB8::1]:80/", "/a", "", "http://[2001:db8::1]/a"},
		{"fragment", "http://new.test/old#here%20now", "/a", "b", "http://new.test/a?b#here%20now"},
		{"slashes", "http://new.test", "//evil.test/", "", "http://new.test//evil.test/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			built, err := redirect.New(redirect.Config{StatusCode: 302, Location: tt.location, KeepIncomingPath: true}, plugins.Env{})
			if err != nil {
				t.Fatal(err)
			}
			target := tt.path
			if tt.query != "" {
				target += "?" + tt.query
			}
			got := testkit.NewRig(t, built).Serve("GET", target)
			if v, _ := got.Header.Get("Location"); got.Status != 302 || v != tt.want || got.Body != "redirecting" {
				t.Errorf("%d to %q with %q, want 302 to %q", got.Status, v, got.Body, tt.want)
			}
		})
	}
}
