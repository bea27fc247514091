package peer

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ocsp"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// clock is a time that the test moves.
type clock struct{ off atomic.Int64 }

func (c *clock) now() time.Time        { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *clock) pass(by time.Duration) { c.off.Add(int64(by)) }

func timed(t testing.TB) (*Revocation, *clock) {
	r, c := revocation(t), new(clock)
	r.now = c.now
	return r, c
}

// settle waits until no question is under way.
func settle(t testing.TB, r *Revocation) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		n := len(r.flights)
		r.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("questions do not end")
		}
	}
}

func expect(t testing.TB, v *Verifier, chain []*x509.Certificate, want string) {
	t.Helper()
	if got := outcome(t, v, chain); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func hits(t testing.TB, s *pki.Server, path string, want int) {
	t.Helper()
	if got := s.Hits(path); got != want {
		t.Errorf("%s was asked for %d times, want %d", path, got, want)
	}
}

// TestAnswersAreKept follows one answer of OCSP through its life.
func TestAnswersAreKept(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	url := server.Handle("/ocsp", root.Answers(t, nil, nil))
	client := root.Client("c", pki.OCSPAt(url))
	r, c := timed(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict, CacheTTL: time.Minute})

	if _, known, _ := v.Known(client.Chain()); known {
		t.Error("known before anybody was asked")
	}
	for range 3 {
		expect(t, v, client.Chain(), "ok")
	}
	hits(t, server, "/ocsp", 1)
	id, known, err := v.Known(client.Chain())
	if !known || err != nil || id.Until.After(c.now().Add(time.Minute)) {
		t.Errorf("got %+v, %v, %v; want it known for a minute at most", id, known, err)
	}

	// It is older than CacheTTL, and counts while a newer one is fetched.
	c.pass(61 * time.Second)
	expect(t, v, client.Chain(), "ok")
	settle(t, r)
	hits(t, server, "/ocsp", 2)

	// It is much older: a newer one is waited for.
	before := v.Generation()
	server.Handle("/ocsp", root.Answers(t, nil, nil, client.Cert))
	c.pass(3 * time.Minute)
	expect(t, v, client.Chain(), "revoked")
	hits(t, server, "/ocsp", 3)
	if v.Generation() == before {
		t.Error("the generation is the same, but a certificate has been revoked")
	}

	// Without the responder what it said counts on, and longer than the answer
	// itself says: nobody has taken it back.
	server.Handle("/ocsp", http.NotFound)
	c.pass(3 * time.Hour)
	expect(t, v, client.Chain(), "revoked")
}

