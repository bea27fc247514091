package issuer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKeptDirectory shows that an order has its directory until it ends, also when
// another one has failed meanwhile and wants it read again.
func TestKeptDirectory(t *testing.T) {
	ca := newFakeCA(t)
	a := newAuthority(CA{Directory: ca.directory()}, "bulwark/test")
	defer a.transport.CloseIdleConnections()
	s, err := a.open(t.Context(), patience)
	if err != nil {
		t.Fatal(err)
	}
	a.forget()
	res, err := s.client.HTTPClient.Get(s.client.Directory)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "newOrder") {
		t.Errorf("got %q, %v", body, err)
	}
	if n := ca.count("/directory"); n != 1 {
		t.Errorf("it was read %d times, want once", n)
	}
}

// hang is a disturbance: no answer to what begins with a path, until the client
// leaves.
func hang(path string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, path) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // else it is not noticed that the client leaves
		<-r.Context().Done()
		return true
	}
}

// TestHangingAuthority shows that an authority that does not answer takes the time of
// as many names as are worked at at once, and of no more.
func TestHangingAuthority(t *testing.T) {
	for _, path := range []string{"/directory", "/account", "/new"} {
		t.Run(path[1:], func(t *testing.T) {
			silent, second := newFakeCA(t), newFakeCA(t)
			silent.disturb = hang(path)
			var names []string
			for i := range maxOrders + 3 {
				names = append(names, fmt.Sprintf("n%d.test", i))
			}
			terms := termsOf(names, silent, second)
			terms.Timeout = 5 * time.Second // which the second authority needs not to reach
			n := startNode(t, openRecords(t), terms)
			for _, name := range names {
				if s := n.awaits(name, Valid); s.CA != second.directory() {
					t.Errorf("%q is of %q", name, s.CA)
				}
			}
			if asked := silent.count(path); asked == 0 || asked > maxOrders {
				t.Errorf("the silent authority was asked %d times, want at most %d", asked, maxOrders)
			}
			n.Use(t.Context(), n.place(), []Terms{termsOf([]string{"late.test"}, silent)})
			if s := n.awaits("late.test", Failing); !strings.Contains(s.Error, errQuiet.Error()) || !strings.Contains(s.Error, context.DeadlineExceeded.Error()) {
				t.Errorf("it does not say why the authority is left alone: %q", s.Error)
			}
		})
	}
}

