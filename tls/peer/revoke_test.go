package peer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ocsp"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// revocation returns a Revocation that may ask this machine, closed at the end.
func revocation(t testing.TB) *Revocation {
	t.Helper()
	r := NewRevocation(Settings{})
	r.SetAllow(loopback)
	t.Cleanup(r.Close)
	return r
}

func mustVerifier(t testing.TB, r *Revocation, o Options) *Verifier {
	t.Helper()
	v, err := r.Verifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// outcome is what a verifier says: "ok", "ok, " with a doubt, or a reason with a
// doubt.
func outcome(t testing.TB, v *Verifier, chain []*x509.Certificate) string {
	t.Helper()
	id, err := v.Verify(context.Background(), chain)
	var refused *Error
	switch {
	case err == nil && id.Doubt == nil:
		return "ok"
	case err == nil:
		return "ok, " + doubtOf(id.Doubt).String()
	case !errors.As(err, &refused):
		t.Fatalf("%v is no *Error", err)
	case refused.Reason == RevocationUnknown:
		return "refused, " + doubtOf(refused.Err).String()
	}
	return refused.Reason.String()
}

// both judges a chain in both modes, each as if nothing were known.
func both(t testing.TB, o Options, chain []*x509.Certificate) [2]string {
	t.Helper()
	var got [2]string
	for i, mode := range []Mode{IgnoreCAError, Strict} {
		o.Revocation = mode
		r := revocation(t)
		got[i] = outcome(t, mustVerifier(t, r, o), chain)
		r.Close()
	}
	return got
}

// in is what both modes say of a doubt.
func in(doubt string) [2]string { return [2]string{"ok, " + doubt, "refused, " + doubt} }

var (
	passes  = [2]string{"ok", "ok"}
	refused = [2]string{"revoked", "revoked"}
)

func TestCRLAtPoint(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	point := pki.CRLAt(server.URL + "/crl")
	client, bad := root.Client("good", point), root.Client("bad", point)
	list := []*x509.Certificate{bad.Cert}
	critical := func(id []int, value []byte) pki.CRLChange {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier(id), Critical: true, Value: value}}
		}
	}
	// issuingPoint for URI u, with further parts.
	issuingPoint := func(u string, more ...byte) pki.CRLChange {
		inner := append([]byte{0x86, byte(len(u))}, u...)
		full := append([]byte{0xa0, byte(len(inner))}, inner...)
		point := append([]byte{0xa0, byte(len(full))}, full...)
		if u == "" {
			point = nil
		}
		point = append(point, more...)
		return critical([]int{2, 5, 29, 28}, append([]byte{0x30, byte(len(point))}, point...))
	}
	serve := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	for _, tt := range []struct {
		name string
		doc  http.HandlerFunc
		good [2]string // of a certificate that is not on the list
		bad  [2]string
	}{
		{"good", serve(root.CRL(list)), passes, refused},
		{"empty", serve(root.CRL(nil)), passes, passes},
		{"stale", serve(root.CRL(list, pki.Stale)), in("stale"), refused},
		{"from the future", serve(root.CRL(list, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Hour) })), in("early"), in("early")},
		{"forged by one of the same name", serve(root.Impostor().CRL(list)), in("forged"), in("forged")},
		{"by another CA", serve(pki.NewCA(t, "Other").CRL(list)), in("forged"), in("forged")},
		{"changed after it was signed", serve(tamper(root.CRL(list))), in("forged"), in("forged")},
		{"nonsense", serve([]byte("<html>no such list</html>")), in("malformed"), in("malformed")},
		{"cut off", serve(root.CRL(list)[:100]), in("malformed"), in("malformed")},
		{"nothing", serve(nil), in("malformed"), in("malformed")},
		{"endless", pki.Endless, in("too_large"), in("too_large")},
		{"announced as huge", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999999") }, in("too_large"), in("too_large")},
		{"missing", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, in("http_status"), in("http_status")},
		{"not modified, unasked", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, in("http_status"), in("http_status")},
		{"encoded", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(root.CRL(nil))
		}, in("not_understood"), in("not_understood")},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(root.CRL(list)[:50])
		}, in("unreachable"), in("unreachable")},
		{"redirected", http.RedirectHandler(server.Put("/moved", root.CRL(list)), http.StatusFound).ServeHTTP, passes, refused},
		{"redirected in a circle", http.RedirectHandler(server.URL+"/crl", http.StatusFound).ServeHTTP, in("http_status"), in("http_status")},
		{"redirected to a file", http.RedirectHandler("file:///etc/passwd", http.StatusFound).ServeHTTP, in("bad_url"), in("bad_url")},
		{"a delta list", serve(root.CRL(list, critical([]int{2, 5, 29, 27}, []byte{2, 1, 1}))), in("not_understood"), in("not_understood")},
		{"a delta list that says so casually", serve(root.CRL(list, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Value: []byte{2, 1, 1}}}
		})), in("not_understood"), in("not_understood")},
		{"a critical extension", serve(root.CRL(list, critical([]int{1, 2, 3}, []byte{5, 0}))), in("not_understood"), in("not_understood")},
		{"for this point", serve(root.CRL(list, issuingPoint(server.URL+"/crl"))), passes, refused},
		{"for another point", serve(root.CRL(list, issuingPoint(server.URL+"/other"))), in("not_covered"), in("not_covered")},
		{"for clients only", serve(root.CRL(list, issuingPoint("", 0x81, 1, 0xff))), passes, refused},
		{"for CAs only", serve(root.CRL(list, issuingPoint("", 0x82, 1, 0xff))), in("not_covered"), in("not_covered")},
		{"for some reasons only", serve(root.CRL(list, issuingPoint("", 0x83, 2, 7, 0x80))), in("not_understood"), in("not_understood")},
		{"indirect", serve(root.CRL(list, issuingPoint("", 0x84, 1, 0xff))), in("not_understood"), in("not_understood")},
		{"on hold", serve(root.CRL(nil, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: bad.Cert.SerialNumber, RevocationTime: time.Now(), ReasonCode: 6}}
		})), passes, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Handle("/crl", tt.doc)
			o := Options{Roots: []*x509.Certificate{root.Cert}}
			if diff := cmp.Diff(tt.good, both(t, o, client.Chain())); diff != "" {
				t.Errorf("not on the list: -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.bad, both(t, o, bad.Chain())); diff != "" {
				t.Errorf("on the list: -want +got:\n%s", diff)
			}
		})
	}
}

