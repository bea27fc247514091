package issuer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/store"
	"github.com/bulwark-edge/bulwark/store/file"
)

// patience bounds what must happen soon.
const patience = 30 * time.Second

// node is an issuer that runs until the test ends.
type node struct {
	*Issuer
	t    *testing.T
	log  *text
	stop func()
}

// text is a log in memory.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func startNode(t *testing.T, records store.Records, terms ...Terms) *node {
	t.Helper()
	n := &node{t: t, log: new(text)}
	n.Issuer = New(Options{Product: "bulwark/test", Log: slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		n.Use(context.Background(), nil, nil)
	})
	t.Cleanup(n.stop)
	n.Use(t.Context(), records, terms)
	return n
}

func openRecords(t *testing.T) *file.Records {
	t.Helper()
	r, err := file.OpenRecords(filepath.Join(t.TempDir(), "acme"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// termsOf are terms by which names are ordered from authorities.
func termsOf(names []string, cas ...*fakeCA) Terms {
	t := Terms{
		Names: names, Email: "ops@example.test", Challenges: []Challenge{HTTP01}, Key: P256, Window: 0.33,
		Timeout: patience, Backoff: time.Hour,
	}
	for _, ca := range cas {
		t.CAs = append(t.CAs, CA{Directory: ca.directory()})
	}
	return t
}

// status returns what is known of a name.
func (n *node) status(name string) Status {
	for _, s := range n.Status() {
		if s.Name == name {
			return s
		}
	}
	return Status{}
}

// awaits waits until a name is in a state.
func (n *node) awaits(name string, want State) Status {
	n.t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if s := n.status(name); s.State == want {
			return s
		}
	}
	n.t.Fatalf("%q is %+v, want %s\n%s", name, n.status(name), want, n.log)
	return Status{}
}

// get returns the certificate for a server name.
func (n *node) get(name string) *tls.Certificate {
	n.t.Helper()
	c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func TestOrder(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	terms := termsOf([]string{"shop.test", "192.0.2.7", "2001:db8::1"}, ca)
	terms.Profile, terms.CommonName = "shortlived", true
	n := startNode(t, records, terms)
	for _, name := range terms.Names {
		n.awaits(name, Valid)
		c := n.get(name)
		if c == nil || c.Leaf.VerifyHostname(hostOf(name)) != nil {
			t.Fatalf("%q got %v", name, c)
		}
		if want := map[bool]string{true: name}[name == "192.0.2.7"]; c.Leaf.Subject.CommonName != want {
			t.Errorf("%q has the common name %q", name, c.Leaf.Subject.CommonName)
		}
	}
	if c := n.get("SHOP.test"); c == nil {
		t.Error("capitals make another name")
	}
	for _, name := range []string{"other.test", "a.shop.test", "test", ""} {
		if c := n.get(name); c != nil {
			t.Errorf("%q got a certificate for %v", name, c.Leaf.DNSNames)
		}
	}
	for _, o := range ca.orders {
		if o.Profile != "shortlived" {
			t.Errorf("an order has the profile %q", o.Profile)
		}
	}
	if ca.accounts != 1 {
		t.Errorf("there are %d accounts, want 1", ca.accounts)
	}
	n.stop()
	asked := ca.all()
	again := startNode(t, records, terms)
	if c := again.get("shop.test"); c == nil {
		t.Error("what is stored is not there at once")
	}
	for _, name := range terms.Names {
		again.awaits(name, Valid)
	}
	if now := ca.all(); now != asked {
		t.Errorf("a restart has asked the authority %d times", now-asked)
	}
	again.Use(t.Context(), records, []Terms{termsOf([]string{"192.0.2.7"}, ca)})
	if c := again.get("shop.test"); c != nil {
		t.Error("a name that was taken away is served")
	}
	if c := again.get("192.0.2.7"); c == nil {
		t.Error("a name that stayed is not served")
	}
}

// TestWildcard shows what a wildcard is good for; it is proved by DNS only.
func TestWildcard(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	terms := termsOf([]string{"*.shop.test"}, ca)
	n := startNode(t, records, terms)
	if s := n.awaits("*.shop.test", Failing); !strings.Contains(s.Error, "challenges") || ca.count("/new") != 0 {
		t.Errorf("got %+v after %d orders", s, ca.count("/new"))
	}
	terms.Challenges, terms.DNS = []Challenge{DNS01}, &DNS{Hook: []string{"/bin/true"}}
	n.Use(t.Context(), records, []Terms{terms})
	n.awaits("*.shop.test", Valid)
	for name, want := range map[string]bool{"a.shop.test": true, "A.shop.test": true, "shop.test": false, "a.b.shop.test": false} {
		if got := n.get(name) != nil; got != want {
			t.Errorf("%q is served: %v, want %v", name, got, want)
		}
	}
}

// TestNonsense shows that an answer of an authority that cannot be right is
// refused, told, and not asked for again at once.
func TestNonsense(t *testing.T) {
	answer := func(path string, status int, kind, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, path) {
				return false
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	const js = "application/json"
	for _, tt := range []struct {
		name   string
		change func(ca *fakeCA)
		want   string
	}{
		{"a directory that is no JSON", func(ca *fakeCA) { ca.disturb = answer("/directory", 200, "text/html", "<html>") }, errBadDirectory.Error()},
		{"a directory without URLs", func(ca *fakeCA) { ca.disturb = answer("/directory", 200, js, "{}") }, errBadDirectory.Error()},
		{"a directory that is not there", func(ca *fakeCA) { ca.disturb = answer("/directory", 404, js, "{}") }, "the status is 404"},
		{"a directory without an end", func(ca *fakeCA) { ca.disturb = answer("/directory", 200, js, strings.Repeat(" ", maxAnswerBytes+1)) }, errLongAnswer.Error()},
		{"an account that is no JSON", func(ca *fakeCA) { ca.disturb = answer("/account", 201, js, "}") }, "making an account"},
		{"an account that is not valid", func(ca *fakeCA) { ca.disturb = answer("/account", 201, js, `{"status":"revoked"}`) }, errNoAccount.Error()},
		{"an order that is no JSON", func(ca *fakeCA) { ca.disturb = answer("/new", 201, js, "[") }, "creating new order"},
		{"an order without URLs", func(ca *fakeCA) { ca.disturb = answer("/new", 201, js, "{}") }, "order"},
		{"an order that is cut off", func(ca *fakeCA) { ca.disturb = answer("/new", 201, js, `{"status":"pending","identif`) }, "creating new order"},
		{"an account without an end", func(ca *fakeCA) { ca.disturb = answer("/account", 201, js, strings.Repeat(" ", maxAnswerBytes+1)) }, errLongAnswer.Error()},
		{"an order without an end", func(ca *fakeCA) { ca.disturb = answer("/new", 201, js, strings.Repeat(" ", maxAnswerBytes+1)) }, errLongAnswer.Error()},
		{"a certificate without an end", func(ca *fakeCA) {
			ca.chain = func(c []byte) []byte { return append(c, bytes.Repeat([]byte("\n"), maxAnswerBytes)...) }
		}, errLongAnswer.Error()},
		{"a proof page in place of an order", func(ca *fakeCA) { ca.disturb = answer("/new", 200, "text/html", "<html>hello</html>") }, "order"},
		{"an order that is invalid", func(ca *fakeCA) {
			ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/new" {
					problem(w, 403, "rejectedIdentifier")
				}
				return r.URL.Path == "/new"
			}
		}, "rejectedIdentifier"},
		{"a certificate of another kind", func(ca *fakeCA) { ca.disturb = answer("/certificate", 200, js, "{}") }, "Content-Type"},
		{"a certificate that is none", func(ca *fakeCA) { ca.chain = func([]byte) []byte { return []byte("nothing") } }, errBadChain.Error()},
		{"a key in the chain", func(ca *fakeCA) {
			ca.chain = func(c []byte) []byte { return bytes.ReplaceAll(c, []byte("CERTIFICATE"), []byte("PRIVATE KEY")) }
		}, "PRIVATE KEY"},
		{"a chain that is damaged", func(ca *fakeCA) {
			ca.chain = func(c []byte) []byte {
				return append(c, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...)
			}
		}, errBadChain.Error()},
		{"a chain that is long", func(ca *fakeCA) { ca.chain = func(c []byte) []byte { return bytes.Repeat(c, 9) } }, "more than 16"},
		{"a certificate for another key", func(ca *fakeCA) {
			ca.chain = func(c []byte) []byte { return c[bytes.LastIndex(c, []byte("-----BEGIN")):] }
		}, "another key"},
		{"a certificate for another name", func(ca *fakeCA) { ca.leaf = func(c *x509.Certificate) { c.DNSNames = []string{"evil.test"} } }, "evil.test"},
		{"a certificate without a name", func(ca *fakeCA) { ca.leaf = func(c *x509.Certificate) { c.DNSNames = nil } }, errBadChain.Error()},
		{"a certificate that has ended", func(ca *fakeCA) { ca.leaf = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) } }, "it ended at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t)
			tt.change(ca)
			n := startNode(t, openRecords(t), termsOf([]string{"shop.test"}, ca))
			s := n.awaits("shop.test", Failing)
			if !strings.Contains(s.Error, tt.want) || s.ErrorAt.IsZero() || len(s.Error) > maxError+10 {
				t.Errorf("the error is %q, want one with %q", s.Error, tt.want)
			}
			if !strings.Contains(n.log.String(), `name=shop.test ca=`+ca.directory()) || !strings.Contains(n.log.String(), "again=") {
				t.Errorf("the log does not say what went wrong and when it is tried again:\n%s", n.log)
			}
			if n.get("shop.test") != nil {
				t.Error("it is served")
			}
			if wait := time.Until(s.Renew); wait < 50*time.Minute {
				t.Errorf("it is tried again in %v, want an hour", wait)
			}
		})
	}
}

