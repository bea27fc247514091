package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// CRLChange alters a revocation list before it is signed.
type CRLChange func(*x509.RevocationList)

// CRL returns a list of ca's, DER, that is good for a day.
func (ca *CA) CRL(revoked []*x509.Certificate, changes ...CRLChange) []byte {
	ca.t.Helper()
	template := &x509.RevocationList{
		Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(24 * time.Hour),
	}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Cert, ca.Key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return der
}

// Stale makes a list one whose successor is overdue.
func Stale(l *x509.RevocationList) {
	l.ThisUpdate, l.NextUpdate = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
}

// CRLPEM returns a list as PEM.
func CRLPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// CRLAt makes a certificate name a distribution point of revocation lists.
func CRLAt(urls ...string) Change {
	return func(c *x509.Certificate) { c.CRLDistributionPoints = urls }
}

// OCSPAt makes a certificate name an OCSP responder.
func OCSPAt(urls ...string) Change { return func(c *x509.Certificate) { c.OCSPServer = urls } }

// Impostor returns a CA of ca's name with another key.
func (ca *CA) Impostor() *CA {
	ca.t.Helper()
	twin := &CA{t: ca.t, root: true}
	twin.Key = NewKey(ca.t)
	template := caTemplate("")
	template.RawSubject = ca.Cert.RawSubject
	template.SubjectKeyId = ca.Cert.SubjectKeyId
	twin.Cert = Sign(ca.t, template, template, twin.Key.Public(), twin.Key)
	return twin
}

// Responder returns a certificate by which OCSP answers for ca's are signed.
func (ca *CA) Responder(changes ...Change) Pair {
	ca.t.Helper()
	return ca.Client("Responder", append([]Change{func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	}}, changes...)...)
}

// Server hands out documents over HTTP on a free port of 127.0.0.1. It counts
// who asks. The test's end stops it.
type Server struct {
	URL string

	server *httptest.Server
	mu     sync.Mutex
	docs   map[string]http.HandlerFunc
	hits   map[string]int
}

// NewServer starts a server that has nothing yet.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{docs: make(map[string]http.HandlerFunc), hits: make(map[string]int)}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.server.URL
	t.Cleanup(s.Close)
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	doc := s.docs[r.URL.Path]
	s.hits[r.URL.Path]++
	s.mu.Unlock()
	if doc == nil {
		http.NotFound(w, r)
		return
	}
	doc(w, r)
}

// Close stops the server; further connections are refused.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Put hands out b at a path, with an ETag, and returns the URL.
func (s *Server) Put(path string, b []byte) string {
	tag := `"` + big.NewInt(time.Now().UnixNano()).String() + `"`
	return s.Handle(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(b)
	})
}

// Handle lets f answer at a path, and returns the URL.
func (s *Server) Handle(path string, f http.HandlerFunc) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[path] = f
	return s.URL + path
}

// Hits tells how often a path was asked for.
func (s *Server) Hits(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits[path]
}

// Silent takes the question and never answers.
func Silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is the client's end noticed
	<-r.Context().Done()
}

// Endless answers with bytes without end.
func Endless(w http.ResponseWriter, _ *http.Request) {
	b := make([]byte, 64<<10)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}