// TestEndlessAnswer shows that an answer that comes for ever ends an order in time.
func TestEndlessAnswer(t *testing.T) {
	for _, path := range []string{"/directory", "/account", "/new", "/certificate"} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t)
			ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, path) {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusOK)
				for r.Context().Err() == nil {
					if _, err := io.WriteString(w, " "); err != nil {
						break
					}
					_ = http.NewResponseController(w).Flush() // an error is that of the next write
					time.Sleep(time.Millisecond)
				}
				return true
			}
			terms := termsOf([]string{"shop.test"}, ca)
			terms.Timeout = time.Second
			n := startNode(t, openRecords(t), terms)
			if s := n.awaits("shop.test", Failing); !strings.Contains(s.Error, context.DeadlineExceeded.Error()) || time.Until(s.Renew) < 50*time.Minute {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// TestRenewalInfoNonsense shows what becomes of a certificate whose authority says
// what cannot be about its renewal: it is renewed as if nothing had been said.
func TestRenewalInfoNonsense(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"HTML", 200, "<html>", errNoWindow},
		{"cut off", 200, `{"suggestedWindow":{"start":"2020-01-01T`, errNoWindow},
		{"nothing", 200, `{}`, errNoWindow},
		{"no end", 200, `{"suggestedWindow":{"start":"2020-01-01T00:00:00Z"}}`, errNoWindow},
		{"backwards", 200, `{"suggestedWindow":{"start":"2020-01-02T00:00:00Z","end":"2020-01-01T00:00:00Z"}}`, errNoWindow},
		{"long", 200, strings.Repeat(" ", maxAnswerBytes+1), errLongAnswer},
		{"unknown", 404, `{}`, errNoInfo},
		{"broken", 500, ``, errors.New("the status is 500")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t)
			ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
			ca.window = [2]time.Duration{1, 2} // so that the directory has a URL for it
			ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/ari") {
					w.WriteHeader(tt.status)
					fmt.Fprint(w, tt.body)
					return true
				}
				return false
			}
			terms := termsOf([]string{"shop.test"}, ca)
			terms.ARI = true
			n := startNode(t, openRecords(t), terms)
			n.awaits("shop.test", Valid)
			if ca.count("/ari") == 0 || ca.count("/new") != 1 {
				t.Errorf("it was asked %d times when to renew, and %d were ordered", ca.count("/ari"), ca.count("/new"))
			}
			_, err := n.ca(terms.CAs[0]).renewalInfo(t.Context(), n.get("shop.test").Leaf)
			if !errors.Is(err, tt.want) && (err == nil || err.Error() != tt.want.Error()) {
				t.Errorf("got the error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestRenewalInfoPast shows that an authority that wants each certificate replaced that
// it has just made is not believed: else one would be ordered after the other.
func TestRenewalInfoPast(t *testing.T) {
	ca := newFakeCA(t)
	ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	ca.window = [2]time.Duration{-2 * time.Hour, -time.Hour}
	terms := termsOf([]string{"shop.test"}, ca)
	terms.ARI, terms.Backoff = true, time.Millisecond
	n := startNode(t, openRecords(t), terms)
	s := n.awaits("shop.test", Valid)
	if time.Until(s.Renew) < 5*time.Minute || ca.count("/new") != 1 || !strings.Contains(n.log.String(), "not believing") {
		t.Errorf("got %+v after %d orders\n%s", s, ca.count("/new"), n.log)
	}
}

// TestRenewalInfoReload shows that an authority is believed no sooner for a reload or a
// restart, whether it wants each new certificate replaced at once or in a moment.
func TestRenewalInfoReload(t *testing.T) {
	for name, window := range map[string][2]time.Duration{
		"at once": {-2 * time.Hour, -time.Hour}, "in a moment": {time.Millisecond, 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, records := newFakeCA(t), openRecords(t)
			ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
			ca.window = window
			terms := termsOf([]string{"shop.test"}, ca)
			terms.ARI, terms.Backoff = true, time.Millisecond
			n := startNode(t, records, terms)
			n.awaits("shop.test", Valid)
			for i := range 5 {
				n.stop()
				n = startNode(t, records, terms)
				for until := time.Now().Add(patience); ca.count("/ari") < i+2 || n.status("shop.test").State != Valid; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(until) {
						t.Fatalf("it was not looked at\n%s", n.log)
					}
				}
			}
			if orders := ca.count("/new"); orders != 1 {
				t.Errorf("there were %d orders, want 1", orders)
			}
		})
	}
}

// TestRenewalInfoChanging shows that an authority that changes its mind about each new
// certificate is believed a few times only.
func TestRenewalInfoChanging(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	late, past := [2]time.Duration{500 * time.Hour, 501 * time.Hour}, [2]time.Duration{-2 * time.Hour, -time.Hour}
	ca.window = late
	ca.disturb = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/certificate") {
			ca.set(func() { ca.window = late })
		}
		return false
	}
	terms := termsOf([]string{"shop.test"}, ca)
	terms.ARI, terms.Backoff = true, time.Millisecond
	startNode(t, records, terms).awaits("shop.test", Valid)
	for i := range maxEarly + 2 {
		ca.set(func() { ca.window = past })
		asked := ca.count("/ari")
		n := startNode(t, records, terms)
		want := min(i+2, maxEarly+1)
		for until := time.Now().Add(patience); ca.count("/ari") == asked || ca.count("/new") < want || n.status("shop.test").State != Valid; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("there were %d orders, want %d\n%s", ca.count("/new"), want, n.log)
			}
		}
		n.stop()
		if orders := ca.count("/new"); orders != want {
			t.Fatalf("there were %d orders, want %d", orders, want)
		}
	}
}

// TestRenewalInfoBusy shows that an authority that is too busy to say when to renew is
// ordered from all the same, and not asked that by other names.
func TestRenewalInfoBusy(t *testing.T) {
	ca := newFakeCA(t)
	ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	ca.window = [2]time.Duration{1, 2}
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/ari") {
			w.Header().Set("Retry-After", "36000")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	terms := termsOf([]string{"shop.test"}, ca)
	terms.ARI = true
	n := startNode(t, openRecords(t), terms)
	n.awaits("shop.test", Valid)
	a := n.ca(terms.CAs[0])
	if until, why := a.quietUntil(); !until.IsZero() {
		t.Errorf("nothing is ordered until %v: %s", until, why)
	}
	if a.mayTell(time.Now().Add(9 * time.Hour)) {
		t.Error("it is asked sooner than it says")
	}
}

