package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// fakeCA speaks as much ACME as it takes to misbehave in any part of it. It
// believes that every name is proved.
type fakeCA struct {
	t    *testing.T
	http *httptest.Server
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu       sync.Mutex
	asked    map[string]int // requests by path
	orders   []acme.Order
	csrs     map[int][]byte          // by the order
	leaf     func(*x509.Certificate) // changes what is issued
	chain    func([]byte) []byte     // changes the chain, in PEM
	window   [2]time.Duration        // from now, of renewal information; zero: there is none
	disturb  func(w http.ResponseWriter, r *http.Request) bool
	accounts int
	revoked  int
}

func newFakeCA(t *testing.T) *fakeCA {
	t.Helper()
	f := &fakeCA{t: t, asked: make(map[string]int), csrs: make(map[int][]byte)}
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fake"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10000 * time.Hour), SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, f.key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	if f.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	f.http = httptest.NewServer(f)
	t.Cleanup(f.http.Close)
	return f
}

func (f *fakeCA) directory() string { return f.http.URL + "/directory" }

// count returns how often a path was asked for.
func (f *fakeCA) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// all returns how often anything was asked for.
func (f *fakeCA) all() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.asked {
		n += c
	}
	return n
}

// set changes how the authority behaves.
func (f *fakeCA) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// problem answers with an error of ACME's.
func problem(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"told so","status":%d}`, kind, status)
}

func (f *fakeCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, of := r.URL.Path, 0 // the order
	if first, rest, ok := strings.Cut(path[1:], "/"); ok {
		path = "/" + first
		of, _ = strconv.Atoi(rest) // 0 for the ids of renewal information
	}
	f.mu.Lock()
	f.asked[path]++
	disturb := f.disturb
	f.mu.Unlock()
	w.Header().Set("Replay-Nonce", "bm9uY2U")
	if disturb != nil && disturb(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch path {
	case "/directory":
		d := map[string]any{
			"newNonce": f.http.URL + "/nonce", "newAccount": f.http.URL + "/account", "newOrder": f.http.URL + "/new", "revokeCert": f.http.URL + "/revoke",
			"meta": map[string]any{"profiles": map[string]string{"shortlived": "a week"}},
		}
		if f.window != [2]time.Duration{} {
			d["renewalInfo"] = f.http.URL + "/ari"
		}
		_ = json.NewEncoder(w).Encode(d)
	case "/account":
		f.accounts++
		w.Header().Set("Location", fmt.Sprintf("%s/account/%d", f.http.URL, f.accounts))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"status":"valid"}`)
	case "/new":
		var o acme.Order
		f.decode(r, &o)
		f.orders = append(f.orders, o)
		of = len(f.orders) - 1
		w.Header().Set("Location", f.url("/order", of))
		w.WriteHeader(http.StatusCreated)
		f.order(w, of, "ready")
	case "/authorization":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"status": "valid", "identifier": f.orders[of].Identifiers[0], "expires": time.Now().Add(time.Hour),
			"challenges": []map[string]string{{"type": "http-01", "url": f.http.URL + "/challenge", "token": "token", "status": "valid"}},
		})
	case "/finalize":
		var csr struct{ CSR string }
		f.decode(r, &csr)
		f.csrs[of], _ = base64.RawURLEncoding.DecodeString(csr.CSR) // what cannot be decoded is told by issue
		f.order(w, of, "valid")
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(f.issue(of))
	case "/revoke":
		f.revoked++
	case "/ari":
		now := time.Now()
		_ = json.NewEncoder(w).Encode(map[string]any{"suggestedWindow": map[string]time.Time{"start": now.Add(f.window[0]), "end": now.Add(f.window[1])}})
	}
}

func (f *fakeCA) url(path string, of int) string {
	return f.http.URL + path + "/" + strconv.Itoa(of)
}

func (f *fakeCA) order(w http.ResponseWriter, of int, status string) {
	o := map[string]any{
		"status": status, "identifiers": f.orders[of].Identifiers, "authorizations": []string{f.url("/authorization", of)},
		"finalize": f.url("/finalize", of),
	}
	if status == "valid" {
		o["certificate"] = f.url("/certificate", of)
	}
	_ = json.NewEncoder(w).Encode(o)
}

// decode reads the payload of a JWS, whoever has signed it.
func (f *fakeCA) decode(r *http.Request, v any) {
	var jws struct{ Payload string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		f.t.Error(err)
		return
	}
	body, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil || json.Unmarshal(body, v) != nil {
		f.t.Errorf("the payload is %q, %v", body, err)
	}
}

func (f *fakeCA) issue(of int) []byte {
	csr, err := x509.ParseCertificateRequest(f.csrs[of])
	if err != nil {
		f.t.Error(err)
		return nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: csr.Subject, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	if f.leaf != nil {
		f.leaf(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, f.cert, csr.PublicKey, f.key)
	if err != nil {
		f.t.Error(err)
	}
	var chain bytes.Buffer
	_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: f.cert.Raw})
	if f.chain != nil {
		return f.chain(chain.Bytes())
	}
	return chain.Bytes()
}