// TestWhoMaySignLists shows that a key which may sign certificates does not
// thereby sign lists, and that SHA-1 signs nothing.
func TestWhoMaySignLists(t *testing.T) {
	root := pki.NewCA(t, "Root")
	template := *root.Cert
	template.KeyUsage = x509.KeyUsageCertSign
	noLists := pki.Sign(t, &template, &template, root.Key.Public(), root.Key) // the same name and key
	for _, tt := range []struct {
		name string
		ca   *x509.Certificate
		list []byte
		want bool
	}{
		{"the CA", root.Cert, root.CRL(nil), true},
		{"a CA that may not", noLists, root.CRL(nil), false},
		{"the CA, by SHA-1", root.Cert, bySHA1(t, root), false},
	} {
		lists, err := parseCRLs(tt.list)
		if err != nil {
			t.Fatal(err)
		}
		if got := lists[0].signedBy(tt.ca); got != tt.want {
			t.Errorf("%s: signed %v, want %v", tt.name, got, tt.want)
		}
		_, err = revocation(t).Verifier(Options{Roots: []*x509.Certificate{tt.ca}, Revocation: Strict, CRLs: []CRL{{Inline: tt.list}}})
		if (err == nil) != tt.want {
			t.Errorf("%s: a policy with its list: %v", tt.name, err)
		}
	}
	// crypto/x509 itself takes such a signature, so that ours is what refuses it.
	list, err := x509.ParseRevocationList(bySHA1(t, root))
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Cert.CheckSignature(list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature); err != nil {
		t.Errorf("the list by SHA-1 is not signed well: %v", err)
	}
}

