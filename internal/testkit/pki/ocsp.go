package pki

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Answers is an http.HandlerFunc that answers by OCSP for ca's certificates: all
// are good unless they are revoked. change alters what is signed, signer is who
// signs; both may be nil.
func (ca *CA) Answers(t testing.TB, signer *Pair, change func(*ocsp.Response), revoked ...*x509.Certificate) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			t.Errorf("reading a question: %v", err)
			return
		}
		req, err := ocsp.ParseRequest(body)
		if err != nil {
			t.Errorf("a malformed question: %v", err)
			return
		}
		answer := ocsp.Response{
			Status: ocsp.Good, SerialNumber: req.SerialNumber, IssuerHash: req.HashAlgorithm,
			ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		}
		for _, c := range revoked {
			if c.SerialNumber.Cmp(req.SerialNumber) == 0 {
				answer.Status, answer.RevokedAt = ocsp.Revoked, time.Now().Add(-time.Minute)
			}
		}
		if change != nil {
			change(&answer)
		}
		by, key := ca.Cert, ca.Key
		if signer != nil {
			by, key, answer.Certificate = signer.Cert, signer.Key, signer.Cert
		}
		der, err := ocsp.CreateResponse(ca.Cert, by, answer, key)
		if err != nil {
			t.Errorf("making an answer: %v", err)
			return
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(der)
	}
}

// OCSP is a real `openssl ocsp` that answers for the certificates of one CA, run
// once for each question: as a server of its own it would listen on every
// address. It must be told of each certificate.
type OCSP struct {
	URL string

	t      testing.TB
	server *httptest.Server
	dir    string
	args   []string

	mu    sync.Mutex
	lines map[string]string // of OpenSSL's index, by serial number
	asked int
}

// programTime bounds one run of openssl.
const programTime = time.Minute

// StartOCSP starts a responder on a free port; the test's end stops it.
func (ca *CA) StartOCSP(t testing.TB) *OCSP {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("finding openssl: %v: install it (Debian: apt install openssl)", err)
	}
	o := &OCSP{t: t, dir: t.TempDir(), lines: make(map[string]string)}
	caFile := filepath.Join(o.dir, "ca.pem")
	write(t, caFile, PEM(ca.Cert))
	write(t, o.index(), nil)
	write(t, o.index()+".attr", []byte("unique_subject = no\n"))
	cert, key := ca.Responder().Write(t)
	o.args = []string{"ocsp", "-index", o.index(), "-rsigner", cert, "-rkey", key, "-CA", caFile, "-nmin", "60"}
	o.server = httptest.NewServer(http.HandlerFunc(o.serve))
	o.URL = o.server.URL
	t.Cleanup(o.Stop)
	return o
}

func (o *OCSP) index() string { return filepath.Join(o.dir, "index.txt") }

func (o *OCSP) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock() // the index must stay as it is
	defer o.mu.Unlock()
	o.asked++
	question := filepath.Join(o.dir, fmt.Sprintf("%d.req", o.asked))
	answer := filepath.Join(o.dir, fmt.Sprintf("%d.resp", o.asked))
	if err := os.WriteFile(question, body, 0o600); err != nil {
		o.t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, "openssl", append(o.args, "-reqin", question, "-respout", answer)...).CombinedOutput()
	if err != nil {
		o.t.Errorf("openssl ocsp: %v\n%s", err, out)
		http.Error(w, "openssl", http.StatusInternalServerError)
		return
	}
	der, err := os.ReadFile(answer)
	if err != nil {
		o.t.Error(err)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(der)
}

// Stop stops the responder; connections are refused then.
func (o *OCSP) Stop() {
	o.server.CloseClientConnections()
	o.server.Close()
}

// Good lets the responder know certificates as good.
func (o *OCSP) Good(certs ...*x509.Certificate) { o.set("V", "", certs) }

// Revoke lets it know certificates as revoked.
func (o *OCSP) Revoke(certs ...*x509.Certificate) {
	o.set("R", time.Now().Add(-time.Minute).UTC().Format("060102150405Z"), certs)
}

// set writes OpenSSL's index.
func (o *OCSP) set(state, since string, certs []*x509.Certificate) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range certs {
		serial := fmt.Sprintf("%X", c.SerialNumber)
		if len(serial)%2 == 1 {
			serial = "0" + serial
		}
		o.lines[serial] = strings.Join([]string{state, c.NotAfter.UTC().Format("060102150405Z"), since, serial, "unknown", "/CN=" + c.Subject.CommonName}, "\t")
	}
	var b strings.Builder
	for _, line := range o.lines {
		b.WriteString(line + "\n")
	}
	write(o.t, o.index(), []byte(b.String()))
}
