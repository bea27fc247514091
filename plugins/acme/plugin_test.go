package acme_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/acme"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

func terms(t *testing.T, cfg acme.Config) issuer.Terms {
	t.Helper()
	p, err := acme.New(cfg, plugins.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return p.(plugins.Orderer).Terms()
}

func TestTerms(t *testing.T) {
	cfg := acme.Config{
		Email: "ops@shop.test", API: "https://ca.test/dir", CertType: "rsa", RSABits: 2048, Renew: 14, Backoff: 5,
		Domains: []string{"shop.test", "*.many.test", "192.0.2.7"}, Chain: "Root", CommonName: true,
	}
	got := terms(t, cfg)
	want := issuer.Terms{
		Names: []string{"192.0.2.7"}, Demand: &issuer.Demand{Allow: []string{"shop.test", "*.many.test"}, PerMinute: 10, Most: 1000},
		Email: "ops@shop.test", CAs: []issuer.CA{{Directory: "https://ca.test/dir", Chain: "Root"}},
		Challenges: []issuer.Challenge{issuer.HTTP01, issuer.TLSALPN01}, Key: issuer.RSA2048, Window: 1.0 / 3,
		Before: 14 * 24 * time.Hour, ARI: true, CommonName: true, Timeout: 5 * time.Minute, Backoff: 5 * time.Minute, Steady: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the terms differ (-want +got):\n%s", diff)
	}
	cfg.CertType, cfg.Domains = "ecc", nil
	if got = terms(t, cfg); got.Key != issuer.P256 || got.Demand != nil {
		t.Errorf("got the key %q and %v", got.Key, got.Demand)
	}
}

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"no e-mail", `{tos_accepted: true}`, `account_email: required`},
		{"a wrong e-mail", `{account_email: nobody, tos_accepted: true}`, `account_email`},
		{"no terms", `{account_email: a@b.c}`, `terms of service must be accepted`},
		{"any domain", `{account_email: a@b.c, tos_accepted: true, allow_any_domain: true}`, `allow_any_domain: not served`},
		{"redis", `{account_email: a@b.c, tos_accepted: true, storage: redis}`, `expected kong or shm`},
		{"vault", `{account_email: a@b.c, tos_accepted: true, storage_config: {vault: {host: h}}}`, `storage_config.vault`},
		{"plain HTTP", `{account_email: a@b.c, tos_accepted: true, api_uri: 'http://ca.test/dir'}`, `begins with https`},
		{"half of an account", `{account_email: a@b.c, tos_accepted: true, eab_kid: k}`, `both of eab_kid and eab_hmac_key`},
		{"a key that is none", `{account_email: a@b.c, tos_accepted: true, eab_kid: k, eab_hmac_key: "!"}`, `no base64url`},
		{"a name that is none", `{account_email: a@b.c, tos_accepted: true, domains: ['a b']}`, `is no name or pattern`},
		{"a pattern that is none", `{account_email: a@b.c, tos_accepted: true, domains: ['a.*.test']}`, `is no name or pattern`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: acme, config: "+tt.config+"}]", tt.want)
		})
	}
}
