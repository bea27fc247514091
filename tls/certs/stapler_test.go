package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"testing"
	"time"
)

// issued makes a certificate with an OCSP server and its issuer behind it.
func issued(t *testing.T, serial int64) *tls.Certificate {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	caKey, key := ecKey(t), ecKey(t)
	root, err := signed(ca, ca, caKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "shop"}, OCSPServer: []string{"http://ocsp.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, root.Raw}, PrivateKey: key, Leaf: leaf}
}

// responder answers as it is told.
type responder struct {
	now   time.Time
	body  string
	err   error
	asked int
}

func (r *responder) ask(_ context.Context, cert, issuer *x509.Certificate) ([]byte, time.Time, time.Time, error) {
	r.asked++
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return nil, time.Time{}, time.Time{}, err
	}
	return []byte(r.body), r.now, r.now.Add(4 * time.Hour), r.err
}

func TestStapler(t *testing.T) {
	r := &responder{now: time.Now(), body: "one"}
	s := NewStapler(r.ask, slog.New(slog.DiscardHandler))
	s.now = func() time.Time { return r.now }
	c, alone := issued(t, 2), issued(t, 3)
	alone.Certificate = alone.Certificate[:1] // without its issuer nobody can be asked
	wanted := []*tls.Certificate{c, alone}
	expect := func(when, staple string, asked int) {
		t.Helper()
		if got := string(s.Staple(c).OCSPStaple); got != staple || r.asked != asked {
			t.Errorf("%s: staple %q after %d questions, want %q after %d", when, got, r.asked, staple, asked)
		}
	}
	expect("before all", "", 0)
	rest := s.round(t.Context(), wanted)
	expect("after a round", "one", 1)
	if rest != 2*time.Hour {
		t.Errorf("the next round is in %s, want 2h", rest)
	}
	if s.Staple(alone) != alone || len(c.OCSPStaple) > 0 {
		t.Error("another certificate was changed")
	}
	s.round(t.Context(), wanted)
	expect("when nothing is due", "one", 1)
	copied := *c
	s.round(t.Context(), []*tls.Certificate{&copied})
	if got := string(s.Staple(&copied).OCSPStaple); got != "one" || r.asked != 1 {
		t.Errorf("after a reload: staple %q after %d questions", got, r.asked)
	}

	r.now, r.body = r.now.Add(2*time.Hour), "two"
	s.round(t.Context(), wanted)
	expect("after half of its time", "two", 2)
	r.now, r.err = r.now.Add(2*time.Hour), errors.New("out of order")
	if rest := s.round(t.Context(), wanted); rest != firstStapleRetry {
		t.Errorf("the next round is in %s, want %s", rest, firstStapleRetry)
	}
	expect("while the server is out of order", "two", 3)
	s.round(t.Context(), wanted)
	expect("within the pause", "two", 3)
	r.now = r.now.Add(2 * time.Hour)
	expect("past its end", "", 3)
	r.err, r.body = nil, "three"
	s.round(t.Context(), wanted)
	expect("when the server is back", "three", 4)
	s.round(t.Context(), nil)
	expect("when it is not wanted", "", 4)
}

func TestStaplerRun(t *testing.T) {
	r := &responder{now: time.Now(), body: "one"}
	s := NewStapler(r.ask, slog.New(slog.DiscardHandler))
	c := issued(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done, looked := make(chan struct{}), make(chan struct{}, 2)
	woken := make(chan struct{}, 1)
	go func() {
		defer close(done)
		s.Run(ctx, woken, func() []*tls.Certificate {
			looked <- struct{}{}
			return []*tls.Certificate{c}
		})
	}()
	<-looked
	woken <- struct{}{}
	<-looked // so the first round is over
	if got := string(s.Staple(c).OCSPStaple); got != "one" {
		t.Errorf("staple %q", got)
	}
	cancel()
	<-done
}
