package peer

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// TestOldListsDoNotReturn replays a list from before a certificate was revoked,
// when the newer one is still good and when its time is over: whoever can stand in
// between must only wait for that. What the newer one said counts on.
func TestOldListsDoNotReturn(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	client := root.Client("c", pki.CRLAt(server.URL+"/crl"))
	from := func(made, next time.Duration) pki.CRLChange {
		return func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(made), time.Now().Add(next)
		}
	}
	older := func(more ...pki.CRLChange) []byte {
		return root.CRL(nil, append(more, from(-30*time.Minute, 30*24*time.Hour))...)
	}
	unnumbered := func(l *x509.RevocationList) { l.Number = l.Number.SetInt64(0) }
	for _, tt := range []struct {
		name   string
		replay []byte
		passes time.Duration
	}{
		{"while the newer one is good", older(unnumbered), 20 * time.Minute},
		{"when it is over", older(unnumbered), 3 * time.Hour},
		{"when it is over, with a greater number", older(), 3 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.Put("/crl", root.CRL([]*x509.Certificate{client.Cert}, from(-time.Minute, time.Hour)))
			r, c := timed(t)
			v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
			expect(t, v, client.Chain(), "revoked")
			n := server.Hits("/crl")
			server.Put("/crl", tt.replay)
			c.pass(tt.passes)
			for range 2 {
				expect(t, v, client.Chain(), "revoked")
				settle(t, r)
			}
			if server.Hits("/crl") == n {
				t.Error("the older list was not fetched")
			}
			if err := r.crls.all()[0].pause.err; doubtOf(err) != Older {
				t.Errorf("the older list was refused by %v, want %s", err, Older)
			}
		})
	}
}