// bySHA1 returns an empty list that is signed by SHA-1.
func bySHA1(t *testing.T, ca *pki.CA) []byte {
	t.Helper()
	var list struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	var tbs struct { // of a list without entries
		Version    int
		Signature  pkix.AlgorithmIdentifier
		Issuer     pkix.RDNSequence
		ThisUpdate time.Time
		NextUpdate time.Time
		Extensions []pkix.Extension `asn1:"tag:0,explicit"`
	}
	if _, err := asn1.Unmarshal(ca.CRL(nil), &list); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(list.TBS.FullBytes, &tbs); err != nil {
		t.Fatal(err)
	}
	tbs.Signature.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	list.Algorithm = tbs.Signature
	raw, err := asn1.Marshal(tbs)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(raw)
	signature, err := ca.Key.Sign(rand.Reader, sum[:], crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	list.TBS, list.Signature = asn1.RawValue{FullBytes: raw}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// tamper changes the last byte of what is signed in a small list.
func tamper(der []byte) []byte {
	c, err := x509.ParseRevocationList(der)
	if err != nil {
		panic(err)
	}
	c.RawTBSRevocationList[len(c.RawTBSRevocationList)-1] ^= 1 // within der
	return der
}

func TestAddressesThatAreNotAsked(t *testing.T) {
	root := pki.NewCA(t, "Root")
	for _, tt := range []struct{ name, url, want string }{
		{"loopback", "http://127.0.0.1:80/", "address_refused"},
		{"loopback, by another spelling", "http://[::ffff:127.0.0.1]:80/", "address_refused"},
		{"loopback, IPv6", "http://[::1]:80/", "address_refused"},
		{"link-local, where clouds tell secrets", "http://169.254.169.254/latest", "address_refused"},
		{"any", "http://0.0.0.0/", "address_refused"},
		{"HTTPS", "https://127.0.0.1/", "bad_url"},
		{"LDAP", "ldap://127.0.0.1/cn=x", "bad_url"},
		{"a file", "file:///etc/passwd", "bad_url"},
		{"with a user", "http://user@127.0.0.1/", "bad_url"},
		{"long", "http://127.0.0.1/" + strings.Repeat("x", maxURLBytes), "bad_url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, at := range []pki.Change{pki.CRLAt(tt.url), pki.OCSPAt(tt.url)} {
				r := NewRevocation(Settings{})
				v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
				if got := outcome(t, v, root.Client("c", at).Chain()); got != "refused, "+tt.want {
					t.Errorf("got %q, want %q", got, "refused, "+tt.want)
				}
				r.Close()
			}
		})
	}
}

func TestOCSP(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	at := pki.OCSPAt(server.URL + "/ocsp")
	client, bad := root.Client("good", at), root.Client("bad", at)
	responder := root.Responder()
	noUsage := root.Client("no responder")
	late := root.Responder(expired)
	foreign := pki.NewCA(t, "Other").Responder()
	impostor := root.Impostor()
	answers := func(ca *pki.CA, signer *pki.Pair, change func(*ocsp.Response)) http.HandlerFunc {
		return ca.Answers(t, signer, change, bad.Cert)
	}
	status := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
	}
	for _, tt := range []struct {
		name      string
		doc       http.HandlerFunc
		good, bad [2]string
	}{
		{"by the CA", answers(root, nil, nil), passes, refused},
		{"by its responder", answers(root, &responder, nil), passes, refused},
		{"without an end", answers(root, nil, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), passes, refused},
		{"old, without an end", answers(root, nil, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = time.Now().Add(-2*time.Hour), time.Time{} }), in("stale"), in("stale")},
		{"late", answers(root, nil, func(r *ocsp.Response) {
			r.ThisUpdate, r.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), in("stale"), in("stale")},
		{"from the future", answers(root, nil, func(r *ocsp.Response) {
			r.ThisUpdate = time.Now().Add(time.Hour)
			r.NextUpdate = time.Now().Add(2 * time.Hour)
		}), in("early"), in("early")},
		{"for another serial", answers(root, nil, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(42) }), in("other_certificate"), in("other_certificate")},
		{"of an unknown certificate", answers(root, nil, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), in("unknown_certificate"), in("unknown_certificate")},
		{"forged by one of the same name", answers(impostor, nil, nil), in("forged"), in("forged")},
		{"forged with the CA's name and key id", forged(t, root, impostor), in("forged"), in("forged")},
		{"by a client of the same CA", answers(root, &noUsage, nil), in("forged"), in("forged")},
		{"by an expired responder", answers(root, &late, nil), in("forged"), in("forged")},
		{"by another CA's responder", answers(root, &foreign, nil), in("forged"), in("forged")},
		{"try later", status(ocsp.TryLaterErrorResponse), in("responder_error"), in("responder_error")},
		{"unauthorised", status(ocsp.UnauthorizedErrorResponse), in("responder_error"), in("responder_error")},
		{"nonsense", status([]byte("no")), in("malformed"), in("malformed")},
		{"nothing", status(nil), in("malformed"), in("malformed")},
		{"endless", pki.Endless, in("too_large"), in("too_large")},
		{"an error of the server", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, in("http_status"), in("http_status")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Handle("/ocsp", tt.doc)
			o := Options{Roots: []*x509.Certificate{root.Cert}}
			if diff := cmp.Diff(tt.good, both(t, o, client.Chain())); diff != "" {
				t.Errorf("a good one: -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.bad, both(t, o, bad.Chain())); diff != "" {
				t.Errorf("a revoked one: -want +got:\n%s", diff)
			}
		})
	}
}

