package peer

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// subject makes a change that sets an encoded name.
func subject(t testing.TB, sets ...pkix.RelativeDistinguishedNameSET) pki.Change {
	t.Helper()
	raw, err := asn1.Marshal(pkix.RDNSequence(sets))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *x509.Certificate) { c.RawSubject = raw }
}

// one is a set of one attribute; value is a string or an asn1.RawValue.
func one(value any, oid ...int) pkix.RelativeDistinguishedNameSET {
	return pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}}
}

func utf8Value(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
}

// TestNamesAsOpenSSLWritesThem compares distinguished names with what openssl
// makes of the same certificates.
func TestNamesAsOpenSSLWritesThem(t *testing.T) {
	cn := []int{2, 5, 4, 3}
	tests := []struct {
		name string
		sets []pkix.RelativeDistinguishedNameSET
		want string
	}{
		{"nothing", nil, ""},
		{"order", []pkix.RelativeDistinguishedNameSET{one("DE", 2, 5, 4, 6), one("Example", 2, 5, 4, 10), one("alice", cn...)}, "CN=alice,O=Example,C=DE"},
		{"special characters", []pkix.RelativeDistinguishedNameSET{one(utf8Value(`a,b+c"d\e<f>g;h=i/j`), cn...)}, `CN=a\,b\+c\"d\\e\<f\>g\;h=i/j`},
		{"a hash and blanks at the ends", []pkix.RelativeDistinguishedNameSET{one(utf8Value("#a b "), cn...), one(utf8Value(" x "), 2, 5, 4, 10)}, `O=\ x\ ,CN=\#a b\ `},
		{"a single blank", []pkix.RelativeDistinguishedNameSET{one(utf8Value(" "), cn...)}, `CN=\ `},
		{"UTF-8", []pkix.RelativeDistinguishedNameSET{one("Müller €", cn...)}, `CN=M\C3\BCller \E2\82\AC`},
		{"Latin-1", []pkix.RelativeDistinguishedNameSET{one(asn1.RawValue{Tag: 20, Bytes: []byte("M\xfcller")}, cn...)}, `CN=M\C3\BCller`},
		{"two bytes each", []pkix.RelativeDistinguishedNameSET{one(asn1.RawValue{Tag: 30, Bytes: []byte{0, 'M', 0, 0xfc}}, cn...)}, `CN=M\C3\BC`},
		{"control characters", []pkix.RelativeDistinguishedNameSET{one(utf8Value("a\r\nb\x00c\x7f"), 2, 5, 4, 10)}, `O=a\0D\0Ab\00c\7F`},
		{"several in a set", []pkix.RelativeDistinguishedNameSET{{{Type: cn, Value: "alice"}, {Type: []int{0, 9, 2342, 19200300, 100, 1, 1}, Value: "a1"}}}, "UID=a1+CN=alice"},
		{"an unknown type", []pkix.RelativeDistinguishedNameSET{one("x", 1, 2, 3, 4, 5)}, "1.2.3.4.5=#130178"},
		{"many types", []pkix.RelativeDistinguishedNameSET{
			one("test", 0, 9, 2342, 19200300, 100, 1, 25), one("a@b.test", 1, 2, 840, 113549, 1, 9, 1), one("7", 2, 5, 4, 5), one("S", 2, 5, 4, 4),
			one("St", 2, 5, 4, 8), one("L", 2, 5, 4, 7), one("Street", 2, 5, 4, 9), one("OU", 2, 5, 4, 11), one("T", 2, 5, 4, 12), one("D", 2, 5, 4, 13),
			one("B", 2, 5, 4, 15), one("P", 2, 5, 4, 17), one("N", 2, 5, 4, 41), one("G", 2, 5, 4, 42), one("I", 2, 5, 4, 43), one("Q", 2, 5, 4, 44),
			one("DQ", 2, 5, 4, 46), one("PS", 2, 5, 4, 65), one("OI", 2, 5, 4, 97), one("UN", 1, 2, 840, 113549, 1, 9, 2),
			one("JL", 1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 1), one("JS", 1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 2), one("JC", 1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3),
		}, "jurisdictionC=JC,jurisdictionST=JS,jurisdictionL=JL,unstructuredName=UN,organizationIdentifier=OI,pseudonym=PS,dnQualifier=DQ,generationQualifier=Q,initials=I,GN=G,name=N,postalCode=P,businessCategory=B,description=D,title=T,OU=OU,street=Street,L=L,ST=St,SN=S,serialNumber=7,emailAddress=a@b.test,DC=test"},
	}
	root := pki.NewCA(t, "Root")
	dir := t.TempDir()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := root.Client("", subject(t, tt.sets...)).Cert
			got, err := nameText(c.RawSubject)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			file := filepath.Join(dir, "c.pem")
			writeFile(t, file, pki.PEM(c))
			out, err := exec.Command("openssl", "x509", "-in", file, "-noout", "-subject", "-nameopt", "RFC2253").CombinedOutput()
			if err != nil {
				t.Fatalf("openssl: %v\n%s", err, out)
			}
			theirs := strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), "subject=")
			if got != theirs {
				t.Errorf("got    %s\nopenssl %s", got, theirs)
			}
		})
	}
}