// TestRateLimit shows that an authority that is busy is left alone for as long as
// it says, also after a restart, while another one is asked.
func TestRateLimit(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/new" {
			w.Header().Set("Retry-After", "36000")
			problem(w, http.StatusTooManyRequests, "rateLimited")
		}
		return r.URL.Path == "/new"
	}
	terms := termsOf([]string{"shop.test"}, ca)
	terms.Backoff = time.Second
	n := startNode(t, records, terms)
	s := n.awaits("shop.test", Failing)
	if wait := time.Until(s.Renew); wait < 9*time.Hour || !strings.Contains(s.Error, "rateLimited") {
		t.Errorf("got %+v, want it to be left alone for ten hours", s)
	}
	n.stop()
	asked := ca.all()
	again := startNode(t, records, terms)
	if s := again.awaits("shop.test", Failing); time.Until(s.Renew) < 9*time.Hour || !strings.Contains(s.Error, "rateLimited") {
		t.Errorf("after a restart it is %+v", s)
	}
	second := newFakeCA(t)
	terms.CAs = append(terms.CAs, CA{Directory: second.directory()})
	again.Use(t.Context(), records, []Terms{terms})
	if s := again.awaits("shop.test", Valid); s.CA != second.directory() {
		t.Errorf("it is %+v, want it to be of the second authority", s)
	}
	if now := ca.all(); now != asked {
		t.Errorf("the busy authority was asked %d times more", now-asked)
	}
}