// forged answers as ca, in name and key id, with another one's key.
func forged(t *testing.T, ca, by *pki.CA) http.HandlerFunc {
	key := ca.Key
	return func(w http.ResponseWriter, r *http.Request) {
		ca.Key = by.Key
		defer func() { ca.Key = key }()
		ca.Answers(t, nil, nil)(w, r)
	}
}

// TestOpenSSLResponder asks a real responder, also with a nonce.
func TestOpenSSLResponder(t *testing.T) {
	root := pki.NewCA(t, "Root")
	responder := root.StartOCSP(t)
	at := pki.OCSPAt(responder.URL)
	client, bad, stranger := root.Client("good", at), root.Client("bad", at), root.Client("stranger", at)
	responder.Good(client.Cert)
	responder.Revoke(bad.Cert)
	for _, nonce := range []bool{false, true} {
		o := Options{Roots: []*x509.Certificate{root.Cert}, Nonce: nonce}
		if diff := cmp.Diff(passes, both(t, o, client.Chain())); diff != "" {
			t.Errorf("good, nonce %v: -want +got:\n%s", nonce, diff)
		}
		if diff := cmp.Diff(refused, both(t, o, bad.Chain())); diff != "" {
			t.Errorf("revoked, nonce %v: -want +got:\n%s", nonce, diff)
		}
		if diff := cmp.Diff(in("unknown_certificate"), both(t, o, stranger.Chain())); diff != "" {
			t.Errorf("unknown, nonce %v: -want +got:\n%s", nonce, diff)
		}
	}
	responder.Stop()
	if diff := cmp.Diff(in("unreachable"), both(t, Options{Roots: []*x509.Certificate{root.Cert}}, client.Chain())); diff != "" {
		t.Errorf("stopped: -want +got:\n%s", diff)
	}
}

