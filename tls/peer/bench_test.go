package peer

import (
	"context"
	"crypto/x509"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestKnownVerdictAllocations holds the promise that a verdict on a chain which
// is known costs next to nothing: nothing at all without revocation, a copy of
// the identity with it.
func TestKnownVerdictAllocations(t *testing.T) {
	root := pki.NewCA(t, "Root")
	chain := root.Intermediate("Middle").Client("c").Chain()
	for _, tt := range []struct {
		name string
		opts Options
		most float64
	}{
		{"without revocation", Options{}, 0},
		{"with lists", Options{Revocation: Strict, CRLs: []CRL{{Inline: root.CRL(nil)}}}, 5},
	} {
		tt.opts.Roots = []*x509.Certificate{root.Cert}
		if tt.opts.Revocation == Strict {
			chain = root.Client("c").Chain()
		}
		v := verifier(t, tt.opts)
		got := testing.AllocsPerRun(100, func() {
			if _, err := v.Verify(context.Background(), chain); err != nil {
				t.Fatal(err)
			}
		})
		if got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	root := pki.NewCA(b, "Root")
	middle := root.Intermediate("Middle")
	server := pki.NewServer(b)
	roots := []*x509.Certificate{root.Cert}
	client := root.Client("c", pki.OCSPAt(server.Handle("/ocsp", root.Answers(b, nil, nil))))
	for _, bb := range []struct {
		name  string
		opts  Options
		chain []*x509.Certificate
		fresh bool
	}{
		{"known", Options{Roots: roots}, root.Client("c").Chain(), false},
		{"known, intermediate", Options{Roots: roots}, middle.Client("c").Chain(), false},
		{"known, CRL", Options{Roots: roots, Revocation: Strict, CRLs: []CRL{{Inline: root.CRL(nil)}}}, root.Client("c").Chain(), false},
		{"known, OCSP", Options{Roots: roots, Revocation: Strict}, client.Chain(), false},
		{"fresh", Options{Roots: roots}, root.Client("c").Chain(), true},
		{"fresh, intermediate", Options{Roots: roots}, middle.Client("c").Chain(), true},
		{"fresh, CRL", Options{Roots: roots, Revocation: Strict, CRLs: []CRL{{Inline: root.CRL(nil)}}}, root.Client("c").Chain(), true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			v := mustVerifier(b, revocation(b), bb.opts)
			b.ReportAllocs()
			for b.Loop() {
				if bb.fresh {
					v.shared.paths.remove(v.pathKey(bb.chain))
				}
				if _, err := v.Verify(context.Background(), bb.chain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseCRL reads a list of 100,000 entries.
func BenchmarkParseCRL(b *testing.B) {
	der := longList(b, pki.NewCA(b, "Root"), 100000)
	b.SetBytes(int64(len(der)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseCRL(der); err != nil {
			b.Fatal(err)
		}
	}
}