// TestBusy shows that an authority that is busy at its door is left alone for all
// names.
func TestBusy(t *testing.T) {
	ca := newFakeCA(t)
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", time.Now().Add(5*time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	records := openRecords(t)
	n := startNode(t, records, termsOf([]string{"a.test"}, ca))
	n.awaits("a.test", Failing)
	asked := ca.all()
	n.Use(t.Context(), records, []Terms{termsOf([]string{"a.test", "b.test", "c.test"}, ca)})
	for _, name := range []string{"b.test", "c.test"} {
		if s := n.awaits(name, Failing); time.Until(s.Renew) < 4*time.Hour || s.Error != errQuiet.Error()+": it is busy" {
			t.Errorf("got %+v", s)
		}
	}
	if now := ca.all(); now != asked {
		t.Errorf("it was asked %d times more", now-asked)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Time{
		"": {}, "soon": {}, "-1": {}, "1.5": {}, "99999999999": {},
		"120": now.Add(2 * time.Minute), "0": now, "4000000": now.Add(longestRetry),
		"Fri, 02 Jan 2026 03:05:05 GMT": now.Add(time.Minute), "Fri, 02 Jan 2099 03:05:05 GMT": now.Add(longestRetry),
	} {
		if got := retryAfter(value, now); !got.Equal(want) {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// TestSilence shows that an authority that does not answer holds nothing up.
func TestSilence(t *testing.T) {
	silent, second := newFakeCA(t), newFakeCA(t)
	end := make(chan struct{})
	defer close(end)
	silent.disturb = func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	}
	terms := termsOf([]string{"shop.test"}, silent, second)
	terms.Timeout = 100 * time.Millisecond
	quick := terms
	quick.Names, quick.CAs, quick.Timeout = []string{"quick.test"}, terms.CAs[1:], patience
	terms.CAs = terms.CAs[:1]
	n := startNode(t, openRecords(t), terms, quick)
	n.awaits("quick.test", Valid)
	if s := n.awaits("shop.test", Failing); !strings.Contains(s.Error, context.DeadlineExceeded.Error()) {
		t.Errorf("got %+v", s)
	}
}

// TestRenewalInfo shows that the authority's word on when to renew counts: it has
// a certificate replaced that it is about to revoke.
func TestRenewalInfo(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	ca.window = [2]time.Duration{500 * time.Hour, 501 * time.Hour}
	terms := termsOf([]string{"shop.test"}, ca)
	terms.ARI = true
	n := startNode(t, records, terms)
	n.awaits("shop.test", Valid)
	first := n.get("shop.test")
	n.stop()
	ca.set(func() {
		ca.window = [2]time.Duration{-2 * time.Hour, -time.Hour}
		ca.disturb = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/certificate") {
				ca.set(func() { ca.window = [2]time.Duration{500 * time.Hour, 501 * time.Hour} })
			}
			return false
		}
	})
	n = startNode(t, records, terms)
	for until := time.Now().Add(patience); n.get("shop.test").Leaf.Equal(first.Leaf); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it was not renewed\n%s", n.log)
		}
	}
	n.awaits("shop.test", Valid)
	if len(ca.orders) != 2 {
		t.Fatalf("there were %d orders, want 2", len(ca.orders))
	}
	if ca.orders[0].Replaces != "" || ca.orders[1].Replaces == "" {
		t.Errorf("the orders replace %q and %q", ca.orders[0].Replaces, ca.orders[1].Replaces)
	}
}