// TestNonceIsDemanded shows that an answer signed ahead does not do where a
// nonce is wanted.
func TestNonceIsDemanded(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	client := root.Client("c", pki.OCSPAt(server.Handle("/ocsp", root.Answers(t, nil, nil))))
	o := Options{Roots: []*x509.Certificate{root.Cert}, Nonce: true}
	if diff := cmp.Diff(in("other_certificate"), both(t, o, client.Chain())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestWhoIsAsked shows the order of sources, and that each certificate of the
// path but its end is asked about.
func TestWhoIsAsked(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	rootOnly := []*x509.Certificate{root.Cert}
	dead := pki.NewServer(t)
	dead.Close()
	crlURL, ocspURL := server.URL+"/crl", server.URL+"/ocsp"
	two := func(a, b pki.Change) pki.Change { return func(c *x509.Certificate) { a(c); b(c) } }
	middle := root.Intermediate("Middle", pki.CRLAt(crlURL))
	gone := root.Intermediate("Gone", pki.CRLAt(crlURL))
	server.Put("/crl", root.CRL([]*x509.Certificate{gone.Cert}))
	server.Put("/middle", middle.CRL(nil))
	below := func(ca *pki.CA) []*x509.Certificate { return ca.Client("c", pki.CRLAt(server.URL+"/middle")).Chain() }

	silent := root.Client("silent", pki.OCSPAt(dead.URL))
	fallback := root.Client("fallback", two(pki.OCSPAt(dead.URL), pki.CRLAt(crlURL)))
	second := root.Client("second", two(pki.OCSPAt(dead.URL, ocspURL), pki.CRLAt(dead.URL)))
	behindLDAP := root.Client("ldap", pki.CRLAt("ldap://x/y", crlURL))
	server.Handle("/ocsp", root.Answers(t, nil, nil))
	listed := root.Client("listed", pki.OCSPAt(ocspURL))
	file := filepath.Join(t.TempDir(), "crl.pem")
	writeFile(t, file, append(pki.CRLPEM(root.CRL([]*x509.Certificate{listed.Cert})), pki.CRLPEM(middle.CRL(nil))...))

	for _, tt := range []struct {
		name  string
		opts  Options
		chain []*x509.Certificate
		want  [2]string
	}{
		{"nobody", Options{}, root.Client("c").Chain(), in("no_source")},
		{"an unreachable responder", Options{}, silent.Chain(), in("unreachable")},
		{"then its list", Options{}, fallback.Chain(), passes},
		{"a second responder", Options{}, second.Chain(), passes},
		{"a list behind LDAP", Options{}, behindLDAP.Chain(), passes},
		{"each of the path", Options{}, below(middle), passes},
		{"an intermediate that is revoked", Options{}, gone.Client("c", pki.CRLAt(server.Put("/gone", gone.CRL(nil)))).Chain(), refused},
		{"an intermediate nobody knows of", Options{}, root.Intermediate("Quiet").Client("c").Chain(), in("no_source")},
		{"the end of a partial chain is not asked about", Options{Roots: []*x509.Certificate{gone.Cert}, AllowPartialChain: true}, nil, passes},
		{"a file goes before the responder", Options{CRLs: []CRL{{File: file}}}, listed.Chain(), refused},
		{"an inline list does", Options{CRLs: []CRL{{Inline: root.CRL([]*x509.Certificate{silent.Cert})}}}, silent.Chain(), refused},
		{"an inline list that says good", Options{CRLs: []CRL{{Inline: root.CRL(nil)}}}, silent.Chain(), passes},
		{"a stale one leaves it to the server", Options{CRLs: []CRL{{Inline: root.CRL(nil, pki.Stale)}}}, listed.Chain(), passes},
		{"a stale one and no server", Options{CRLs: []CRL{{Inline: root.CRL(nil, pki.Stale)}}}, root.Client("c").Chain(), in("stale")},
		{"an inline list from the future", Options{CRLs: []CRL{{Inline: root.CRL(nil, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Hour) })}}}, root.Client("c").Chain(), in("early")},
		{"a list of another CA says nothing", Options{CRLs: []CRL{{Inline: middle.CRL(nil)}}}, root.Client("c").Chain(), in("no_source")},
		{"both lists of a file", Options{CRLs: []CRL{{File: file}}}, middle.Client("c").Chain(), passes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.opts.Roots == nil {
				tt.opts.Roots = rootOnly
			}
			if tt.chain == nil {
				tt.chain = []*x509.Certificate{gone.Client("c", pki.CRLAt(server.URL+"/gone")).Cert}
			}
			if diff := cmp.Diff(tt.want, both(t, tt.opts, tt.chain)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if got := outcome(t, mustVerifier(t, revocation(t), Options{Roots: rootOnly}), below(gone)); got != "ok" {
		t.Errorf("without asking: %q, want ok", got)
	}
}

func writeFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
