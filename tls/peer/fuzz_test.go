package peer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// What the committed corpora are signed by, and when.
const fuzzRoot = "testdata/root.pem"

var seven = big.NewInt(7)

var fuzzTime = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)

func fuzzCA(t testing.TB) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(fuzzRoot)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzChain verifies chains of any certificates. What is accepted must hang
// together, whatever the bytes were.
func FuzzChain(f *testing.F) {
	root := fuzzCA(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		chain, err := x509.ParseCertificates(der)
		if err != nil {
			return
		}
		r := NewRevocation(Settings{})
		defer r.Close()
		r.now = func() time.Time { return fuzzTime }
		v, err := r.Verifier(Options{Roots: []*x509.Certificate{root}})
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(context.Background(), chain)
		again, err2 := v.Verify(context.Background(), chain)
		if (err == nil) != (err2 == nil) || err == nil && id != again {
			t.Fatalf("first %v, %v, then %v, %v", id, err, again, err2)
		}
		if err != nil {
			if !errors.As(err, new(*Error)) || len(err.Error()) > 2000 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		path := id.Chain
		if !path[0].Equal(chain[0]) || !path[len(path)-1].Equal(root) {
			t.Fatal("the path does not lead from the leaf to the root")
		}
		for i := range len(path) - 1 {
			if err := path[i].CheckSignatureFrom(path[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if fuzzTime.After(id.Until) {
			t.Fatal("an expired path is accepted")
		}
	})
}

// FuzzCRL compares the lists that are read with how crypto/x509 reads them.
func FuzzCRL(f *testing.F) {
	root := fuzzCA(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		lists, err := parseCRLs(der)
		if err != nil {
			if !errors.As(err, new(*Fault)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, c := range lists {
			signed := c.signedBy(root)
			raw := der
			if block, _ := pem.Decode(der); block != nil {
				raw = block.Bytes
			}
			theirs, err := x509.ParseRevocationList(raw)
			if len(lists) > 1 {
				continue
			}
			if err != nil {
				if signed {
					t.Fatalf("crypto/x509 does not read what is accepted: %v", err)
				}
				return
			}
			if (theirs.CheckSignatureFrom(root) == nil) != signed {
				t.Fatalf("signed %v, crypto/x509 says %v", signed, theirs.CheckSignatureFrom(root))
			}
			if n := len(c.serials) / c.width; n != len(theirs.RevokedCertificateEntries) {
				t.Fatalf("%d entries, crypto/x509 reads %d", n, len(theirs.RevokedCertificateEntries))
			}
			for _, e := range theirs.RevokedCertificateEntries {
				if !c.has(e.SerialNumber) {
					t.Fatalf("%v is not found", e.SerialNumber)
				}
			}
		}
	})
}

// FuzzOCSP compares answers that are believed with how x/crypto reads them.
func FuzzOCSP(f *testing.F) {
	root := fuzzCA(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		// The corpus is about this certificate of the root's: any will do whose
		// serial number is 7.
		cert := *root
		cert.SerialNumber = seven
		q, err := newQuestion(&cert, root, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := q.read(body, fuzzTime)
		if err != nil {
			if !errors.As(err, new(*Fault)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		theirs, err := ocsp.ParseResponseForCert(body, &cert, nil)
		if err != nil {
			t.Fatalf("x/crypto does not read what is accepted: %v", err)
		}
		want := map[int]state{ocsp.Good: good, ocsp.Revoked: revoked, ocsp.Unknown: unknown}[theirs.Status]
		if a.state != want || !a.thisUpdate.Equal(theirs.ThisUpdate) || !a.nextUpdate.Equal(theirs.NextUpdate) {
			t.Fatalf("got %+v, x/crypto reads %+v", a, theirs)
		}
	})
}

// FuzzName writes any distinguished name.
func FuzzName(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := nameText(raw)
		if err != nil {
			return
		}
		for i := range len(s) {
			if s[i] < ' ' || s[i] > '~' {
				t.Fatalf("%q is not printable ASCII", s)
			}
		}
		if len(raw) <= maxNameBytes && len(s) > 8*len(raw)+64 {
			t.Fatalf("%d bytes are written as %d", len(raw), len(s))
		}
	})
}

// FuzzSANs reads any subject alternative names.
func FuzzSANs(f *testing.F) {
	f.Fuzz(func(t *testing.T, ext []byte) {
		var n Names
		if n.readSANs(ext) != nil {
			return
		}
		total := len(n.IP)
		for _, list := range [][]string{n.DNS, n.Email, n.URI} {
			total += len(list)
			for _, s := range list {
				if s == "" || len(s) > maxSANBytes || !plain(s) || !bytes.Contains(ext, []byte(s)) {
					t.Fatalf("the name %q", s)
				}
			}
		}
		if total > maxSANs {
			t.Fatalf("%d names", total)
		}
	})
}

// TestCorpus shows that the corpora hold what is accepted as well as what is not.
func TestCorpus(t *testing.T) {
	root := fuzzCA(t)
	r := NewRevocation(Settings{})
	defer r.Close()
	r.now = func() time.Time { return fuzzTime }
	v, err := r.Verifier(Options{Roots: []*x509.Certificate{root}})
	if err != nil {
		t.Fatal(err)
	}
	chain := func(name, want string) {
		certs, err := x509.ParseCertificates(seed(t, "FuzzChain/"+name))
		if err != nil {
			t.Fatal(err)
		}
		if got := reason(t, v, certs); got != want {
			t.Errorf("the chain %s: %q, want %q", name, got, want)
		}
	}
	chain("direct", "")
	chain("lower", "")
	chain("narrow", "")
	chain("expired", "expired")
	chain("self-signed", "self_signed")
	for name, want := range map[string]bool{"some": true, "pem": true, "empty": true, "forged": false} {
		lists, err := parseCRLs(seed(t, "FuzzCRL/"+name))
		if err != nil {
			t.Fatal(err)
		}
		if got := lists[0].signedBy(root); got != want {
			t.Errorf("the list %s: signed %v, want %v", name, got, want)
		}
	}
	cert := *root
	cert.SerialNumber = seven
	q, err := newQuestion(&cert, root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"good": "good", "delegated": "good", "revoked": "revoked", "client": "forged", "forged": "forged", "unknown": "unknown_certificate", "later": "responder_error"} {
		a, err := q.read(seed(t, "FuzzOCSP/"+name), fuzzTime)
		got := stateNames[a.state]
		if err != nil {
			got = doubtOf(err).String()
		}
		if got != want {
			t.Errorf("the answer %s: %q, want %q", name, got, want)
		}
	}
}

// seed reads a file of a corpus.
func seed(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "fuzz", name))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "[]byte(")
	s, err := strconv.Unquote(strings.TrimSuffix(text, ")\n"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return []byte(s)
}