// TestForgottenAccount shows that an authority that has lost our account gets
// another one.
func TestForgottenAccount(t *testing.T) {
	ca := newFakeCA(t)
	var lost atomic.Bool
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/new" || lost.Swap(true) {
			return false
		}
		problem(w, http.StatusBadRequest, "accountDoesNotExist")
		return true
	}
	n := startNode(t, openRecords(t), termsOf([]string{"shop.test"}, ca))
	n.awaits("shop.test", Valid)
	if ca.accounts != 2 {
		t.Errorf("there are %d accounts, want 2", ca.accounts)
	}
}

// TestNodes shows that many nodes order a name once.
func TestNodes(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	var nodes []*node
	for range 4 {
		nodes = append(nodes, startNode(t, records, termsOf([]string{"a.test", "b.test"}, ca)))
	}
	for _, n := range nodes {
		for _, name := range []string{"a.test", "b.test"} {
			n.awaits(name, Valid)
		}
	}
	if n := ca.count("/new"); n != 2 || ca.accounts != 1 {
		t.Errorf("there were %d orders and %d accounts, want 2 and 1", n, ca.accounts)
	}
	for _, n := range nodes {
		if !n.get("a.test").Leaf.Equal(nodes[0].get("a.test").Leaf) {
			t.Error("the nodes serve two certificates for one name")
		}
	}
}

