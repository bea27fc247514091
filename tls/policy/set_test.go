package policy

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

func TestPatterns(t *testing.T) {
	var p, all Patterns[string]
	for _, s := range []string{"a.test", "*.test", "*.eu.test", "mail.*", "mail.eu.*"} {
		p.Set(s, s)
	}
	all.Set("*", "*")
	for _, tt := range []struct {
		patterns   *Patterns[string]
		name, want string
	}{
		{&p, "a.test", "a.test"},
		{&p, "b.test", "*.test"},
		{&p, "b.c.test", "*.test"},
		{&p, "b.eu.test", "*.eu.test"},
		{&p, "test", ""},
		{&p, "mail.org", "mail.*"},
		{&p, "mail.eu.org", "mail.eu.*"},
		{&p, "mail.test", "*.test"},
		{&p, "xmail.org", ""},
		{&p, "", ""},
		{&all, "anything", "*"},
		{&all, "", "*"},
	} {
		if got, ok := tt.patterns.Find(tt.name); got != tt.want || ok != (tt.want != "") {
			t.Errorf("of %q %q is said (%v), want %q", tt.name, got, ok, tt.want)
		}
	}
}

// TestPolicies shows what handshakes come to under each policy.
func TestPolicies(t *testing.T) {
	s := newSet(t, nil,
		like("named", func(p *Policy) { p.MinVersion, p.SNIs = tls.VersionTLS13, []string{"new.test", "*.new.test"} }),
		like("old", func(p *Policy) {
			p.MaxVersion, p.SNIs = tls.VersionTLS12, []string{"old.test"}
			p.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
			p.Curves = []tls.CurveID{tls.CurveP384}
		}),
	)
	const old, recent = tls.VersionTLS12, tls.VersionTLS13
	for _, tt := range []struct {
		name, sni string
		client    *tls.Config
		version   uint16
		suite     uint16
		curve     tls.CurveID
	}{
		{"the default", "a.test", &tls.Config{}, recent, 0, tls.X25519MLKEM768},
		{"no name", "", &tls.Config{}, recent, 0, tls.X25519MLKEM768},
		{"without ML-KEM", "a.test", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, recent, 0, tls.X25519},
		{"TLS 1.2", "a.test", &tls.Config{MaxVersion: old}, old, 0, tls.X25519},
		{"TLS 1.2 with CBC", "a.test", &tls.Config{MaxVersion: old, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, 0, 0, 0},
		{"TLS 1.1", "a.test", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, 0, 0, 0},
		{"TLS 1.3 only", "new.test", &tls.Config{}, recent, 0, tls.X25519MLKEM768},
		{"TLS 1.3 only, in capitals", "NEW.test", &tls.Config{MaxVersion: old}, 0, 0, 0},
		{"TLS 1.3 only, by a pattern", "a.new.test", &tls.Config{MaxVersion: old}, 0, 0, 0},
		{"TLS 1.2 only", "old.test", &tls.Config{}, old, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.CurveP384},
		{"TLS 1.2 only, another suite", "old.test", &tls.Config{MaxVersion: old, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, 0, 0, 0},
		{"no common key exchange", "old.test", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.client
			cfg.ServerName = tt.sni
			r := shake(t, s, cfg)
			if tt.version == 0 {
				if r.clientErr == nil || r.serverErr == nil {
					t.Fatalf("the handshake came to %s", tls.VersionName(r.server.Version))
				}
				return
			}
			r.must(t)
			if r.server.Version != tt.version || r.server.CurveID != tt.curve || tt.suite != 0 && r.server.CipherSuite != tt.suite {
				t.Errorf("the handshake came to %s with %s and %s", tls.VersionName(r.server.Version), r.server.CurveID, tls.CipherSuiteName(r.server.CipherSuite))
			}
		})
	}
}

func TestALPN(t *testing.T) {
	offer := &tls.Config{ServerName: "a.test", NextProtos: []string{"http/1.1", "h2"}}
	if got := shake(t, newSet(t, nil), offer).must(t).server.NegotiatedProtocol; got != "h2" {
		t.Errorf("HTTPS speaks %q, want h2", got)
	}
	streams := newSet(t, func(o *Options) { o.Protocols = false })
	if got := shake(t, streams, offer).must(t).server.NegotiatedProtocol; got != "" {
		t.Errorf("a stream speaks %q, want nothing that is agreed upon", got)
	}
	if r := shake(t, newSet(t, nil), &tls.Config{ServerName: "a.test", NextProtos: []string{"h3"}}); r.clientErr == nil {
		t.Error("a client was served that speaks only what is not served")
	}
}

// TestEveryNameIsKnown shows that what the configuration takes as a suite or key
// exchange is one, since Compile takes no other.
func TestEveryNameIsKnown(t *testing.T) {
	for _, p := range Builtin() {
		if len(p.CipherSuites) != len(intermediate) || p.Curves[0] != tls.X25519MLKEM768 || !slices.Equal(p.Protocols, []string{"h2", "http/1.1"}) {
			t.Errorf("%s is %+v", p.Name, p)
		}
	}
	all := config.TLSPolicy{
		Curves: []string{"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "P-256", "P-384", "P-521"},
		Ciphers: strings.Fields(`
			TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
			TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
			TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
			TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
			TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA`),
	}
	c := Compile(&all, nil)
	if len(c.Curves) != 7 || len(c.CipherSuites) != 10 {
		t.Errorf("compiled to %d key exchanges and %d suites", len(c.Curves), len(c.CipherSuites))
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"an unknown policy", Options{Policies: Builtin(), Default: "x"}, `there is no TLS policy "x"`},
		{
			"a policy that requires what nobody verifies",
			Options{Policies: []*Policy{like("p", func(p *Policy) { p.ClientAuth = &ClientAuth{Mode: Require} })}, Default: "p"},
			"nobody would verify it",
		},
		{
			"a name for which nobody verifies",
			Options{Policies: Builtin(), Default: "modern", ClientAuth: map[string]*ClientAuth{"a.test": {Mode: Require}}},
			`what is asked of clients of "a.test": a certificate is required, and nobody would verify it`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestKey shows that whatever decides who is let in, or what is asked, makes
// another key.
func TestKey(t *testing.T) {
	r := revocation(t)
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	cas := []*x509.Certificate{ca.Cert}
	keys := make(map[string]string)
	for name, a := range map[string]*ClientAuth{
		"request":         {Mode: Request, CAs: cas},
		"with names":      {Mode: Request, CAs: cas, SendCADN: true},
		"nobody's":        {Mode: Request},
		"another's":       {Mode: Request, CAs: []*x509.Certificate{other.Cert}},
		"both":            {Mode: Request, CAs: []*x509.Certificate{ca.Cert, other.Cert}},
		"other terms":     {Mode: Request, CAs: cas, Terms: "x"},
		"require":         requiring(t, r, ca, nil),
		"require another": requiring(t, r, other, nil),
	} {
		k := a.Key()
		if first, taken := keys[k]; taken || k == "" {
			t.Errorf("%q has the key of %q", name, first)
		}
		keys[k] = name
	}
	if k := (&ClientAuth{Mode: Off, Terms: "x"}).Key() + (*ClientAuth)(nil).Key(); k != "" {
		t.Errorf("who asks for nothing has the key %q", k)
	}
}

// TestChoice shows what is asked of clients of a name when a policy and others
// ask.
func TestChoice(t *testing.T) {
	r := revocation(t)
	ca, other := pki.NewCA(t, "CA"), pki.NewCA(t, "other")
	plugin := &ClientAuth{Mode: Request, CAs: []*x509.Certificate{other.Cert}, SendCADN: true}
	s := newSet(t, func(o *Options) {
		o.ClientAuth = map[string]*ClientAuth{"plugin.test": plugin, "*.both.test": plugin, "off.test": {}}
	}, like("strict", func(p *Policy) {
		p.SNIs = []string{"policy.test", "*.both.test"}
		p.ClientAuth = requiring(t, r, ca, nil)
	}))
	type choice struct {
		Policy string
		Mode   Mode
		Names  int // of authorities that are told
	}
	of := x509.NewCertPool()
	of.AddCert(other.Cert)
	told := func(p *x509.CertPool) int {
		switch {
		case p.Equal(x509.NewCertPool()):
			return 0
		case p.Equal(of):
			return 1
		}
		return -1
	}
	got := make(map[string]choice)
	for _, name := range []string{"", "none.test", "off.test", "plugin.test", "policy.test", "a.both.test"} {
		e := s.choose(name)
		got[name] = choice{e.policy, e.auth.mode(), told(e.config.ClientCAs)}
		if (s.ClientAuthKey(name) == "") != (e.auth.mode() == Off) || s.PolicyName(name) != e.policy {
			t.Errorf("%q has the key %q and the policy %q", name, s.ClientAuthKey(name), s.PolicyName(name))
		}
	}
	want := map[string]choice{
		"": {"intermediate", Off, 0}, "none.test": {"intermediate", Off, 0}, "off.test": {"intermediate", Off, 0},
		"plugin.test": {"intermediate", Request, 1},
		"policy.test": {"strict", Require, 0},
		"a.both.test": {"strict", Require, 0}, // the policy tells no names, and those of the plugin alone would mislead
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is chosen (-want +got):\n%s", diff)
	}
	if !s.Guards() || newSet(t, nil).Guards() {
		t.Error("it is not known which sets treat names alike")
	}
	if s.ClientAuthKey("policy.test") == s.ClientAuthKey("a.both.test") {
		t.Error("who is asked by two has the key of one")
	}
}

// TestNoAllocation holds that choosing among names costs a handshake no memory.
func TestNoAllocation(t *testing.T) {
	s := newSet(t, nil, like("named", func(p *Policy) { p.SNIs = []string{"*.new.test"} }))
	hello := &tls.ClientHelloInfo{ServerName: "a.new.test"}
	if n := testing.AllocsPerRun(100, func() {
		cfg, _ := s.Server(time.Second)
		if _, err := cfg.GetConfigForClient(hello); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // what is known of the client
		t.Errorf("%v allocations, want 1", n)
	}
}