func TestGoodAnswersEnd(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	client := root.Client("c", pki.OCSPAt(server.Handle("/ocsp", root.Answers(t, nil, nil))))
	r, c := timed(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
	expect(t, v, client.Chain(), "ok")
	server.Handle("/ocsp", http.NotFound)
	c.pass(30 * time.Minute) // the answer is good for an hour
	expect(t, v, client.Chain(), "ok")
	c.pass(time.Hour)
	expect(t, v, client.Chain(), "refused, http_status")
}

// TestOldAnswersDoNotReturn replays an older answer that is still in its time.
func TestOldAnswersDoNotReturn(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	client := root.Client("c", pki.OCSPAt(server.Handle("/ocsp", root.Answers(t, nil, nil, nil...))))
	server.Handle("/ocsp", root.Answers(t, nil, nil, client.Cert))
	r, c := timed(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
	expect(t, v, client.Chain(), "revoked")
	server.Handle("/ocsp", root.Answers(t, nil, func(a *ocsp.Response) { a.ThisUpdate = a.ThisUpdate.Add(-10 * time.Minute) }))
	c.pass(3 * time.Minute)
	expect(t, v, client.Chain(), "revoked")
	hits(t, server, "/ocsp", 2)

	// Nor does one that lives longer than the newer one.
	server.Handle("/ocsp", root.Answers(t, nil, func(a *ocsp.Response) {
		a.ThisUpdate, a.NextUpdate = a.ThisUpdate.Add(-10*time.Minute), a.NextUpdate.Add(7*24*time.Hour)
	}))
	c.pass(3 * time.Hour)
	expect(t, v, client.Chain(), "revoked")
	hits(t, server, "/ocsp", 3)
}

// TestListsAreRefreshed shows that a list is fetched again before its time is
// over, by Run alone, and that the generation tells of it.
func TestListsAreRefreshed(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	url := server.URL + "/crl"
	client := root.Client("c", pki.CRLAt(url))
	server.Put("/crl", root.CRL(nil))
	r, c := timed(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
	expect(t, v, client.Chain(), "ok")
	r.refresh()
	settle(t, r)
	hits(t, server, "/crl", 1) // not due

	first := v.Generation()
	c.pass(11 * time.Minute)
	r.refresh()
	settle(t, r)
	hits(t, server, "/crl", 2) // not modified
	if v.Generation() != first {
		t.Error("the generation has changed, but the list has not")
	}

	server.Put("/crl", root.CRL([]*x509.Certificate{client.Cert}))
	c.pass(11 * time.Minute)
	r.refresh()
	settle(t, r)
	if v.Generation() == first {
		t.Error("the generation is the same, but the list is another")
	}
	expect(t, v, client.Chain(), "revoked")
	hits(t, server, "/crl", 3)

	// What cannot be believed does not replace it.
	for name, doc := range map[string][]byte{
		"forged": root.Impostor().CRL(nil),
		"older":  root.CRL(nil, func(l *x509.RevocationList) { l.Number = big.NewInt(1) }),
	} {
		server.Put("/crl", doc)
		c.pass(11 * time.Minute)
		r.refresh()
		settle(t, r)
		if got := outcome(t, v, client.Chain()); got != "revoked" {
			t.Errorf("after a list that is %s: %q, want revoked", name, got)
		}
	}

	// Unused for over a day, it is left alone.
	n := server.Hits("/crl")
	c.pass(25 * time.Hour)
	r.refresh()
	settle(t, r)
	hits(t, server, "/crl", n)
}

// TestFaultsAreKept shows that a server which does not answer is not asked by
// every client.
func TestFaultsAreKept(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	r, c := timed(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict, Timeout: 50 * time.Millisecond})
	a := root.Client("a", pki.OCSPAt(server.Handle("/ocsp", pki.Silent)))
	b := root.Client("b", pki.OCSPAt(server.URL+"/ocsp"))
	expect(t, v, a.Chain(), "refused, timeout")
	settle(t, r)
	expect(t, v, a.Chain(), "refused, timeout")
	expect(t, v, b.Chain(), "refused, timeout") // another certificate, the same server
	settle(t, r)
	hits(t, server, "/ocsp", 1)
	c.pass(firstPause + time.Second)
	expect(t, v, a.Chain(), "refused, timeout")
	settle(t, r)
	hits(t, server, "/ocsp", 2)
}

// TestOneQuestion shows that many who want to know the same ask once.
func TestOneQuestion(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	answer := root.Answers(t, nil, nil)
	held := make(chan struct{})
	client := root.Client("c", pki.OCSPAt(server.Handle("/ocsp", func(w http.ResponseWriter, r *http.Request) {
		<-held
		answer(w, r)
	})))
	v := mustVerifier(t, revocation(t), Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { expect(t, v, client.Chain(), "ok") })
	}
	close(held)
	all.Wait()
	hits(t, server, "/ocsp", 1)
}

// TestVerifyEnds shows that neither a client that goes nor the end of the process
// is kept waiting.
func TestVerifyEnds(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	begun := make(chan struct{}, 10)
	client := root.Client("c", pki.CRLAt(server.Handle("/crl", func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		pki.Silent(w, r)
	})))
	r := revocation(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict, Timeout: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() {
		_, err := v.Verify(ctx, client.Chain())
		gone <- err
	}()
	<-begun
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the client has gone: %v, want its context's error", err)
	}
	go func() {
		_, err := v.Verify(context.Background(), client.Chain())
		gone <- err
	}()
	r.Close()
	var e *Error
	if err := <-gone; !errors.As(err, &e) || e.Reason != RevocationUnknown {
		t.Errorf("the process ends: %v, want revocation_unknown", err)
	}
	expect(t, v, root.Client("late", pki.CRLAt(server.URL+"/other")).Chain(), "refused, busy")
}

// TestFiles follows a file of lists through its changes.
func TestFiles(t *testing.T) {
	root := pki.NewCA(t, "Root")
	client := root.Client("c")
	name := filepath.Join(t.TempDir(), "crl.pem")
	o := Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict, CRLs: []CRL{{File: name}}}
	r := revocation(t)
	replace := func(b []byte) {
		t.Helper()
		writeFile(t, name+".new", b)
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	for what, b := range map[string][]byte{
		"nonsense": []byte("no list"),
		"empty":    nil,
		"forged":   pki.CRLPEM(root.Impostor().CRL(nil)),
		"half":     append(pki.CRLPEM(root.CRL(nil)), "-----BEGIN X509 CRL-----\nAAAA"...),
		"a key":    []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
	} {
		replace(b)
		if v, err := r.Verifier(o); err == nil || v != nil {
			t.Errorf("%s: the policy starts", what)
		}
	}
	if v, err := r.Verifier(Options{Roots: o.Roots, Revocation: Strict, CRLs: []CRL{{File: name + ".missing"}}}); err == nil || v != nil {
		t.Error("a missing file: the policy starts")
	}

	replace(root.CRL(nil))
	v, again := mustVerifier(t, r, o), mustVerifier(t, r, o)
	if v.lists[0] != again.lists[0] {
		t.Error("two verifiers of one file do not share it")
	}
	expect(t, v, client.Chain(), "ok")
	before := v.Generation()
	r.refresh()
	if v.Generation() != before {
		t.Error("the generation has changed, but the file has not")
	}
	replace(pki.CRLPEM(root.CRL([]*x509.Certificate{client.Cert})))
	r.refresh()
	if v.Generation() == before {
		t.Error("the generation is the same, but the file is another")
	}
	expect(t, v, client.Chain(), "revoked")

	for _, b := range [][]byte{[]byte("no list"), root.Impostor().CRL(nil)} { // what was read last counts on
		replace(b)
		r.refresh()
		expect(t, v, client.Chain(), "revoked")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	r.refresh()
	expect(t, v, client.Chain(), "revoked")
	runtime.KeepAlive(again)
}

// TestFilesAreForgotten shows that a file ends with the last verifier that names
// it.
func TestFilesAreForgotten(t *testing.T) {
	root := pki.NewCA(t, "Root")
	name := filepath.Join(t.TempDir(), "crl")
	writeFile(t, name, root.CRL(nil))
	r := revocation(t)
	mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict, CRLs: []CRL{{File: name}}})
	for deadline := time.Now().Add(20 * time.Second); len(r.files) > 0; {
		runtime.GC()
		r.refresh()
		if time.Now().After(deadline) {
			t.Fatal("the file is still watched")
		}
	}
}