// hurt is a place that something is wrong with.
type hurt struct {
	store.Records
	put func(r store.Record) error
}

func (h hurt) Put(ctx context.Context, r store.Record, at store.Version) (store.Version, error) {
	if err := h.put(r); err != nil {
		return 0, err
	}
	return h.Records.Put(ctx, r, at)
}

// TestLostLease shows that what was ordered under a lease that is over is not
// stored, and not served.
func TestLostLease(t *testing.T) {
	ca := newFakeCA(t)
	records := hurt{openRecords(t), func(r store.Record) error {
		if strings.HasPrefix(r.Key, prefixCertificates) && r.Fence.Token != 0 {
			return store.ErrFenced
		}
		return nil
	}}
	n := startNode(t, records, termsOf([]string{"shop.test"}, ca))
	if s := n.awaits("shop.test", Failing); !strings.Contains(s.Error, store.ErrFenced.Error()) {
		t.Errorf("got %+v", s)
	}
	if n.get("shop.test") != nil {
		t.Error("it is served")
	}
}

// TestPanic shows that a panic in an order is counted, told, and ends neither the
// process nor other orders.
func TestPanic(t *testing.T) {
	ca := newFakeCA(t)
	records := hurt{openRecords(t), func(r store.Record) error {
		if r.Key == certificateKey("bad.test") {
			panic("of the test")
		}
		return nil
	}}
	n := startNode(t, records, termsOf([]string{"bad.test", "good.test"}, ca))
	n.awaits("good.test", Valid)
	n.awaits("bad.test", Failing)
	if n.Counts.Panics.Load() != 1 || !strings.Contains(n.log.String(), "of the test") {
		t.Errorf("%d panics were counted\n%s", n.Counts.Panics.Load(), n.log)
	}
}

// TestStoredDamage shows that what is stored and cannot be right is ordered anew.
func TestStoredDamage(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	value := []byte(`{"directory":"d","chain":"c","key":"k"}`)
	if _, err := records.Put(t.Context(), store.Record{Key: certificateKey("shop.test"), Value: value}, 0); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, records, termsOf([]string{"shop.test"}, ca))
	n.awaits("shop.test", Valid)
	if n.get("shop.test") == nil {
		t.Error("it is not served")
	}
}

// TestOtherCA shows that a certificate serves until there is one of an authority
// that is configured.
func TestOtherCA(t *testing.T) {
	staging, ca, records := newFakeCA(t), newFakeCA(t), openRecords(t)
	n := startNode(t, records, termsOf([]string{"shop.test"}, staging))
	n.awaits("shop.test", Valid)
	n.Use(t.Context(), records, []Terms{termsOf([]string{"shop.test"}, ca)})
	if n.get("shop.test") == nil {
		t.Error("the old certificate is not served meanwhile")
	}
	for until := time.Now().Add(patience); n.status("shop.test").CA != ca.directory(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it is %+v\n%s", n.status("shop.test"), n.log)
		}
	}
}