func TestCommonName(t *testing.T) {
	for _, tt := range []struct {
		name string
		sets []pkix.RelativeDistinguishedNameSET
		want string
	}{
		{"none", []pkix.RelativeDistinguishedNameSET{one("x", 2, 5, 4, 10)}, ""},
		{"one", []pkix.RelativeDistinguishedNameSET{one("x", 2, 5, 4, 10), one("alice", 2, 5, 4, 3)}, "alice"},
		{"two", []pkix.RelativeDistinguishedNameSET{one("alice", 2, 5, 4, 3), one("bob", 2, 5, 4, 3)}, ""},
	} {
		raw, err := asn1.Marshal(pkix.RDNSequence(tt.sets))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := commonName(raw); got != tt.want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestSPIFFEPath(t *testing.T) {
	const bad = "not one"
	for _, tt := range []struct{ id, want string }{
		{"spiffe://example.test/a/b", "/a/b"},
		{"spiffe://example.test", ""},
		{"spiffe://ex-am_ple.1/A.b-c_D/...", "/A.b-c_D/..."},
		{"spiffe://" + strings.Repeat("a", 255) + "/x", "/x"},
		{"spiffe://" + strings.Repeat("a", 256) + "/x", bad},
		{"spiffe://a/" + strings.Repeat("x", 2048-11), "/" + strings.Repeat("x", 2048-11)},
		{"spiffe://a/" + strings.Repeat("x", 2048-10), bad},
		{"", bad},
		{"SPIFFE://example.test/a", bad},
		{"https://example.test/a", bad},
		{"spiffe:/example.test/a", bad},
		{"spiffe:///a", bad},
		{"spiffe://Example.test/a", bad},
		{"spiffe://example.test:443/a", bad},
		{"spiffe://user@example.test/a", bad},
		{"spiffe://[::1]/a", bad},
		{"spiffe://example.test/", bad},
		{"spiffe://example.test/a/", bad},
		{"spiffe://example.test//a", bad},
		{"spiffe://example.test/a/../b", bad},
		{"spiffe://example.test/./b", bad},
		{"spiffe://example.test/a%2Fb", bad},
		{"spiffe://example.test/a?b", bad},
		{"spiffe://example.test/a#b", bad},
		{"spiffe://example.test/ä", bad},
		{"spiffe://example.test/a b", bad},
	} {
		got, err := spiffePath(tt.id)
		if err != nil {
			got = bad
		}
		if got != tt.want {
			t.Errorf("%.60q: got %q, want %q", tt.id, got, tt.want)
		}
	}
}

// TestSPIFFEIdentities shows which certificates are X.509-SVIDs.
func TestSPIFFEIdentities(t *testing.T) {
	root := pki.NewCA(t, "Root")
	id := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	const web = "spiffe://example.test/web"
	for _, tt := range []struct {
		name   string
		change pki.Change
		want   string
	}{
		{"one", func(c *x509.Certificate) { c.URIs = []*url.URL{id(web)} }, web},
		{"with DNS names", func(c *x509.Certificate) { c.URIs, c.DNSNames = []*url.URL{id(web)}, []string{"a.test", "b.test"} }, web},
		{"none", func(*x509.Certificate) {}, ""},
		{"two", func(c *x509.Certificate) { c.URIs = []*url.URL{id(web), id("spiffe://example.test/admin")} }, ""},
		{"beside another URI", func(c *x509.Certificate) { c.URIs = []*url.URL{id(web), id("https://example.test/")} }, ""},
		{"a trust domain's own", func(c *x509.Certificate) { c.URIs = []*url.URL{id("spiffe://example.test")} }, ""},
		{"another scheme", func(c *x509.Certificate) { c.URIs = []*url.URL{id("https://example.test/web")} }, ""},
		{"of a CA", func(c *x509.Certificate) { c.URIs, c.IsCA = []*url.URL{id(web)}, true }, ""},
		{"that may sign lists", func(c *x509.Certificate) {
			c.URIs, c.KeyUsage = []*url.URL{id(web)}, x509.KeyUsageDigitalSignature|x509.KeyUsageCRLSign
		}, ""},
		{"without key usage", func(c *x509.Certificate) { c.URIs, c.KeyUsage = []*url.URL{id(web)}, 0 }, ""},
	} {
		got, err := Unverified(root.Client("c", tt.change).Cert)
		if err != nil {
			t.Fatal(err)
		}
		if got.SPIFFE != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got.SPIFFE, tt.want)
		}
	}
}