// TestRenewalInfoSilence shows that not all names ask an authority when to renew that
// does not answer.
func TestRenewalInfoSilence(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	ca.leaf = func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	ca.window = [2]time.Duration{1, 2}
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/ari") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	}
	names := []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test", "h.test", "i.test", "j.test"}
	terms := termsOf(names, ca)
	n := startNode(t, records, terms)
	for _, name := range names {
		n.awaits(name, Valid)
	}
	terms.ARI = true
	n.Use(t.Context(), records, []Terms{terms})
	for _, name := range names {
		n.awaits(name, Valid)
	}
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		looked := 0
		for _, s := range n.Status() {
			if !s.Renew.IsZero() {
				looked++
			}
		}
		if looked == len(names) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the status is %+v", n.Status())
		}
	}
	if asked := ca.count("/ari"); asked == 0 || asked > maxOrders {
		t.Errorf("it was asked %d times, want at most %d\n%s", asked, maxOrders, n.log)
	}
}

// TestMayTell shows who may ask an authority when to renew.
func TestMayTell(t *testing.T) {
	now := time.Now()
	a := newAuthority(CA{Directory: "https://ca.test/dir"}, "bulwark/test")
	if first, second := a.mayTell(now), a.mayTell(now); !first || !second {
		t.Error("two may not ask at once")
	}
	a.told(true)
	a.told(false)
	if a.mayTell(time.Now()) {
		t.Error("it is asked at once after it did not answer")
	}
	later := time.Now().Add(2 * troublePause)
	if first, second := a.mayTell(later), a.mayTell(later); !first || second {
		t.Error("after a while not one may ask, or more than one")
	}
	a.told(true)
	if first, second := a.mayTell(later), a.mayTell(later); !first || !second {
		t.Error("two may not ask after it has answered")
	}
}

// TestRenewAt shows when certificates are renewed that live for a hundred hours.
func TestRenewAt(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{NotBefore: born, NotAfter: born.Add(100 * time.Hour)}
	type times struct{ At, By time.Duration } // since it was born
	for _, tt := range []struct {
		name    string
		ordered time.Duration
		terms   Terms
		want    times
	}{
		{"a third", 0, Terms{Window: 0.33}, times{67 * time.Hour, 90 * time.Hour}},
		{"a twentieth", 0, Terms{Window: 0.05}, times{95 * time.Hour, 95 * time.Hour}},
		{"in days", 0, Terms{Window: 0.33, Before: 24 * time.Hour}, times{76 * time.Hour, 90 * time.Hour}},
		{"in too many days", 0, Terms{Window: 0.33, Before: 240 * time.Hour}, times{50 * time.Hour, 90 * time.Hour}},
		{"one that was old", 90 * time.Hour, Terms{Window: 0.5}, times{95 * time.Hour, 99 * time.Hour}},
		{"a pause that is long", 90 * time.Hour, Terms{Window: 0.9, Backoff: 6 * time.Hour}, times{95 * time.Hour, 99 * time.Hour}},
		{"after the pause", 80 * time.Hour, Terms{Window: 0.9, Backoff: 6 * time.Hour}, times{86 * time.Hour, 98 * time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ordered := born.Add(tt.ordered)
			got := times{tt.terms.renewAt(leaf, ordered).Sub(born), tt.terms.renewBy(leaf, ordered).Sub(born)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the times differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStoredExpiry shows that a certificate is not kept for ever after its end.
func TestStoredExpiry(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	n := startNode(t, records, termsOf([]string{"shop.test"}, ca))
	s := n.awaits("shop.test", Valid)
	rec, err := records.Get(t.Context(), certificateKey("shop.test"))
	if err != nil {
		t.Fatal(err)
	}
	if want := s.Until.Add(endedKept); !rec.Expires.Equal(want) {
		t.Errorf("its record is kept until %v, want %v", rec.Expires, want)
	}
}

// TestEndlessLife shows that a certificate without an end (RFC 5280 section 4.1.2.5) is
// ordered once, and there after a restart.
func TestEndlessLife(t *testing.T) {
	ca, records := newFakeCA(t), openRecords(t)
	ca.leaf = func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }
	terms := termsOf([]string{"shop.test"}, ca)
	for range 2 {
		n := startNode(t, records, terms)
		n.awaits("shop.test", Valid)
		n.stop()
	}
	if orders := ca.count("/new"); orders != 1 {
		t.Errorf("there were %d orders, want 1", orders)
	}
}