// TestSecrets shows that no key is told, whatever goes wrong.
func TestSecrets(t *testing.T) {
	ca := newFakeCA(t)
	terms := termsOf([]string{"shop.test", "bad.test"}, ca)
	terms.CAs[0].EABKeyID, terms.CAs[0].EABKey = "kid", "c2VjcmV0LW9mLXRoZS1hY2NvdW50"
	records := openRecords(t)
	if _, err := records.Put(t.Context(), store.Record{Key: certificateKey("bad.test"), Value: []byte(`{"key":"hidden"}`)}, 0); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, records, terms)
	n.awaits("shop.test", Valid)
	n.awaits("bad.test", Valid)
	told := n.log.String() + fmt.Sprint(n.Status())
	for _, secret := range []string{terms.CAs[0].EABKey, "hidden", "PRIVATE", "BEGIN"} {
		if strings.Contains(told, secret) {
			t.Errorf("%q is told:\n%s", secret, told)
		}
	}
}

func TestRevoke(t *testing.T) {
	ca, other, records := newFakeCA(t), newFakeCA(t), openRecords(t)
	terms := termsOf([]string{"shop.test"}, ca)
	n := startNode(t, records, terms)
	n.awaits("shop.test", Valid)
	n.stop()
	o := Options{Product: "bulwark/test", Log: slog.New(slog.DiscardHandler)}
	if err := Revoke(t.Context(), records, []Terms{termsOf(nil, other)}, "shop.test", ReasonSuperseded, o); !errors.Is(err, errForeignCA) {
		t.Errorf("got the error %v, want %v", err, errForeignCA)
	}
	if err := Revoke(t.Context(), records, []Terms{terms}, "shop.test", ReasonSuperseded, o); err != nil {
		t.Fatal(err)
	}
	if ca.revoked != 1 || other.revoked != 0 {
		t.Errorf("%d and %d were revoked", ca.revoked, other.revoked)
	}
	if err := Revoke(t.Context(), records, []Terms{terms}, "shop.test", ReasonSuperseded, o); !errors.Is(err, errNoCertificate) {
		t.Errorf("got the error %v, want %v", err, errNoCertificate)
	}
	all, err := Stored(t.Context(), records, o.Log)
	if diff := cmp.Diff([]Status(nil), all); diff != "" || err != nil {
		t.Errorf("%v, what is stored differs (-want +got):\n%s", err, diff)
	}
}

// TestRevokeTwice shows that what the authority has revoked by itself is forgotten, and
// that what was ordered meanwhile is not.
func TestRevokeTwice(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	terms := termsOf([]string{"shop.test"}, ca)
	n := startNode(t, records, terms)
	n.awaits("shop.test", Valid)
	n.stop()
	key := certificateKey("shop.test")
	var renew bool
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/revoke" {
			return false
		}
		if rec, err := records.Get(t.Context(), key); err != nil {
			t.Error(err)
		} else if renew {
			if _, err := replace(t.Context(), records, rec); err != nil {
				t.Error(err)
			}
		}
		problem(w, http.StatusBadRequest, "alreadyRevoked")
		return true
	}
	o := Options{Product: "bulwark/test", Log: slog.New(slog.DiscardHandler)}
	for _, renew = range []bool{true, false} {
		if err := Revoke(t.Context(), records, []Terms{terms}, "shop.test", ReasonSuperseded, o); err != nil {
			t.Error(err)
		}
		if _, err := records.Get(t.Context(), key); errors.Is(err, store.ErrNotFound) == renew {
			t.Errorf("ordered meanwhile: %v: reading it: %v", renew, err)
		}
	}
}

// demandNode runs an issuer that orders on demand.
func demandNode(t *testing.T, d Demand, ca *fakeCA) (*node, store.Records, Terms) {
	t.Helper()
	terms := termsOf(nil, ca)
	terms.Demand = &d
	records := openRecords(t)
	return startNode(t, records, terms), records, terms
}

