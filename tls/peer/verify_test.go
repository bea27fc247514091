package peer

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// verifier returns a verifier of a Revocation of its own.
func verifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	r := NewRevocation(Settings{})
	t.Cleanup(r.Close)
	v, err := r.Verifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// reason returns why a chain was refused, "" if it was not.
func reason(t testing.TB, v *Verifier, chain []*x509.Certificate) string {
	t.Helper()
	id, err := v.Verify(context.Background(), chain)
	if err == nil {
		if id.Leaf != chain[0] || len(id.Chain) == 0 || !id.Chain[0].Equal(chain[0]) {
			t.Errorf("the identity is not of the chain: %+v", id)
		}
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("the error %v is no *Error", err)
	}
	if len(e.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(e.Error()))
	}
	return e.Reason.String()
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = c.NotBefore.Add(-48*time.Hour), time.Now().Add(-time.Minute)
}
func notYetValid(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
func forServers(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

func critical(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
}

func TestVerify(t *testing.T) {
	root, other := pki.NewCA(t, "Root"), pki.NewCA(t, "Other")
	middle := root.Intermediate("Middle")
	lower := middle.Intermediate("Lower")
	twin := pki.NewCA(t, "Root") // the same name, another key
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := pki.Sign(t, &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "weak"}, NotAfter: time.Now().Add(time.Hour)}, root.Cert, weakKey.Public(), root.Key)
	listed := func(list ...*x509.Certificate) Options { return Options{Roots: list} }
	rootOnly := listed(root.Cert)
	shown := func(leaf pki.Pair, more ...*x509.Certificate) []*x509.Certificate {
		return append([]*x509.Certificate{leaf.Cert}, more...)
	}

	// A loop: A has issued B and B has issued A, and no root has either.
	a, b := other.Intermediate("A"), other.Intermediate("B")
	aByB, bByA := b.Cross(a), a.Cross(b)

	many := shown(root.Client("many"))
	for range 100 {
		many = append(many, middle.Cert)
	}
	big16 := strings.Repeat("x", 16<<10)
	constrained := func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"corp.test"}, true
	}
	narrow := root.Intermediate("Narrow", constrained)
	dns := func(names ...string) pki.Change { return func(c *x509.Certificate) { c.DNSNames = names } }
	short := root.Intermediate("Short", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	noCA := root.Client("no CA")

	tests := []struct {
		name  string
		opts  Options
		chain []*x509.Certificate
		want  string
	}{
		{"issued by the root", rootOnly, root.Client("c").Chain(), ""},
		{"through an intermediate", rootOnly, middle.Client("c").Chain(), ""},
		{"through two", rootOnly, lower.Client("c").Chain(), ""},
		{"the root shown as well", rootOnly, append(middle.Client("c").Chain(), root.Cert), ""},
		{"intermediates in any order", rootOnly, shown(lower.Client("c"), middle.Cert, other.Cert, lower.Cert), ""},
		{"an intermediate that is listed, not shown", listed(root.Cert, middle.Cert), shown(middle.Client("c")), ""},
		{"no extended key usage", rootOnly, root.Client("c", func(c *x509.Certificate) { c.ExtKeyUsage = nil }).Chain(), ""},
		{"two roots of one name", listed(twin.Cert, root.Cert), root.Client("c").Chain(), ""},

		{"nothing shown", rootOnly, nil, "no_certificate"},
		{"an intermediate is missing", rootOnly, shown(lower.Client("c"), lower.Cert), "unknown_ca"},
		{"a listed intermediate is no end", listed(other.Cert, middle.Cert), shown(middle.Client("c")), "unknown_ca"},
		{"but of partial chains", Options{Roots: []*x509.Certificate{middle.Cert}, AllowPartialChain: true}, shown(middle.Client("c")), ""},
		{"another CA", rootOnly, other.Client("c").Chain(), "unknown_ca"},
		{"another CA, shown", rootOnly, shown(other.Client("c"), other.Cert), "unknown_ca"},
		{"another CA of the same name", rootOnly, twin.Client("c").Chain(), "bad_signature"},
		{"self-signed", rootOnly, pki.SelfSigned(t, "c").Chain(), "self_signed"},
		{"self-signed in the root's name", rootOnly, pki.SelfSigned(t, "Root").Chain(), "self_signed"},
		{"expired", rootOnly, root.Client("c", expired).Chain(), "expired"},
		{"not yet valid", rootOnly, root.Client("c", notYetValid).Chain(), "not_yet_valid"},
		{"an expired intermediate", rootOnly, root.Intermediate("Old", expired).Client("c").Chain(), "expired"},
		{"an expired root", listed(pki.NewCA(t, "Gone", expired).Cert), root.Client("c").Chain(), "unknown_ca"},
		{"for servers", rootOnly, root.Client("c", forServers).Chain(), "wrong_usage"},
		{"by a CA for servers", rootOnly, root.Intermediate("Servers", forServers).Client("c").Chain(), "wrong_usage"},
		{"a key for encryption", rootOnly, root.Client("c", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }).Chain(), "wrong_usage"},
		{"issued by a client", rootOnly, shown(pki.Pair{Cert: pki.Sign(t, &x509.Certificate{SerialNumber: big.NewInt(9), NotAfter: time.Now().Add(time.Hour)}, noCA.Cert, noCA.Key.Public(), noCA.Key)}, noCA.Cert), "not_a_ca"},
		{"below a CA that issues no CAs", rootOnly, short.Intermediate("Under").Client("c").Chain(), "not_a_ca"},
		{"a weak key", rootOnly, []*x509.Certificate{weak}, "weak_key"},
		{"a critical extension", rootOnly, root.Client("c", critical).Chain(), "unsupported"},
		{"a critical extension of an intermediate", rootOnly, root.Intermediate("Odd", critical).Client("c").Chain(), "unsupported"},
		{"a loop", rootOnly, shown(a.Client("c"), aByB, bByA), "loop"},
		{"a certificate twice", rootOnly, shown(lower.Client("c"), lower.Cert, lower.Cert, lower.Cert), "unknown_ca"},
		{"100 intermediates", rootOnly, many, "too_many_certificates"},
		{"a chain of many bytes", rootOnly, shown(root.Client("c", dns(strings.Split(strings.Repeat(strings.Repeat("x", 60)+".test ", 1000), " ")[:1000]...))), "too_many_bytes"},
		{"a name of 16 KiB", rootOnly, root.Client(big16).Chain(), "bad_name"},
		{"an issuer of 16 KiB", rootOnly, pki.NewCA(t, big16).Client("c").Chain(), "bad_name"},
		{"an alternative name of 16 KiB", rootOnly, root.Client("c", dns(big16)).Chain(), "bad_name"},
		{"300 alternative names", rootOnly, root.Client("c", dns(strings.Fields(strings.Repeat("a.test ", 300))...)).Chain(), "bad_name"},
		{"a line break in the common name", rootOnly, root.Client("a\r\nX-Admin: 1").Chain(), "bad_name"},
		{"a NUL in a DNS name", rootOnly, root.Client("c", dns("good.test\x00.evil.test")).Chain(), "bad_name"},

		{"depth 1", Options{Roots: rootOnly.Roots, Depth: 1}, middle.Client("c").Chain(), ""},
		{"beyond depth 1", Options{Roots: rootOnly.Roots, Depth: 1}, lower.Client("c").Chain(), "too_deep"},
		{"depth none", Options{Roots: rootOnly.Roots, Depth: -1}, root.Client("c").Chain(), ""},
		{"beyond depth none", Options{Roots: rootOnly.Roots, Depth: -1}, middle.Client("c").Chain(), "too_deep"},

		{"an allowed name", rootOnly, narrow.Client("c", dns("a.corp.test")).Chain(), ""},
		{"a name that is not allowed", rootOnly, narrow.Client("c", dns("a.evil.test")).Chain(), "name_not_allowed"},
		{"an allowed common name", rootOnly, narrow.Client("a.corp.test").Chain(), ""},
		{"a common name that is not allowed", rootOnly, narrow.Client("Admin.evil.test").Chain(), "name_not_allowed"},
		{"a common name that is no host", rootOnly, narrow.Client("alice").Chain(), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier(t, tt.opts)
			if got := reason(t, v, tt.chain); got != tt.want {
				_, err := v.Verify(context.Background(), tt.chain)
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if got := reason(t, v, tt.chain); got != tt.want { // now perhaps known
				t.Errorf("the second time: got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestVerifierRefusesEmptyPools guards against a policy that cannot hold but
// starts, and then accepts everybody or what the system trusts.
func TestVerifierRefusesEmptyPools(t *testing.T) {
	root := pki.NewCA(t, "Root")
	middle := root.Intermediate("Middle")
	for _, tt := range []struct {
		name string
		opts Options
		want string
	}{
		{"no CA certificates", Options{}, "no CA certificate"},
		{"none at all", Options{Roots: []*x509.Certificate{nil}}, "is empty"},
		{"a client's", Options{Roots: []*x509.Certificate{root.Client("c").Cert}}, "not the certificate of a CA"},
		{"no end", Options{Roots: []*x509.Certificate{middle.Cert}}, "self-signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := NewRevocation(Settings{}).Verifier(tt.opts)
			if v != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", v, err, tt.want)
			}
		})
	}
}

// TestKnownPathEnds shows that a path that was verified once does not outlive its
// certificates.
func TestKnownPathEnds(t *testing.T) {
	root := pki.NewCA(t, "Root")
	middle := root.Intermediate("Middle", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Hour) })
	chain := middle.Client("c").Chain()
	r := NewRevocation(Settings{})
	v, err := r.Verifier(Options{Roots: []*x509.Certificate{root.Cert}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(context.Background(), chain)
	if err != nil {
		t.Fatal(err)
	}
	if !id.Until.Equal(middle.Cert.NotAfter) {
		t.Errorf("the verdict holds until %v, want %v, when the intermediate expires", id.Until, middle.Cert.NotAfter)
	}
	r.now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	if got := reason(t, v, chain); got != "expired" {
		t.Errorf("after the intermediate has expired: %q, want expired", got)
	}
	r.now = func() time.Time { return time.Now().Add(-3 * time.Hour) }
	if got := reason(t, v, chain); got != "not_yet_valid" {
		t.Errorf("with the clock set back: %q, want not_yet_valid", got)
	}
}

// TestKnownPathsAreOfOnePool shows that a chain which one policy knows is not
// thereby known to another.
func TestKnownPathsAreOfOnePool(t *testing.T) {
	root, other := pki.NewCA(t, "Root"), pki.NewCA(t, "Other")
	middle := root.Intermediate("Middle")
	r := NewRevocation(Settings{})
	chain := middle.Client("c").Chain()
	for _, tt := range []struct {
		name string
		opts Options
		want string
	}{
		{"its CA", Options{Roots: []*x509.Certificate{root.Cert}}, ""},
		{"another CA", Options{Roots: []*x509.Certificate{other.Cert}}, "unknown_ca"},
		{"less depth", Options{Roots: []*x509.Certificate{root.Cert}, Depth: -1}, "too_deep"},
	} {
		v, err := r.Verifier(tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := reason(t, v, chain); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestIdentity(t *testing.T) {
	root := pki.NewCA(t, "Root")
	id, err := verifier(t, Options{Roots: []*x509.Certificate{root.Cert}}).Verify(context.Background(),
		root.Client("alice", func(c *x509.Certificate) {
			c.SerialNumber = big.NewInt(0x1ab)
			c.Subject.Organization = []string{"Example, Inc."}
			c.DNSNames, c.EmailAddresses = []string{"A.example.test"}, []string{"alice@example.test"}
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.test", Path: "/sa/alice"}}
			c.IPAddresses = append(c.IPAddresses, []byte{192, 0, 2, 1})
		}).Chain())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		id.Names.CommonName, strings.Join(id.Names.DNS, " "), strings.Join(id.Names.Email, " "), strings.Join(id.Names.URI, " "),
		id.Names.IP[0].String(), id.SPIFFE, id.SubjectDN, id.IssuerDN, id.Serial, strconv.Itoa(len(id.SHA1)), strconv.Itoa(len(id.SHA256)), strconv.Itoa(len(id.Chain)),
	}
	want := []string{
		"alice", "A.example.test", "alice@example.test", "spiffe://example.test/sa/alice",
		"192.0.2.1", "spiffe://example.test/sa/alice", `CN=alice,O=Example\, Inc.`, "CN=Root", "01AB", "40", "64", "2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