func TestRules(t *testing.T) {
	id := &Identity{
		Names: Names{
			CommonName: "cn.test", DNS: []string{"Web.prod.Example.test"}, Email: []string{"alice@example.test"},
			URI: []string{"spiffe://example.test/ns/prod/sa/web"}, IP: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		},
		SPIFFE: "spiffe://example.test/ns/prod/sa/web",
	}
	root := pki.NewCA(t, "Root")
	middle := root.Intermediate("Middle")
	id.Chain = []*x509.Certificate{middle.Client("c").Cert, middle.Cert, root.Cert}
	sans := func(list ...string) RuleSet { return RuleSet{SANs: list} }
	ids := func(list ...string) RuleSet { return RuleSet{SPIFFE: list} }
	for _, tt := range []struct {
		name string
		set  RuleSet
		want bool
	}{
		{"none", RuleSet{}, true},
		{"DNS", sans("dns:web.PROD.example.test"), true},
		{"another DNS name", sans("dns:example.test"), false},
		{"a label of any name", sans("dns:*.prod.example.test"), true},
		{"one label only", sans("dns:*.example.test"), false},
		{"labels", sans("dns:**.example.test"), true},
		{"within a label", sans("dns:w*b.prod.example.test"), true},
		{"the common name is no alternative name", sans("dns:cn.test"), false},
		{"email", sans("email:*@example.test"), true},
		{"another domain", sans("email:*@evil.test"), false},
		{"the user is compared to the letter", sans("email:Alice@example.test"), false},
		{"URI", sans("uri:spiffe://example.test/**"), true},
		{"an address", sans("ip:192.0.2.7"), true},
		{"a network", sans("ip:192.0.2.0/24"), true},
		{"another network", sans("ip:198.51.100.0/24"), false},
		{"one of several", sans("dns:no.test", "ip:192.0.2.7"), true},
		{"an id", ids("spiffe://example.test/ns/prod/sa/web"), true},
		{"an id with a segment", ids("spiffe://example.test/ns/*/sa/web"), true},
		{"segments", ids("spiffe://example.test/ns/**"), true},
		{"one segment only", ids("spiffe://example.test/ns/*"), false},
		{"a part of a segment", ids("spiffe://example.test/ns/prod/sa/w*"), true},
		{"another trust domain", ids("spiffe://example.test.evil/**"), false},
		{"the issuer", RuleSet{Issuers: []string{"CN=Middle"}}, true},
		{"the root", RuleSet{Issuers: []string{"CN=Root"}}, true},
		{"the leaf is no issuer", RuleSet{Issuers: []string{"CN=c"}}, false},
		{"all kinds", RuleSet{SANs: []string{"dns:**"}, Issuers: []string{"CN=Root"}, SPIFFE: []string{"spiffe://example.test/**"}}, true},
		{"all kinds but one", RuleSet{SANs: []string{"dns:**"}, Issuers: []string{"CN=Other"}, SPIFFE: []string{"spiffe://example.test/**"}}, false},
	} {
		r, err := NewRules(tt.set)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := r.Allows(id); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	for _, s := range []RuleSet{
		sans("a.test"), sans("dns:"), sans("cn:x"), sans("ip:x"), sans("ip:192.0.2.0/33"),
		ids("example.test/x"), ids("spiffe://example.test"), ids("spiffe://example.test/"), ids("spiffe://*/x"),
		ids("spiffe://example.test/a//b"), ids("spiffe://example.test/a b"), ids("spiffe://Example.test/a"),
		{Issuers: []string{"Middle"}},
	} {
		if _, err := NewRules(s); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

// FuzzPattern compares patterns with the regular expressions that mean the same.
func FuzzPattern(f *testing.F) {
	f.Add("spiffe://a/*/b/**c", "spiffe://a/x/b/y/zc")
	f.Add("*a*a*b", "aaaaab")
	f.Add("**x*/**y", "x/x/yx/y")
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 30 || len(s) > 60 {
			return
		}
		var b strings.Builder
		for rest := text; rest != ""; {
			switch {
			case strings.HasPrefix(rest, "**"):
				b.WriteString(`(?s:.*)`)
				rest = rest[2:]
			case rest[0] == '*':
				b.WriteString(`[^/]*`)
				rest = rest[1:]
			default:
				b.WriteString(regexp.QuoteMeta(rest[:1]))
				rest = rest[1:]
			}
		}
		re, err := regexp.Compile(`\A` + b.String() + `\z`)
		if err != nil || !isASCII([]byte(text+s)) {
			return // a regular expression is of runes
		}
		if got, want := (pattern{text, '/'}).match(s), re.MatchString(s); got != want {
			t.Errorf("%q on %q: got %v, want %v", text, s, got, want)
		}
	})
}

func TestUnverified(t *testing.T) {
	id, err := Unverified(pki.SelfSigned(t, "alice").Cert)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"alice", "CN=alice", 0}, []any{id.Names.CommonName, id.SubjectDN, len(id.Chain)}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := Unverified(pki.SelfSigned(t, strings.Repeat("x", 16<<10)).Cert); err == nil {
		t.Error("a name of 16 KiB is read")
	}
}