func TestDemand(t *testing.T) {
	ca := newFakeCA(t)
	n, records, terms := demandNode(t, Demand{Allow: []string{"shop.test", "*.many.test"}, PerMinute: 100, Most: 3}, ca)
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.b.many.test"})
			if err != nil || c == nil {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
	clients.Wait()
	if c := ca.count("/new"); c != 1 {
		t.Errorf("fifty clients made %d orders, want 1", c)
	}
	for _, name := range []string{"other.test", "many.test", "evil-many.test", "", "127.0.0.1", "a..many.test", "-.many.test", "a_b.many.test", strings.Repeat("a", 64) + ".many.test"} {
		if c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); c != nil || err != nil {
			t.Errorf("%q got %v, %v", name, c, err)
		}
	}
	for _, name := range []string{"shop.test", "b.many.test"} {
		if n.get(name) == nil {
			t.Errorf("%q is not served", name)
		}
	}
	if _, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "c.many.test"}); !errors.Is(err, errTooMany) {
		t.Errorf("got the error %v, want %v", err, errTooMany)
	}
	if c := ca.count("/new"); c != 3 {
		t.Errorf("there were %d orders, want 3", c)
	}
	n.stop()
	again := startNode(t, records, terms)
	if again.get("shop.test") == nil || ca.count("/new") != 3 {
		t.Errorf("after a restart there are %d orders", ca.count("/new"))
	}
}

func TestDemandRate(t *testing.T) {
	ca := newFakeCA(t)
	n, _, _ := demandNode(t, Demand{Allow: []string{"*.test"}, PerMinute: 2, Most: 100}, ca)
	served := 0
	for i := range 6 {
		c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: fmt.Sprintf("n%d.test", i)})
		if c != nil {
			served++
		} else if !errors.Is(err, errTooMany) {
			t.Errorf("got the error %v, want %v", err, errTooMany)
		}
	}
	if served != 2 {
		t.Errorf("%d names were ordered at once, want 2", served)
	}
}

// TestDemandFailing shows that clients do not shorten a pause.
func TestDemandFailing(t *testing.T) {
	ca := newFakeCA(t)
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/new" {
			problem(w, 403, "rejectedIdentifier")
		}
		return r.URL.Path == "/new"
	}
	n, _, _ := demandNode(t, Demand{Allow: []string{"*.test"}, PerMinute: 100, Most: 100}, ca)
	for range 5 {
		if c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"}); c != nil || !errors.Is(err, errNotYet) {
			t.Errorf("got %v, %v, want %v", c, err, errNotYet)
		}
	}
	if c := ca.count("/new"); c != 1 {
		t.Errorf("there were %d orders, want 1", c)
	}
}

func TestDemandAsk(t *testing.T) {
	ca := newFakeCA(t)
	var asked atomic.Int64
	who := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch name := r.URL.Query().Get("domain"); {
		case name == "elsewhere.test":
			http.Redirect(w, r, "/yes", http.StatusFound)
		case name != "good.test" && r.URL.Path != "/yes" || r.URL.Query().Get("k") != "v":
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer who.Close()
	n, _, _ := demandNode(t, Demand{Ask: who.URL + "/may?k=v", PerMinute: 100, Most: 10}, ca)
	if n.get("good.test") == nil {
		t.Error("a name that may be ordered is not served")
	}
	for _, name := range []string{"bad.test", "bad.test", "elsewhere.test"} {
		if n.get(name) != nil {
			t.Errorf("%q is served", name)
		}
	}
	if asked.Load() != 3 {
		t.Errorf("it was asked %d times, want 3: a refusal is remembered", asked.Load())
	}
	who.Close()
	if c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "third.test"}); c != nil || err == nil {
		t.Errorf("got %v, %v while nobody says whether it may be ordered", c, err)
	}
}