// longList makes a list with the serial numbers from 1 to entries, each times 2^90,
// in no order.
func longList(t testing.TB, ca *pki.CA, entries int, more ...*x509.Certificate) []byte {
	t.Helper()
	return ca.CRL(more, func(l *x509.RevocationList) {
		for i := range entries {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber:   new(big.Int).Lsh(big.NewInt(int64(i*7919%entries)+1), 90),
				RevocationTime: l.ThisUpdate,
			})
		}
	})
}

// TestLongList shows what a list of many entries takes.
func TestLongList(t *testing.T) {
	root := pki.NewCA(t, "Root")
	server := pki.NewServer(t)
	client, bad := root.Client("c", pki.CRLAt(server.URL+"/crl")), root.Client("bad", pki.CRLAt(server.URL+"/crl"))
	const entries = 100000
	server.Put("/crl", longList(t, root, entries, bad.Cert))
	r := revocation(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: Strict})
	expect(t, v, client.Chain(), "ok")
	expect(t, v, bad.Chain(), "revoked")
	if _, weight := r.crls.size(); weight > 20*entries {
		t.Errorf("a list of %d entries takes %d bytes", entries, weight)
	}
	list := r.crls.all()[0].list
	for i := range entries {
		if !list.has(new(big.Int).Lsh(big.NewInt(int64(i)+1), 90)) {
			t.Fatalf("entry %d is lost", i)
		}
		if list.has(new(big.Int).Lsh(big.NewInt(int64(i)+1), 89)) && (i+1)%2 == 1 {
			t.Fatalf("entry %d is there at half its number", i)
		}
	}
}

func TestBoundsOfWhatIsKept(t *testing.T) {
	l := newLRU[int, int](3, 10)
	for i := range 5 {
		l.put(i, i, 1)
	}
	l.get(2)
	l.put(5, 5, 1)
	if _, ok := l.get(3); ok {
		t.Error("the one used longest ago is kept")
	}
	if _, ok := l.get(2); !ok {
		t.Error("one that was used is gone")
	}
	l.put(6, 6, 9)
	if n, w := l.size(); n > 3 || w > 10 {
		t.Errorf("%d entries of weight %d, want at most 3 and 10", n, w)
	}
	l.put(7, 7, 11)
	if _, ok := l.get(7); ok {
		t.Error("one that is too heavy is kept")
	}
	l.put(6, 60, 2)
	if v, _ := l.get(6); v != 60 {
		t.Errorf("got %d, want the newer value", v)
	}
}

// TestPanicIsCounted shows that what goes wrong in a question ends there.
func TestPanicIsCounted(t *testing.T) {
	r := revocation(t)
	<-r.start("x", time.Minute, func(context.Context) { panic("test") })
	if n := r.counts.panics.Load(); n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	settle(t, r)
}

func TestMetrics(t *testing.T) {
	root := pki.NewCA(t, "Root")
	r := revocation(t)
	v := mustVerifier(t, r, Options{Roots: []*x509.Certificate{root.Cert}, Revocation: IgnoreCAError})
	expect(t, v, root.Client("c").Chain(), "ok, no_source")
	expect(t, v, root.Client("c", expired).Chain(), "expired")
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"bulwark_client_certificates_total ok":         1,
		"bulwark_client_certificates_total expired":    1,
		"bulwark_client_certificates_total revoked":    0,
		"bulwark_revocation_checks_total unknown":      1,
		"bulwark_revocation_fetches_total forged ocsp": 0,
		"bulwark_revocation_cache_entries path":        1,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s: %v, %v; want %v", name, n, ok, want)
		}
	}
}
