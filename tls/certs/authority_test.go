package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func openAuthority(t *testing.T, dir string, names ...string) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func given(t *testing.T, a *Authority, name string) *tls.Certificate {
	t.Helper()
	c, err := a.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatalf("asking for %q: %v", name, err)
	}
	return c
}

func TestAuthorityNames(t *testing.T) {
	a := openAuthority(t, t.TempDir(), "localhost", "*.shop.test", "API.home.arpa")
	pool := x509.NewCertPool()
	pool.AddCert(a.Root())
	for _, tt := range []struct {
		name string
		want bool
	}{
		{"localhost", true},
		{"LOCALHOST", true},
		{"a.shop.test", true},
		{"a.b.shop.test", true},
		{"api.home.arpa", true},
		{"shop.test", false},
		{"other.test", false},
		{"", false},
		{"-.shop.test", false},
		{"a..shop.test", false},
		{"a b.shop.test", false},
		{strings.Repeat("a", 64) + ".shop.test", false},
		{strings.Repeat("a.", 130) + "shop.test", false},
	} {
		c := given(t, a, tt.name)
		if (c != nil) != tt.want {
			t.Errorf("%q: certificate %v, want one: %v", tt.name, c != nil, tt.want)
		}
		if c == nil {
			continue
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: tt.name}); err != nil {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
}

// TestAuthorityConstraints holds that the root is good for nothing but local
// names, whoever has its key.
func TestAuthorityConstraints(t *testing.T) {
	a := openAuthority(t, t.TempDir(), "localhost")
	pool := x509.NewCertPool()
	pool.AddCert(a.Root())
	forged, err := a.sign("www.example.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forged.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "www.example.com"}); err == nil {
		t.Error("a certificate of the local authority is good for www.example.com")
	}
	for _, name := range []string{"www.example.com", "*.com", "*", "localhost.example", "nottest"} {
		if _, err := OpenAuthority(t.TempDir(), []string{name}); err == nil {
			t.Errorf("the authority was opened for %q", name)
		}
	}
}

func TestAuthorityStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var opened [8]*Authority
	var wg sync.WaitGroup
	for i := range opened {
		wg.Go(func() { opened[i], _ = OpenAuthority(dir, []string{"localhost"}) })
	}
	wg.Wait()
	for _, a := range opened {
		if a == nil || !a.Root().Equal(opened[0].Root()) {
			t.Fatal("not all have the same root")
		}
	}
	if again := openAuthority(t, dir, "*.test"); !again.Root().Equal(opened[0].Root()) {
		t.Error("the root is another after the folder was opened again")
	}
	for name, mode := range map[string]os.FileMode{rootFile: 0o644, keyFile: 0o600, ".": 0o700} {
		f, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if f.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, f.Mode().Perm(), mode)
		}
	}
}

func TestAuthorityDamaged(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(dir string) error
	}{
		{"no key", func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) }},
		{"an empty key", func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), nil, 0o600) }},
		{"an empty root", func(dir string) error { return os.WriteFile(RootPath(dir), nil, 0o600) }},
		{"the key of another", func(dir string) error {
			other := filepath.Join(dir, "other")
			if _, err := OpenAuthority(other, nil); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, keyFile), filepath.Join(dir, keyFile))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			openAuthority(t, dir)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(RootPath(dir))
			if err != nil {
				t.Fatal(err)
			}
			_, err = OpenAuthority(dir, nil)
			if err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("error %v, want one that names the folder and shows no key", err)
			}
			after, err := os.ReadFile(RootPath(dir))
			if err != nil || string(after) != string(before) {
				t.Error("the root was not left alone")
			}
		})
	}
	t.Run("a key alone", func(t *testing.T) { // as after a crash between both
		dir := t.TempDir()
		openAuthority(t, dir)
		if err := os.Remove(RootPath(dir)); err != nil {
			t.Fatal(err)
		}
		openAuthority(t, dir)
	})
}

func TestAuthorityKeepsLeaves(t *testing.T) {
	a := openAuthority(t, t.TempDir(), "*.test")
	now := time.Now()
	a.now = func() time.Time { return now }
	first := given(t, a, "a.test")
	if given(t, a, "A.test") != first {
		t.Error("a second client got another certificate")
	}
	now = now.Add(leafLife - leafLife/3)
	renewed := given(t, a, "a.test")
	if renewed == first || !renewed.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("a certificate of which a third of its life is left was not made anew")
	}
	for i := range maxLeaves + 10 {
		given(t, a, "n"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+strings.Repeat("y", i/50)+".test")
	}
	if n := len(a.leaves); n > maxLeaves {
		t.Errorf("%d certificates are kept, want at most %d", n, maxLeaves)
	}
	if n := len(a.Describe(Describe)); n != len(a.leaves) {
		t.Errorf("%d certificates are told of, want %d", n, len(a.leaves))
	}
}