// TestHook shows what a program is told and how its trouble is.
func TestHook(t *testing.T) {
	dir := t.TempDir()
	hook, out := filepath.Join(dir, "hook"), filepath.Join(dir, "out")
	t.Setenv("BULWARK_SECRET", "not for hooks")
	script := "#!/bin/sh\nenv | grep BULWARK | sort >>" + out + "\necho \"$1\" >>" + out + "\n[ \"$BULWARK_ACME_ACTION\" = present ] || { echo trouble; exit 3; }\n"
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := runHook(t.Context(), []string{hook, "arg"}, "present", "shop.test", "_acme-challenge.shop.test.", "value"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "BULWARK_ACME_ACTION=present\nBULWARK_ACME_DOMAIN=shop.test\nBULWARK_ACME_RECORD=_acme-challenge.shop.test.\nBULWARK_ACME_VALUE=value\narg\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the hook was told something else (-want +got):\n%s", diff)
	}
	err = runHook(t.Context(), []string{hook}, "cleanup", "d", "r", "v")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "trouble") {
		t.Errorf("got the error %v", err)
	}
}

// TestHookBounds shows that a program is ended with what it has started, and that no
// more of its words is told than a little.
func TestHookBounds(t *testing.T) {
	dir := t.TempDir()
	hook, alive := filepath.Join(dir, "hook"), filepath.Join(dir, "alive")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n"+`
		[ "$1" = talk ] && { head -c 1000000 /dev/zero | tr '\0' x; exit 1; }
		sh -c 'trap "" HUP TERM; echo $$ >'"$2"'; sleep 1000' &
		wait`), 0o700); err != nil {
		t.Fatal(err)
	}
	err := runHook(t.Context(), []string{hook, "talk"}, "present", "d", "r", "v")
	if err == nil || len(err.Error()) < maxHookWords || len(err.Error()) > maxHookWords+500 {
		t.Errorf("the error has %d bytes, want about %d", len(fmt.Sprint(err)), maxHookWords)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pid int
	go func() {
		defer cancel()
		for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
			text, _ := os.ReadFile(alive) // it is not there at first
			if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				pid = n
				return
			}
		}
	}()
	if err := runHook(ctx, []string{hook, "wait", alive}, "present", "d", "r", "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v", err)
	}
	<-ctx.Done()
	for until := time.Now().Add(patience); pid == 0 || running(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// TestHookLeaves shows that a program does well that leaves something behind which holds
// its output, and that this is ended.
func TestHookLeaves(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	hook := []string{"/bin/sh", "-c", `sh -c 'echo $$ >"$1"; sleep 1000' sh "$1" & while ! [ -s "$1" ]; do :; done`, "sh", left}
	if err := runHook(t.Context(), hook, "present", "d", "r", "v"); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); running(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// running reports whether a process runs: one that nobody has waited for yet does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestKeyTypes(t *testing.T) {
	for kind, want := range map[KeyType]string{P256: "P-256", P384: "P-384", RSA2048: "RSA 2048", RSA3072: "RSA 3072", RSA4096: "RSA 4096"} {
		key, err := kind.make()
		if err != nil {
			t.Fatal(err)
		}
		text, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if key, err = decodeKey(text); err != nil {
			t.Fatal(err)
		}
		got := ""
		switch key := key.Public().(type) {
		case *ecdsa.PublicKey:
			got = key.Curve.Params().Name
		case *rsa.PublicKey:
			got = fmt.Sprint("RSA ", key.N.BitLen())
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
	}
}

func TestServerName(t *testing.T) {
	for id, want := range map[string]string{
		"Shop.test":   "shop.test",
		"192.0.2.7":   "7.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := serverName(id); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

func TestChallenges(t *testing.T) {
	n := startNode(t, openRecords(t), termsOf([]string{}, newFakeCA(t)))
	for _, token := range []string{"", "unknown", "../../etc/passwd", "a/b", "a.b", strings.Repeat("a", maxToken+1), "ü"} {
		if answer, ok := n.HTTPChallenge(token); ok {
			t.Errorf("%q is answered with %q", token, answer)
		}
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"h2", ProtocolTLSALPN}, {ProtocolTLSALPN}} {
		if n.ChallengeConfig("shop.test", protocols) != nil {
			t.Errorf("%q is answered", protocols)
		}
	}
}
